"""STARTTLS (RFC 3207)."""

from __future__ import annotations

import asyncio
import ssl
from abc import abstractmethod
from typing import cast

from mailserver.model.reply import Reply
from mailserver.net.starttls import start_tls
from mailserver.smtp.commands import CommandBase
from mailserver.smtp.stream import ConnectionEnded, Stream
from mailserver.smtp.transaction import State, Transaction, refusal

__all__ = ["StartTls"]

_GO = Reply(220, "2.0.0", "Ready to start TLS").encode()
_ON_ALREADY = Reply(503, "5.5.1", "TLS is active already").encode()
_NOT_OFFERED = Reply(502, "5.5.1", "STARTTLS is not offered").encode()
_NO_ARGUMENT = Reply(501, "5.5.4", "STARTTLS takes no argument").encode()
_AFTER_AUTH = Reply(503, "5.5.1", "STARTTLS comes before AUTH").encode()
_EARLY = Reply(554, "5.5.0", "The client spoke before it was its turn").encode()


class StartTls(CommandBase):
    """One command; on success the connection begins anew."""

    stream: Stream
    transport: asyncio.Transport | None
    #: None where STARTTLS is not offered.
    starttls: ssl.SSLContext | None

    @abstractmethod
    def connection_lost(self, error: Exception | None) -> None:
        """Nobody is there any more."""
        ...

    async def smtp_STARTTLS(self, argument: bytes) -> bytes:  # noqa: N802
        """RFC 3207. What came in the clear behind it is never read as if it had come through TLS (ATTACKS C01)."""
        if self.session.facts.tls:
            return _ON_ALREADY
        if self.starttls is None:
            return _NOT_OFFERED
        if argument:
            return _NO_ARGUMENT
        if self.session.facts.account is not None:
            return _AFTER_AUTH
        out_of_order = refusal("STARTTLS", self.transaction.state)
        if out_of_order is not None:
            return out_of_order
        if self.unread():
            self.closing = True
            return _EARLY
        return await self._start_tls(self.starttls)

    async def _start_tls(self, context: ssl.SSLContext) -> bytes:
        limits = self.receiver.parts.limits
        self.stream.push(_GO)
        await self.stream.flush()
        # From here on the socket's octets belong to TLS.
        self.stream.pause()
        if self.transport is None or self.unread():
            raise ConnectionEnded
        protocol = cast("asyncio.Protocol", self)
        try:
            secured = await start_tls(self.transport, protocol, context, handshake=limits.tls_handshake)
        except ConnectionResetError as error:
            raise ConnectionEnded from error
        if self.stream.lost:
            raise ConnectionEnded
        self.transport = secured
        self.stream.use(secured, limits.unread_replies)
        self.session.secured(secured.get_extra_info("ssl_object"))
        self.transaction = Transaction(State.START)
        return b""
