"""From a host to a connection that takes MAIL: dial, greeting, EHLO.

What fails here fails for the host, not for the message: `HostFailed`, and the next host is tried (RFC 5321 §5.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from mailserver.model.delivery import Feedback, Outcome
from mailserver.model.tls_policy import TlsLevel, TlsPolicy
from mailserver.net.dial import DialFailed, Dialled, dial
from mailserver.outbound.connection import Connection, ConnectionBroken, Trace
from mailserver.outbound.outcomes import judge
from mailserver.outbound.settings import SendingSettings
from mailserver.wire.smtp_client.features import HELO, Features
from mailserver.wire.smtp_client.replies import RemoteReply
from mailserver.wire.smtp_client.transaction import Stage

__all__ = ["Host", "HostFailed", "OpenConnection", "Opener"]

OPPORTUNISTIC = TlsPolicy(level=TlsLevel.OPPORTUNISTIC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host of a destination: its name (or literal), its port and its addresses in the order to try them.

    `trusted`: the operator named it, so that private addresses are meant. `policy` is how to protect the connection;
    `source` are our own addresses to come from.
    """

    name: str
    port: int
    addresses: tuple[str, ...]
    trusted: bool = False
    policy: TlsPolicy = OPPORTUNISTIC
    source: tuple[str, ...] = ()


class HostFailed(Exception):
    """This host does not take the message; the next may. `permanent`: it would say the same tomorrow."""

    def __init__(
        self, text: str, status: str, *, permanent: bool = False, code: int = 0,
        feedback: Feedback = Feedback.UNREACHABLE, address: str = "",
    ) -> None:  # fmt: skip
        super().__init__(text)
        self.text = text
        self.status = status
        self.permanent = permanent
        self.code = code
        self.feedback = feedback
        self.address = address


@dataclass(slots=True, kw_only=True)
class OpenConnection:
    """A connection that may take MAIL, with what is known of it. Times are of the loop's clock."""

    wire: Connection
    host: Host
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


class Opener:
    """Opens connections. `hostname` is our name in EHLO."""

    def __init__(self, settings: SendingSettings, hostname: str, *, allow_private: bool = False) -> None:
        self._settings = settings
        self._hello = f"EHLO {hostname}\r\n".encode("ascii")
        self._helo = f"HELO {hostname}\r\n".encode("ascii")
        self._allow_private = allow_private

    async def open(self, host: Host, trace: Trace | None = None) -> OpenConnection:
        """A connection to one of the host's addresses: the next is tried where one does not greet (RFC 5321 §5.1).

        Raises HostFailed.
        """
        left: Sequence[str] = host.addresses
        while True:
            dialled = await self._dial(host, left)
            try:
                return await self._greet(host, dialled, trace)
            except HostFailed:
                left = dialled.left
                if not left:
                    raise

    async def _dial(self, host: Host, addresses: Sequence[str]) -> Dialled:
        try:
            return await dial(
                addresses, host.port, source=host.source, allow_private=self._allow_private or host.trusted,
                timeout=self._settings.connect_timeout,
            )  # fmt: skip
        except DialFailed as error:
            raise HostFailed(f"No connection to {host.name}: {error.text}", error.status) from None

    async def _greet(self, host: Host, dialled: Dialled, trace: Trace | None) -> OpenConnection:
        loop = asyncio.get_running_loop()
        try:
            _, wire = await loop.create_connection(lambda: Connection(self._settings, trace), sock=dialled.socket)
        except OSError as error:
            dialled.socket.close()
            raise HostFailed(f"No connection to {host.name}: {error.strerror}", "4.4.1") from None
        try:
            greeting = await wire.reply(Stage.GREETING)
            if greeting.code != 220:
                raise refused(Stage.GREETING, greeting, dialled.address)
            features = await self._ehlo(wire, dialled.address)
        except ConnectionBroken as error:
            raise HostFailed(error.text, error.status, address=dialled.address) from None
        except BaseException:
            wire.abort("The attempt has ended")
            raise
        now = loop.time()
        return OpenConnection(
            wire=wire, host=host, address=dialled.address, features=features, opened=now, used=now
        )

    async def _ehlo(self, wire: Connection, address: str) -> Features:
        """EHLO; HELO only where EHLO is refused for good, as a server that does not know it does (RFC 5321 §3.2)."""
        reply = await wire.command(self._hello, Stage.EHLO)
        if reply.code == 250:
            return Features.parse(reply.lines)
        if reply.code // 100 != 5:
            raise refused(Stage.EHLO, reply, address)
        reply = await wire.command(self._helo, Stage.EHLO)
        if reply.code != 250:
            raise refused(Stage.EHLO, reply, address)
        return HELO


def refused(stage: Stage, reply: RemoteReply, address: str) -> HostFailed:
    """A reply that ends the connection before MAIL."""
    judgement = judge(stage, reply)
    return HostFailed(
        f"{stage.value}: {reply}" if stage is not Stage.GREETING else str(reply), judgement.status,
        permanent=judgement.outcome is Outcome.FAILED, code=reply.code, feedback=judgement.feedback, address=address,
    )  # fmt: skip
