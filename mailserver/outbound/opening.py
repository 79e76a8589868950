"""From a host to a connection that takes MAIL: dial, greeting, EHLO, TLS by the policy, login.

What fails here fails for the host, not for the message: `HostFailed`, and the next host is tried (RFC 5321 §5.1).

How TLS goes on where it fails depends on the policy. Opportunistic: once more, in the clear (RFC 7435). A policy that
is only being tested (RFC 8461 §5): once more, opportunistic. Everything else: not at this host. Where octets stand
behind the reply to STARTTLS nothing goes on: they came from somebody in between (ATTACKS C03).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from weakref import WeakSet

import structlog

from mailserver.model.delivery import Feedback, Outcome
from mailserver.model.errors import MailError
from mailserver.model.events import TlsAttempted
from mailserver.model.tls_policy import TlsLevel, TlsPolicy
from mailserver.net.dial import DialFailed, Dialled, dial
from mailserver.outbound.connection import Connection, ConnectionBroken, Trace
from mailserver.outbound.exchangers import Exchanger
from mailserver.outbound.login import log_in
from mailserver.outbound.outcomes import judge
from mailserver.outbound.protection import OPPORTUNISTIC, authenticates
from mailserver.outbound.settings import SendingSettings
from mailserver.outbound.smarthosts import Credentials
from mailserver.outbound.tls import ClientContexts, TlsFailed, check_certificate, described, failure_of
from mailserver.wire.smtp_client.auth import AuthFailed
from mailserver.wire.smtp_client.features import HELO, Features
from mailserver.wire.smtp_client.replies import RemoteReply
from mailserver.wire.smtp_client.transaction import Stage

__all__ = ["HostFailed", "OpenConnection", "Opener", "Way"]

_log = structlog.get_logger()
_IN_THE_CLEAR = TlsPolicy(level=TlsLevel.NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How to get to one host. `domain` is whose mail it is; `source` are our own addresses to come from.

    `implicit_tls`: TLS comes before the greeting. `ca_file`: authorities for its certificate instead of the system's.
    `own`: it is for mail that this server wrote. `require_tls`: for a message that goes by good TLS or not at all.
    """

    host: Exchanger
    domain: str
    policy: TlsPolicy = OPPORTUNISTIC
    source: tuple[str, ...] = ()
    implicit_tls: bool = False
    ca_file: str = ""
    credentials: Credentials | None = None
    own: bool = False
    require_tls: bool = False


class HostFailed(Exception):
    """This host does not take the message; the next may. `permanent`: it would say the same tomorrow.

    `policy` is the source of the TLS policy that a connection was to be made under, "" before there was one. `no_tls`:
    the server has no TLS of that kind, which is no accident of the network.
    """

    def __init__(
        self, text: str, status: str, *, permanent: bool = False, code: int = 0,
        feedback: Feedback = Feedback.UNREACHABLE, address: str = "", no_tls: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(text)
        self.text = text
        self.status = status
        self.permanent = permanent
        self.code = code
        self.feedback = feedback
        self.address = address
        self.no_tls = no_tls
        self.policy = ""


@dataclass(slots=True, kw_only=True)
class OpenConnection:
    """A connection that may take MAIL, with what is known of it. Times are of the loop's clock."""

    wire: Connection
    way: Way
    address: str
    features: Features
    tls: str = ""
    #: The certificate was what the policy asked for (RFC 8689 §4.2.1 wants that).
    authenticated: bool = False
    opened: float = 0.0
    used: float = 0.0
    #: Transactions begun, and domains of recipients named, as RFC 9422 counts them.
    transactions: int = 0
    domains: set[str] = field(default_factory=set)
    #: The last transaction did not end by itself: RSET goes before the next.
    reset: bool = False

    @property
    def reused(self) -> bool:
        """It has carried a message already."""
        return self.transactions > 0


class _OnceMore(Exception):
    """The same address again, under this policy."""

    def __init__(self, policy: TlsPolicy) -> None:
        super().__init__()
        self.policy = policy


class Opener:
    """Opens connections. `hostname` is our name in EHLO; `emit` is told what became of TLS; `hashing` does SCRAM."""

    def __init__(
        self, settings: SendingSettings, hostname: str, emit: Callable[[TlsAttempted], None], hashing: Executor
    ) -> None:
        self._settings = settings
        self._hello = f"EHLO {hostname}\r\n".encode("ascii")
        self._helo = f"HELO {hostname}\r\n".encode("ascii")
        self._emit = emit
        self._hashing = hashing
        self._contexts = ClientContexts()
        self._wires: WeakSet[Connection] = WeakSet()

    async def close(self) -> None:
        """Nothing is sent any more: end every connection, also one that waits for the other side."""
        for wire in list(self._wires):
            wire.abort("We closed the connection")
        # A turn of the loop, in which they are closed.
        await asyncio.sleep(0)

    async def open(self, way: Way, trace: Trace | None = None) -> OpenConnection:
        """A connection to one of the host's addresses: the next is tried where one does not serve (RFC 5321 §5.1).

        Raises HostFailed.
        """
        try:
            return await self._open(way, trace)
        except HostFailed as error:
            failed = _no_way(error) if error.no_tls and way.require_tls else error
            failed.policy = way.policy.source
            raise failed from None

    async def _open(self, way: Way, trace: Trace | None) -> OpenConnection:
        if way.policy.refused and way.policy.enforced:
            self._tell(way, None, failure=way.policy.failure or "validation-failure", detail=way.policy.refused)
            raise HostFailed(f"{way.host.name} must not be used: {way.policy.refused}", "4.7.5")
        left: Sequence[str] = way.host.addresses
        no_tls = True
        # What an address gets less than the policy says, no other address gets.
        less: dict[str, TlsPolicy] = {}
        while True:
            dialled = await self._dial(way, left)
            try:
                return await self._greet(way, less.get(dialled.address, way.policy), dialled, trace)
            except _OnceMore as again:
                less[dialled.address] = again.policy
                left = (dialled.address, *dialled.left)
            except HostFailed as error:
                left = dialled.left
                error.no_tls = no_tls = no_tls and error.no_tls
                if not left:
                    raise
                _log.info("send.address_failed", host=way.host.name, address=dialled.address, reason=error.text)

    async def _dial(self, way: Way, addresses: Sequence[str]) -> Dialled:
        host = way.host
        try:
            return await dial(
                addresses, host.port, source=way.source, allow_private=host.allow_private,
                timeout=self._settings.connect_timeout,
            )  # fmt: skip
        except DialFailed as error:
            raise HostFailed(f"No connection to {host.name}: {error.text}", error.status) from None

    async def _greet(self, way: Way, policy: TlsPolicy, dialled: Dialled, trace: Trace | None) -> OpenConnection:
        loop, wire = asyncio.get_running_loop(), Connection(self._settings, trace)
        self._wires.add(wire)
        try:
            await loop.create_connection(lambda: wire, sock=dialled.socket)
        except OSError as error:
            dialled.socket.close()
            raise HostFailed(f"No connection to {way.host.name}: {error.strerror}", "4.4.1") from None
        connection = OpenConnection(wire=wire, way=way, address=dialled.address, features=HELO)
        try:
            if way.implicit_tls:
                await self._handshake(connection, policy)
            greeting = await wire.reply(Stage.GREETING)
            if greeting.code != 220:
                raise refused(Stage.GREETING, greeting, dialled.address)
            await self._ehlo(connection)
            if not connection.tls and policy.level is not TlsLevel.NONE:
                await self._start_tls(connection, policy)
            if way.credentials is not None:
                await log_in(wire, connection.features, way.credentials, self._hashing, secrets.token_urlsafe(18))
                await self._ehlo(connection)  # RFC 4954 §4: what was known before does not count any more.
        except ConnectionBroken as error:
            raise HostFailed(error.text, error.status, address=dialled.address) from None
        except AuthFailed as error:
            _log.error("send.login_failed", host=way.host.name, reason=str(error))
            wire.goodbye()
            text = f"The login at {way.host.name} failed: {error}"
            raise HostFailed(text, "4.7.8", address=dialled.address) from None
        except BaseException:
            wire.goodbye()
            raise
        connection.opened = connection.used = loop.time()
        return connection

    async def _ehlo(self, connection: OpenConnection) -> None:
        """EHLO; HELO only where EHLO is refused for good, as a server that does not know it does (RFC 5321 §3.2)."""
        wire = connection.wire
        reply = await wire.command(self._hello, Stage.EHLO)
        if reply.code == 250:
            connection.features = Features.parse(reply.lines)
            return
        if reply.code // 100 == 5:
            reply = await wire.command(self._helo, Stage.EHLO)
        if reply.code != 250:
            raise refused(Stage.EHLO, reply, connection.address)
        connection.features = HELO

    async def _start_tls(self, connection: OpenConnection, policy: TlsPolicy) -> None:
        if not connection.features.starttls:
            self._without_tls(connection, policy, "the server does not offer TLS")
            return
        wire = connection.wire
        reply = await wire.command(b"STARTTLS\r\n", Stage.STARTTLS)
        if reply.code != 220:
            for_good = reply.code // 100 == 5
            self._without_tls(connection, policy, f"the server refuses TLS: {reply}", for_good=for_good)
            return
        if not wire.quiet:
            text = "the server sent something behind its reply to STARTTLS, unencrypted"
            self._tell(connection.way, connection, failure="validation-failure", detail=text)
            wire.abort(text)
            raise HostFailed(f"TLS with {connection.way.host.name}: {text}", "4.7.0", address=connection.address)
        await self._handshake(connection, policy)
        await self._ehlo(connection)  # RFC 3207 §4.2: everything that came in the clear is forgotten.

    def _without_tls(
        self, connection: OpenConnection, policy: TlsPolicy, text: str, *, for_good: bool = True
    ) -> None:
        """There is no TLS: the policy says whether that ends it."""
        way = connection.way
        if policy is way.policy:
            self._tell(way, connection, failure="starttls-not-supported", detail=text)
        if policy.level is not TlsLevel.OPPORTUNISTIC and policy.enforced:
            text = f"TLS is needed with {way.host.name}, and {text}"
            raise HostFailed(text, "4.7.4", address=connection.address, no_tls=for_good)

    async def _handshake(self, connection: OpenConnection, policy: TlsPolicy) -> None:
        way, wire = connection.way, connection.wire
        try:
            context = self._contexts.get(policy, way.ca_file)
            name = policy.names[0] if policy.names else way.host.name
            tls = await wire.start_tls(context, _server_name(name), self._settings.handshake_timeout)
            connection.tls = described(tls)
            matched = check_certificate(tls, policy, way.host.name, way.domain)
        except MailError as error:
            raise HostFailed(error.text, "4.3.5") from None
        except (OSError, TlsFailed) as error:
            failed = error if isinstance(error, TlsFailed) else failure_of(error)
            wire.abort(str(failed))
            if policy is way.policy:
                self._tell(way, connection, tls=connection.tls, failure=failed.failure, detail=str(failed))
            self._after_failure(way, policy, failed, connection.address)
            return
        connection.authenticated = matched and authenticates(policy)
        if policy is way.policy:
            self._tell(way, connection, tls=connection.tls)

    def _after_failure(self, way: Way, policy: TlsPolicy, failed: TlsFailed, address: str) -> None:
        """Raises what comes next."""
        if policy.level is TlsLevel.OPPORTUNISTIC:
            raise _OnceMore(_IN_THE_CLEAR)
        if not policy.enforced:
            raise _OnceMore(replace(OPPORTUNISTIC, source=policy.source))
        raise HostFailed(f"TLS with {way.host.name}: {failed}", "4.7.5", address=address, no_tls=failed.certificate)

    def _tell(
        self, way: Way, connection: OpenConnection | None, *, tls: str = "", failure: str = "", detail: str = ""
    ) -> None:
        policy = way.policy
        self._emit(TlsAttempted(
            domain=way.domain, host=way.host.name, address=connection.address if connection else "", policy=policy,
            tls=tls, failure=failure or policy.failure, detail=detail or policy.detail,
            source=connection.wire.source if connection else "", own=way.own,
        ))  # fmt: skip


def _no_way(error: HostFailed) -> HostFailed:
    """RFC 8689 §4.2.1: the sender is to be told, not to wait for a server that may never have it."""
    return HostFailed(
        f"{error.text}; the message may only be sent encrypted (REQUIRETLS)", "5.7.10", permanent=True,
        feedback=Feedback.FINE, address=error.address,
    )  # fmt: skip


def _server_name(name: str) -> str:
    """For SNI (RFC 7672 §8.1); an address has none (RFC 6066 §3), and neither has a pattern."""
    return "" if name.startswith(("[", "*")) else name


def refused(stage: Stage, reply: RemoteReply, address: str) -> HostFailed:
    """A reply that ends the connection before MAIL."""
    judgement = judge(stage, reply)
    return HostFailed(
        f"{stage.value}: {reply}" if stage is not Stage.GREETING else str(reply), judgement.status,
        permanent=judgement.outcome is Outcome.FAILED, code=reply.code, feedback=judgement.feedback, address=address,
    )  # fmt: skip
