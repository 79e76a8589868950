"""What goes out: gathered up to 64 KiB, then handed to the transport, and held back while the client does not read.

Large parts go to the kernel from where they are (writev); what is encrypted or compressed is copied anyway."""

from __future__ import annotations

import asyncio

from mailserver.imap.connection.deflate import Deflater

__all__ = ["CHUNK", "Output"]

#: Octets that are gathered before they are written, and that may wait in the transport.
CHUNK = 64 << 10
#: Octets of a buffer from which it costs less to hand it to the kernel by itself than to copy it.
_WORTH = 2 << 10


class Output:
    """One connection's answers. The connection passes on what its transport says of its buffer."""

    __slots__ = (
        "_busy", "_deflater", "_drained", "_gathered", "_loop", "_paused_at", "_plain", "_size", "_transport",
        "untouched",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.WriteTransport | None = None
        self._plain = False
        self._gathered: list[bytes] = []
        self._size = 0
        self._deflater: Deflater | None = None
        self._busy = False
        self._paused_at = 0.0
        #: Whoever sets it sees here whether anything was put since.
        self.untouched = False
        self._drained: asyncio.Future[None] | None = None

    def attach(self, transport: asyncio.WriteTransport | None) -> None:
        """From now on answers go there; None when the connection is gone, and they go nowhere."""
        self._transport = transport
        if transport is not None:
            transport.set_write_buffer_limits(high=CHUNK)
            self._plain = transport.get_extra_info("ssl_object") is None

    @property
    def held(self) -> int:
        """Octets that were not taken by the client's side yet, as far as we hold them."""
        return self._size + (self._transport.get_write_buffer_size() if self._transport is not None else 0)

    @property
    def waits(self) -> bool:
        """Whether something was gathered and not handed over."""
        return bool(self._gathered)

    @property
    def full(self) -> bool:
        """Whether it is time to flush."""
        return self._size >= CHUNK

    def put(self, data: bytes | list[bytes]) -> None:
        """Gather an answer, or a part of one, or several."""
        if data:
            self.untouched = False
            if isinstance(data, bytes):
                self._gathered.append(data)
                self._size += len(data)
            else:
                self._gathered += data
                self._size += sum(map(len, data))

    def write_out(self) -> None:
        """Hand over what was gathered, without waiting."""
        gathered, size, self._gathered, self._size = self._gathered, self._size, [], 0
        if gathered and self._transport is not None:
            if self._plain and self._deflater is None and size >= _WORTH * len(gathered) > _WORTH:
                self._transport.writelines(gathered)
                return
            # TLS would make a record of each buffer.
            data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
            if self._deflater is not None:
                self._busy, data = True, self._deflater.deflate(data)
            self._transport.write(data)

    def _write_some(self) -> None:
        gathered, size, count, some = self._gathered, self._size, 0, 0
        while some < CHUNK:
            some += len(gathered[count])
            count += 1
        self._gathered = gathered[:count]
        self.write_out()
        self._gathered, self._size = gathered[count:], size - some

    def deflate(self, level: int) -> None:
        """What was gathered goes out as it is; from then on octets are compressed."""
        self.write_out()
        self._deflater = Deflater(level)

    def deflate_no_more(self) -> None:
        """What was gathered is the last that is compressed."""
        deflater, self._deflater = self._deflater, None
        if deflater is not None:
            gathered, self._gathered, self._size = self._gathered, [], 0
            self.put(deflater.last(b"".join(gathered)))
            self.write_out()

    def rest(self) -> None:
        """Called now and then: a compressor that had nothing to do since the last time gives its memory back."""
        if self._deflater is not None and not self._busy:
            self._deflater.rest()
        self._busy = False

    async def flush(self) -> None:
        """Hand over what was gathered, and wait while the client does not read."""
        while self._deflater is not None and self._size > 2 * CHUNK:
            # Compressing is work for milliseconds: others get their turn in between.
            self._write_some()
            await asyncio.sleep(0)
        self.write_out()
        while self._paused_at:
            self._drained = self._loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    def pause(self) -> None:
        """The transport holds enough."""
        self._paused_at = self._loop.time()

    def resume(self) -> None:
        """The transport has room again."""
        self._paused_at = 0.0
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def stalled_since(self) -> float | None:
        """The loop's time at which the client stopped reading; None while it reads."""
        return self._paused_at or None
