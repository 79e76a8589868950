"""The octets of one connection: what came and was not read yet, what waits to be sent.

Input is bounded: above `_READ_AHEAD` the transport stops reading. Replies gather while complete commands wait, and go
out together (RFC 2920 §3.1). When the client does not read them, nothing more is read from it.
"""

from __future__ import annotations

import asyncio

__all__ = ["ConnectionEnded", "LineTooLong", "Stream"]

_READ_AHEAD = 64 << 10
_WRITE_AT_ONCE = 16 << 10


class ConnectionEnded(Exception):
    """The client is gone, or says no more."""


class LineTooLong(Exception):
    """No line end within the limit."""


class Stream:
    """Used by one reader task; the protocol's callbacks feed it."""

    __slots__ = (
        "_flush_waiter", "_loop", "_out", "_out_size", "_paused", "_read_waiter", "_transport", "_write_full", "buffer",
        "eof", "lost", "stalled_since",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, unread_replies: int) -> None:
        self._loop = loop
        self._out: list[bytes] = []
        self._out_size = 0
        self._read_waiter: asyncio.Future[None] | None = None
        self._flush_waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._write_full = False
        self.buffer = bytearray()
        self.eof = False
        self.lost = False
        #: Loop time since which the client has not read its replies; None: it reads.
        self.stalled_since: float | None = None
        self.use(transport, unread_replies)

    def use(self, transport: asyncio.Transport, unread_replies: int) -> None:
        """Take a transport: the first, or the one that STARTTLS made."""
        self._transport = transport
        self._paused = False
        transport.set_write_buffer_limits(high=unread_replies)

    # What the protocol tells

    def received(self, data: bytes) -> None:
        """Octets came."""
        self.buffer += data
        if len(self.buffer) > _READ_AHEAD:
            self.pause()
        _wake(self._read_waiter)

    def ended(self, *, lost: bool) -> None:
        """The client says no more; with `lost` it also hears no more."""
        self.eof = True
        self.lost = self.lost or lost
        _wake(self._read_waiter)
        if lost:
            _wake(self._flush_waiter)

    def write_full(self, now: float | None) -> None:
        """The transport's buffer is full since `now`, or (None) has room again."""
        self._write_full = now is not None
        self.stalled_since = now
        if now is None:
            _wake(self._flush_waiter)

    # What the reader does

    def pause(self) -> None:
        """Read no more from the socket until something is waited for."""
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    async def more(self) -> None:
        """Send what waits to be sent, then wait for octets. Raises ConnectionEnded."""
        await self.flush()
        if self.eof:
            raise ConnectionEnded
        before = len(self.buffer)
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        while len(self.buffer) == before:
            if self.eof:
                raise ConnectionEnded
            self._read_waiter = self._loop.create_future()
            try:
                await self._read_waiter
            finally:
                self._read_waiter = None

    def take(self, most: int | None = None) -> bytes:
        """Everything that came, or the first `most` octets of it, possibly nothing."""
        if most is None or most >= len(self.buffer):
            data = bytes(self.buffer)
            self.buffer.clear()
        else:
            data = bytes(self.buffer[:most])
            del self.buffer[:most]
        return data

    def put_back(self, data: bytes) -> None:
        """What was taken and belongs to the next reader."""
        self.buffer[:0] = data

    def push(self, reply: bytes) -> None:
        """Gather octets to send."""
        if reply:
            self._out.append(reply)
            self._out_size += len(reply)

    def say(self, reply: bytes) -> None:
        """Send at once, with what waits to be sent; a client that does not read gets it later."""
        self.push(reply)
        if not self._write_full:
            self._write()

    @property
    def full(self) -> bool:
        """Is it time to send, even though more commands wait?"""
        return self._out_size >= _WRITE_AT_ONCE or self._write_full

    async def flush(self) -> None:
        """Send, and wait while the client does not read. Raises ConnectionEnded."""
        if self._out:
            self._write()
        while self._write_full and not self.lost:
            self._flush_waiter = self._loop.create_future()
            try:
                await self._flush_waiter
            finally:
                self._flush_waiter = None
        if self.lost:
            raise ConnectionEnded

    def _write(self) -> None:
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._out_size = 0
        if not self.lost:
            self._transport.write(data)

    def close(self) -> None:
        """Send what waits to be sent, and close."""
        if self._out:
            self._write()
        self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
