"""Logging in without a password: by a bearer token that a plugin judges, or by the certificate that TLS has checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mailserver.hooks.contexts import AuthenticateContext, Denied, Session
from mailserver.net.login_results import LoginRefused, LoginResult, SaslChallenge, broken
from mailserver.wire.oauth import BearerToken, parse_oauthbearer, parse_xoauth2, refusal
from mailserver.wire.sasl import SaslError

__all__ = ["EXTERNAL", "TOKENS", "CertificateExchange", "TokenExchange"]

#: The mechanisms that carry a token, in the order of preference.
TOKENS: dict[str, Callable[[bytes], BearerToken]] = {"OAUTHBEARER": parse_oauthbearer, "XOAUTH2": parse_xoauth2}
EXTERNAL = "EXTERNAL"


class Judge(Protocol):
    """`LoginService.judge`."""

    async def __call__(self, ctx: AuthenticateContext) -> tuple[LoginResult, Denied | None]: ...


class TokenExchange:
    """RFC 7628 §3.2: what is wrong is said in a challenge, and after the client's empty answer it is over."""

    def __init__(self, judge: Judge, session: Session, mechanism: str) -> None:
        self._judge, self._session, self._mechanism = judge, session, mechanism
        self._refused: LoginRefused | None = None

    async def step(self, response: bytes | None) -> SaslChallenge | LoginResult:
        """Take the client's octets."""
        if self._refused is not None:
            return self._refused
        if response is None:
            return SaslChallenge(b"")
        try:
            given = TOKENS[self._mechanism](response)
        except SaslError as error:
            return broken(error)
        result, denied = await self._judge(
            AuthenticateContext(
                session=self._session, user=given.user, password="", mechanism=self._mechanism, token=given.token,
            )
        )  # fmt: skip
        if isinstance(result, LoginRefused) and not result.temporary:
            self._refused = result
            reason = denied or Denied(reason="")
            return SaslChallenge(refusal(reason.scope, reason.configuration))
        return result


class CertificateExchange:
    """RFC 4422 appendix A: the client names the account, or leaves it to the certificate if that names one only."""

    def __init__(self, judge: Judge, session: Session) -> None:
        self._judge, self._session = judge, session

    async def step(self, response: bytes | None) -> SaslChallenge | LoginResult:
        """Take the client's octets."""
        if response is None:
            return SaslChallenge(b"")
        try:
            user = response.decode("utf-8")
        except UnicodeDecodeError:
            return LoginRefused("The answer is not UTF-8", "5.5.2")
        if not user and len(self._session.certificate) == 1:
            user = self._session.certificate[0]
        # An rfc822Name is ASCII. Outside of it other letters than these are equal without case, and another account.
        if not user.isascii() or all(user.lower() != name.lower() for name in self._session.certificate):
            user = ""
        result, _ = await self._judge(
            AuthenticateContext(session=self._session, user=user, password="", mechanism=EXTERNAL)
        )
        return result
