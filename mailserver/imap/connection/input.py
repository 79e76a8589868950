"""What comes in: octets go to the wire, and no more of them than a command or two while one is running."""

from __future__ import annotations

import asyncio
import zlib

from mailserver.imap.connection.deflate import Inflater
from mailserver.imap.connection.output import CHUNK
from mailserver.net.settings import LimitsSettings
from mailserver.wire.imap.connection import ImapConnection

__all__ = ["Input"]


class Input:
    """One connection's commands, as octets. The connection passes on what its transport received.

    Attributes:
        wire: what is made of them.
        eof: the client sends no more.
    """

    __slots__ = (
        "_inflater", "_loop", "_reading", "_transport", "_uploaded", "_uploading_since", "_waiter", "eof",
        "wire",
    )  # fmt: skip

    def __init__(self, wire: ImapConnection, loop: asyncio.AbstractEventLoop) -> None:
        self.wire = wire
        self.eof = False
        self._loop = loop
        self._inflater: Inflater | None = None
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
        if self._inflater is not None:
            self._inflater.receive(data)
        else:
            self._uploaded += len(data)
            self.wire.receive_data(data)
        self._wake()

    def end(self) -> None:
        """No more will come."""
        self.eof = True
        if self._inflater is None:
            self.wire.receive_eof()
        self._wake()

    def inflate(self) -> None:
        """From now on, and with what is here already, octets are compressed."""
        self._inflater = Inflater(self.wire.unread_octets())

    def inflate_no_more(self) -> None:
        """What comes from now on is not compressed."""
        inflater, self._inflater = self._inflater, None
        if inflater is not None:
            self.receive(inflater.left)

    def fill(self) -> bool:
        """The wire wants more: give it some of what was received and held back. False: nothing was."""
        if self._inflater is None:
            return False
        try:
            data = self._inflater.take(CHUNK)
        except zlib.error:
            self.wire.hang_up("What you sent is not DEFLATE")
            return True
        if data:
            self._uploaded += len(data)
            self.wire.receive_data(data)
            return True
        if self.eof or self._inflater.ended:
            # What was compressed is with the wire, all of it; so it may hear of the end.
            self._inflater, self.eof = None, True
            self.wire.receive_eof()
            return True
        return False

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def hold(self) -> None:
        """Take no more in when much of it waits already: a command is running."""
        held = self.wire.unread + (self._inflater.held if self._inflater is not None else 0)
        if self._reading and held > CHUNK and self._transport is not None:
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
