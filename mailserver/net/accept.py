"""What happens to a connection before its protocol hears of it: the PROXY header, then TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

import structlog

from mailserver.net.tls import is_foreign
from mailserver.wire.proxy import BadProxyHeader, ProxyReader

if TYPE_CHECKING:
    from mailserver.net.listener import Listener

__all__ = ["Gate"]

log = structlog.get_logger()

#: Room for a first TLS record.
_EARLY = 17 << 10


class Gate(asyncio.BufferedProtocol):
    """Reads the PROXY header octet-exactly, makes the TLS handshake, and puts the listener's protocol in its place.

    Both are under one deadline. A peer that fails here hears nothing: no protocol was agreed on yet.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._peer = ("", 0)
        self._proxy: ProxyReader | None = None
        self._buffer = bytearray()
        #: Octets of TLS that came before TLS was in place.
        self._early = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, then wait for the PROXY header or go on at once."""
        self._transport = cast("asyncio.Transport", transport)
        self._peer = self._listener.peername(self, transport)
        if self._listener.opened(self, self._peer[0]) is not None:
            self._transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(self._listener.handshake_timeout, self.abort)
        if self._peer[0] in self._listener.proxies:
            self._proxy = ProxyReader()
        else:
            # uvloop starts to read when this method returns, whatever was done to the transport in it: only later can
            # it be paused.
            asyncio.get_running_loop().call_soon(self._pass_on)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Room for exactly what the PROXY header still wants, or for the beginning of TLS."""
        self._buffer = bytearray(self._proxy.wanted if self._proxy is not None else _EARLY)
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read for the PROXY header."""
        if self._proxy is None:
            self._early += self._buffer[:nbytes]
            self._buffer = bytearray()
            if len(self._early) > _EARLY:
                self.abort()
            return
        try:
            self._proxy.feed(bytes(self._buffer[:nbytes]))
        except BadProxyHeader as error:
            log.info("bad PROXY header", listener=self._listener.name, proxy=self._peer[0], reason=str(error))
            self.abort()
            return
        header = self._proxy.header
        if header is not None:
            if header.address:
                self._peer = (header.address, header.port)
            self._pass_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back what was counted; a handshake in hand is over."""
        if self._timer is not None:
            self._timer.cancel()
        if self._handshake is not None:
            self._handshake.cancel()
        self._listener.closed(self)

    def begin_shutdown(self) -> None:
        """Nothing was said yet, so nothing is owed."""
        self.abort()

    def abort(self) -> None:
        """Close now."""
        if self._handshake is not None:
            self._handshake.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _pass_on(self) -> None:
        transport = cast("asyncio.Transport", self._transport)
        if transport.is_closing():
            return
        # From here on the octets belong to someone else: TLS, or the protocol.
        transport.pause_reading()
        if self._listener.tls is None:
            protocol = self._make()
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            if self._early:
                cast("asyncio.Protocol", protocol).data_received(bytes(self._early))
            transport.resume_reading()
        else:
            self._handshake = asyncio.get_running_loop().create_task(self._start_tls(transport, self._listener.tls))

    async def _start_tls(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        listener = self._listener
        inner = _Late()
        try:
            starting = asyncio.get_running_loop().start_tls(
                transport, inner, context, server_side=True,
                ssl_handshake_timeout=listener.handshake_timeout, ssl_shutdown_timeout=5.0,
            )
            secured = await (self._with_early(starting, transport) if self._early else starting)
        except (OSError, asyncio.CancelledError, TimeoutError) as error:
            transport.abort()
            listener.closed(self)
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        finally:
            if self._timer is not None:
                self._timer.cancel()
        if secured is None or inner.lost:
            listener.closed(self)
            return
        if is_foreign(secured.get_extra_info("ssl_object")):
            secured.abort()
            listener.closed(self)
            return
        self._transport = secured
        protocol = self._make()
        inner.replace(secured, cast("asyncio.Protocol", protocol))

    async def _with_early(
        self, starting: Coroutine[Any, Any, asyncio.Transport | None], transport: asyncio.Transport
    ) -> asyncio.Transport | None:
        """`starting`, and the octets that came too early go to its protocol first of all.

        Two turns of the loop: in the first `start_tls` puts its protocol in place and schedules that protocol's
        `connection_made` and the reading, in the second these run, and right after them this goes on.
        """
        task = asyncio.get_running_loop().create_task(starting)
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            protocol, early = transport.get_protocol(), bytes(self._early)
            while early:
                # Both loops' TLS protocols are buffered ones, though uvloop's is no subclass.
                room = memoryview(cast("asyncio.BufferedProtocol", protocol).get_buffer(len(early)))
                count = min(len(room), len(early))
                room[:count] = early[:count]
                cast("asyncio.BufferedProtocol", protocol).buffer_updated(count)
                early = early[count:]
            return await task
        finally:
            task.cancel()

    def _make(self) -> asyncio.BaseProtocol:
        if self._timer is not None:
            self._timer.cancel()
        protocol = self._listener.make_protocol()
        self._listener.gate_passed(self, protocol, self._peer)
        return protocol


class _Late(asyncio.Protocol):
    """Holds the place of a protocol for the few callbacks that can come before the handshake's waiter runs."""

    def __init__(self) -> None:
        self.lost = False
        self._calls: list[Callable[[asyncio.Protocol], object]] = []

    def replace(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Put the real protocol in place, and tell it what happened meanwhile."""
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        for call in self._calls:
            call(protocol)

    def data_received(self, data: bytes) -> None:
        """Keep for the protocol."""
        self._calls.append(lambda protocol: protocol.data_received(data))

    def eof_received(self) -> None:
        """Keep for the protocol."""
        self._calls.append(lambda protocol: protocol.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody needs to hear of it any more."""
        self.lost = True
