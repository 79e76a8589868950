"""Logging in, for every service alike: SASL exchanges, IMAP's LOGIN, limits on guessing, and who is logged in.

What a client hears is the same for an unknown user, a wrong password and a disabled account, and so is what it costs
us (ATTACKS K03): the hooks spend a hash on unknown users, and SCRAM goes on with an invented verifier whose salt is
always the same for the same name.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

import structlog

from mailserver.hooks.contexts import AuthenticateContext, Authenticated, Denied, ScramContext, Session
from mailserver.hooks.dispatch import Hooks
from mailserver.model.address import EmailAddress
from mailserver.model.errors import InvalidInput, MailError, NotPermitted
from mailserver.model.events import LoginFailed, LoginSucceeded
from mailserver.model.ids import AccountId
from mailserver.net.failures import LoginFailures
from mailserver.net.login_results import (
    BLOCKED,
    BUSY,
    NEEDS_TLS,
    WRONG,
    LoginOk,
    LoginRefused,
    LoginResult,
    SaslChallenge,
    SaslExchange,
    broken,
)
from mailserver.net.login_token import EXTERNAL, TOKENS, CertificateExchange, TokenExchange
from mailserver.net.networks import NetworkSet
from mailserver.net.settings import AuthSettings
from mailserver.ports.directory import ScramVerifier
from mailserver.wire.sasl import (
    LOGIN_PASSWORD,
    LOGIN_USER,
    SCRAM_ITERATIONS,
    SaslError,
    ScramServer,
    parse_login_answer,
    parse_plain,
    usable,
)

__all__ = ["LoginOk", "LoginRefused", "LoginResult", "LoginService", "SaslChallenge", "SaslExchange"]

_log = structlog.get_logger()

SCRAM, SCRAM_PLUS = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"


class LoginService:
    """One for the process, shared by all services."""

    def __init__(self, hooks: Hooks, auth: AuthSettings, failures: LoginFailures, secret: bytes) -> None:
        """`secret`: 32 random octets that stay the same over restarts (SqliteDirectory.secret)."""
        self._hooks = hooks
        self._plaintext = NetworkSet(auth.allow_plaintext_from)
        self._scram = auth.scram
        self._plus = auth.scram_plus
        self._failures = failures
        self._secret = secret
        self._sessions: dict[AccountId, dict[int, Callable[[str], None]]] = {}
        self._next_session = 0
        #: A count of all changes of credentials, and its value at an account's last one: a login that began before the
        #: account's last change is void.
        self._changes = 0
        self._last_change: dict[AccountId, int] = {}

    def allowed(self, session: Session) -> bool:
        """May this connection send credentials at all (RFC 8314 §3; ATTACKS C05)?"""
        return bool(session.tls) or session.peer in self._plaintext

    def mechanisms(self, session: Session) -> list[str]:
        """SASL mechanisms in the order of preference; [] when this connection may not log in."""
        if not self.allowed(session):
            return []
        own = [SCRAM, "PLAIN", "LOGIN"] if self._scram else ["PLAIN", "LOGIN"]
        if self.binding(session):
            own.insert(0, SCRAM_PLUS)
        brought = self._hooks.token_mechanisms
        own += [name for name in TOKENS if name in brought]
        if session.certificate and EXTERNAL in brought:
            own.append(EXTERNAL)
        return own + [c.name for c in self._hooks.contributions("sasl_mechanism") if c.name not in own]

    def binding(self, session: Session) -> bytes:
        """What -PLUS binds a login on this connection to; b"" where it is not offered."""
        return session.channel_binding if self._scram and self._plus else b""

    def start(self, mechanism: str, session: Session) -> SaslExchange:
        """Begin an exchange.

        Raises:
            NotPermitted: this connection may not log in (5.7.11).
            InvalidInput: no such mechanism (5.5.4).
        """
        if not self.allowed(session):
            raise NotPermitted(NEEDS_TLS.text, status=NEEDS_TLS.status)
        name = mechanism.upper()
        if name not in self.mechanisms(session):
            raise InvalidInput("the mechanism is not supported", status="5.5.4")
        if name == "PLAIN":
            return _Plain(self, session)
        if name == "LOGIN":
            return _Login(self, session)
        if name in (SCRAM, SCRAM_PLUS):
            return _Scram(self, session, name)
        if name in TOKENS:
            return TokenExchange(self.judge, session, name)
        if name == EXTERNAL:
            return CertificateExchange(self.judge, session)
        for contribution in self._hooks.contributions("sasl_mechanism"):
            if contribution.name == name:
                exchange: SaslExchange = contribution.value(session)
                return exchange
        raise InvalidInput("the mechanism is not supported", status="5.5.4")

    async def login(self, session: Session, user: str, password: str, mechanism: str = "LOGIN") -> LoginResult:
        """Check a user name and password, count a failure, and tell observers."""
        if not self.allowed(session):
            return NEEDS_TLS
        result, _ = await self.judge(
            AuthenticateContext(session=session, user=user, password=password, mechanism=mechanism)
        )
        return result

    async def judge(self, ctx: AuthenticateContext) -> tuple[LoginResult, Denied | None]:
        """Let the hooks judge what the client showed, count a failure, tell observers; what the hook said of a failure.

        A token or a certificate is good for the account that the client named, if it named one, and for no other.
        """
        session, user, mechanism = ctx.session, ctx.user, ctx.mechanism
        began = self.mark()
        attempt = await self._failures.begin(session.peer, user_key(user))
        if attempt is None:
            return self._refused(session, user, mechanism, "too many failures", BLOCKED), None
        with attempt:
            answer = await self._hooks.authenticate(ctx)
            named = mechanism in (EXTERNAL, *TOKENS) and bool(user)
            if isinstance(answer, Authenticated) and named and answer.account != user_key(user):
                answer = Denied(reason="the account is another's")
            if isinstance(answer, Authenticated):
                if not self.unchanged_since(began, answer.account):
                    return self._refused(session, user, mechanism, "credentials changed meanwhile", BUSY), None
                attempt.succeed()
                return self.accepted(session, answer.account, mechanism), None
            if isinstance(answer, Denied) and answer.temporary:
                return self._refused(session, user, mechanism, answer.reason, BUSY), None
            attempt.fail()
            denied = answer or Denied(reason="no such user")
            return self._refused(session, user, mechanism, denied.reason, WRONG), denied

    def accepted(self, session: Session, account: AccountId, mechanism: str) -> LoginOk:
        """Tell observers of a success."""
        self._hooks.emit(
            LoginSucceeded(
                session=session.session, service=session.service, account=account, peer=session.peer,
                mechanism=mechanism,
            )
        )  # fmt: skip
        return LoginOk(account)

    def _refused(self, session: Session, user: str, mechanism: str, reason: str, result: LoginRefused) -> LoginRefused:
        self._hooks.emit(
            LoginFailed(
                session=session.session, service=session.service, user=_for_log(user), peer=session.peer,
                mechanism=mechanism, reason=reason, wrong=result is WRONG,
            )
        )  # fmt: skip
        return result

    # SCRAM

    def mark(self) -> int:
        """Now, for `unchanged_since`."""
        return self._changes

    def unchanged_since(self, mark: int, account: AccountId) -> bool:
        """Whether the account's credentials are still those of the time of `mark`."""
        return self._last_change.get(account, 0) <= mark

    async def find_verifier(self, session: Session, user: str) -> tuple[AccountId | None, ScramVerifier]:
        """The user's account and verifier, or None and an invented one.

        Raises:
            MailError: could not be looked up now; temporary.
        """
        found = await self._hooks.scram_verifier(ScramContext(session=session, user=user))
        if found is None or not usable(found[1]):
            return None, self._invented(user)
        return found

    def _invented(self, user: str) -> ScramVerifier:
        def derive(what: bytes) -> bytes:
            return hmac.digest(self._secret, what + b"\0" + user_key(user).encode("utf-8", "replace"), "sha256")

        return ScramVerifier(
            salt=derive(b"salt")[:16],
            iterations=SCRAM_ITERATIONS,
            stored_key=derive(b"stored"),
            server_key=derive(b"server"),
        )

    async def prove(
        self, session: Session, user: str, account: AccountId | None, began: int, check: Callable[[], bytes]
    ) -> bytes | LoginRefused:
        """Run the last check of SCRAM under the limits on guessing; the server's final message, or the refusal."""
        attempt = await self._failures.begin(session.peer, user_key(user))
        if attempt is None:
            return self._refused(session, user, SCRAM, "too many failures", BLOCKED)
        with attempt:
            try:
                final = check()
            except SaslError as error:
                if error.status == "5.7.8":
                    attempt.fail()
                    return self._refused(session, user, SCRAM, error.text, WRONG)
                return self._refused(session, user, SCRAM, error.text, broken(error))
            if account is None or not self.unchanged_since(began, account):
                attempt.fail()
                return self._refused(session, user, SCRAM, "no such user, or changed meanwhile", WRONG)
            attempt.succeed()
            return final

    # sessions that are logged in

    def register(self, account: AccountId, end: Callable[[str], None], peer: str = "") -> Callable[[], None]:
        """Remember a live session of a client at `peer`; `end(reason)` must close it soon.

        Returns the undo, for when it ends by itself.
        """
        number = self._next_session = self._next_session + 1
        self._sessions.setdefault(account, {})[number] = end
        self._failures.enter(peer)

        def forget() -> None:
            sessions = self._sessions.get(account)
            if sessions is None or sessions.pop(number, None) is None:
                return
            self._failures.leave(peer)
            if not sessions:
                del self._sessions[account]

        return forget

    def sessions(self, account: AccountId) -> int:
        """How many sessions of an account live."""
        return len(self._sessions.get(account, ()))

    def credentials_changed(self, account: AccountId) -> None:
        """End every session of an account whose password changed, or that was disabled or removed (ATTACKS K12)."""
        self._changes += 1
        self._last_change[account] = self._changes
        self.end_sessions(account, "the account's credentials changed")

    def end_sessions(self, account: AccountId, reason: str) -> None:
        """Let every live session of an account say why, and close; its user can log in again at once."""
        for end in list(self._sessions.get(account, {}).values()):
            try:
                end(reason)
            except Exception as error:
                _log.error("session could not be ended", account=account, error=type(error).__name__)


class _Plain:
    """RFC 4616."""

    def __init__(self, service: LoginService, session: Session) -> None:
        self._service, self._session = service, session

    async def step(self, response: bytes | None) -> SaslChallenge | LoginResult:
        if response is None:
            return SaslChallenge(b"")
        try:
            given = parse_plain(response)
        except SaslError as error:
            return broken(error)
        return await self._service.login(self._session, given.user, given.password, "PLAIN")


class _Login:
    """Two questions, two answers; the initial response, if any, is the user name."""

    def __init__(self, service: LoginService, session: Session) -> None:
        self._service, self._session = service, session
        self._user: str | None = None

    async def step(self, response: bytes | None) -> SaslChallenge | LoginResult:
        if response is None:
            return SaslChallenge(LOGIN_USER)
        try:
            answer = parse_login_answer(response)
        except SaslError as error:
            return broken(error)
        if self._user is None:
            self._user = answer
            return SaslChallenge(LOGIN_PASSWORD)
        return await self._service.login(self._session, self._user, answer, "LOGIN")


class _Scram:
    """RFC 5802 §5; SMTP and IMAP carry the server's final message as a challenge, answered with an empty response."""

    def __init__(self, service: LoginService, session: Session, mechanism: str) -> None:
        self._service, self._session, self._mechanism = service, session, mechanism
        nonce, binding = secrets.token_urlsafe(24).encode(), service.binding(session)
        self._scram = ScramServer(nonce, binding=binding, plus=mechanism == SCRAM_PLUS)
        self._user = ""
        self._account: AccountId | None = None
        self._began = service.mark()
        self._next = self._first

    async def step(self, response: bytes | None) -> SaslChallenge | LoginResult:
        if response is None:
            return SaslChallenge(b"")
        try:
            return await self._next(response)
        except SaslError as error:
            return broken(error)
        except MailError as error:
            return BUSY if error.temporary else WRONG

    async def _first(self, response: bytes) -> SaslChallenge | LoginResult:
        self._user = self._scram.receive_first(response)
        self._account, verifier = await self._service.find_verifier(self._session, self._user)
        self._next = self._final
        return SaslChallenge(self._scram.challenge(verifier))

    async def _final(self, response: bytes) -> SaslChallenge | LoginResult:
        result = await self._service.prove(
            self._session, self._user, self._account, self._began, lambda: self._scram.receive_final(response)
        )
        if isinstance(result, LoginRefused):
            return result
        self._next = self._acknowledged
        return SaslChallenge(result)

    async def _acknowledged(self, response: bytes) -> SaslChallenge | LoginResult:
        if response or self._account is None:
            return LoginRefused("Nothing was expected here", "5.5.2")
        if not self._service.unchanged_since(self._began, self._account):
            return WRONG
        return self._service.accepted(self._session, self._account, self._mechanism)


def user_key(user: str) -> str:
    """Under which name guesses at a user are counted: all spellings of one account give one."""
    try:
        return EmailAddress.parse(user).key
    except InvalidInput:
        return user[:320]


def _for_log(user: str) -> str:
    """At most 128 printable characters: no line ends, no escape sequences, no direction marks (ATTACKS N04)."""
    return "".join(c if c.isprintable() else "?" for c in user[:128])
