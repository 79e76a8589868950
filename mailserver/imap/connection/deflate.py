"""COMPRESS=DEFLATE (RFC 4978): the two streams of a connection, each of bounded memory.

What comes in is inflated piece by piece, and no more of it than is asked for, so that the limits count inflated octets
and a bomb is just a long line (ATTACKS I11). What goes out is flushed to a whole octet with every write; a stream that
rests is given back, and the next write begins a new one, which the client cannot tell from the old: blocks of DEFLATE
follow each other without a header, and a new one does not refer to what was before it (RFC 1951 §2).

A window of 8 KiB compresses answers of IMAP as well as one of 32 KiB, in half the memory.
"""

from __future__ import annotations

import zlib

__all__ = ["Deflater", "Inflater"]

_WINDOW_BITS = 13
_MEMORY_LEVEL = 6


class Inflater:
    """What the client sends. `held` octets wait to be inflated; the owner stops reading when these are many."""

    __slots__ = ("_more", "_stream", "_waiting")

    def __init__(self, data: bytes) -> None:
        """`data`: what came behind the command, compressed already."""
        # The client chooses its window, up to 32 KiB.
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._waiting = data
        self._more = False

    @property
    def held(self) -> int:
        """Octets that were received and not inflated."""
        return len(self._waiting)

    @property
    def ended(self) -> bool:
        """Whether the client ended its stream; nothing can follow then."""
        return self._stream.eof

    def receive(self, data: bytes) -> None:
        """Compressed octets came; nothing is done with them yet."""
        self._waiting += data

    @property
    def left(self) -> bytes:
        """What came behind the end of the stream, or was not inflated yet."""
        return self._stream.unused_data + self._waiting

    def take(self, most: int) -> bytes:
        """The next octets, at most that many; b"" when more must be received first. Raises zlib.error."""
        if self._stream.eof or (not self._waiting and not self._more):
            return b""
        data = self._stream.decompress(self._waiting, most)
        self._waiting = self._stream.unconsumed_tail
        # A full measure: what is left may be in the stream, with nothing of it waiting outside.
        self._more = len(data) == most
        return data


class Deflater:
    """What goes to the client."""

    __slots__ = ("_level", "_stream")

    def __init__(self, level: int) -> None:
        """`level`: from 1, the fastest, to 9."""
        self._level = level
        self._stream: zlib._Compress | None = None

    def deflate(self, data: bytes) -> bytes:
        """These octets, so that the client can read all of them at once."""
        if self._stream is None:
            self._stream = zlib.compressobj(self._level, zlib.DEFLATED, -_WINDOW_BITS, _MEMORY_LEVEL)
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def last(self, data: bytes) -> bytes:
        """These octets and the end of the stream."""
        return self.deflate(data) + (self._stream.flush() if self._stream is not None else b"")

    def rest(self) -> None:
        """Give back the memory of the stream."""
        self._stream = None
