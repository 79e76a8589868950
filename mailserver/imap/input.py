"""What comes in: octets go to the wire, and no more of them than a command or two while one is running."""

from __future__ import annotations

import asyncio

from mailserver.imap.output import CHUNK
from mailserver.net.settings import LimitsSettings
from mailserver.wire.imap.connection import ImapConnection

__all__ = ["Input"]


class Input:
    """One connection's commands, as octets. The connection passes on what its transport received.

    Attributes:
        wire: what is made of them.
        eof: the client sends no more.
    """

    __slots__ = ("_loop", "_reading", "_transport", "_uploaded", "_uploading_since", "_waiter", "eof", "wire")

    def __init__(self, wire: ImapConnection, loop: asyncio.AbstractEventLoop) -> None:
        self.wire = wire
        self.eof = False
        self._loop = loop
        self._transport: asyncio.ReadTransport | None = None
        self._reading = True
        self._waiter: asyncio.Future[None] | None = None
        self._uploading_since = 0.0
        self._uploaded = 0

    def attach(self, transport: asyncio.ReadTransport | None) -> None:
        """From now on octets come from there; None when the connection is gone."""
        self._transport = transport

    @property
    def awaited(self) -> bool:
        """Whether the running command waits for the client."""
        return self._waiter is not None

    def receive(self, data: bytes) -> None:
        """Octets came."""
        self._uploaded += len(data)
        self.wire.receive_data(data)
        self._wake()

    def end(self) -> None:
        """No more will come."""
        self.eof = True
        self.wire.receive_eof()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def hold(self) -> None:
        """Take no more in when much of it waits already: a command is running."""
        if self._reading and self.wire.unread > CHUNK and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        """Take in more."""
        if not self._reading and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    async def more(self) -> None:
        """Wait for more. Raises ConnectionResetError: there is none."""
        if self.eof:
            raise ConnectionResetError
        self.resume()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def upload_begins(self) -> None:
        """A message may come; from now on the speed counts."""
        self._uploading_since, self._uploaded = self._loop.time(), 0

    def upload_ended(self) -> None:
        """No message comes any more."""
        self._uploading_since = 0.0

    def too_slow(self, now: float, limits: LimitsSettings) -> bool:
        """Whether a message comes more slowly than is allowed. `now` is the loop's time."""
        seconds = now - self._uploading_since
        if not self._uploading_since or seconds <= limits.min_rate_grace:
            return False
        return self._uploaded < seconds * limits.min_rate
