"""Message content as it may go out: lines that end in CRLF, no bare CR or LF, no NUL, a line end at the end.

What comes by SMTP is so already. Mail that was stored by other means and is forwarded may not be: a receiver that takes
a bare LF for a line end would find commands or a second message in it (ATTACKS A06). It is mended before anything signs
it. Content that needs no mending, nearly all, is looked at once by counting, and handed on as it is.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from mailserver.model.errors import StorageFailure
from mailserver.ports.store import ReadableContent

__all__ = ["OutgoingContent", "outgoing"]

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
#: What is mended at a time; an odd octet may come with it, so that no piece ends between CR and LF.
_BLOCK = 256 << 10
_HEAD = 1 << 20


class OutgoingContent:
    """A ReadableContent with what a sender must know about it.

    `eight_bit`: some octet is not ASCII; `utf8_header`: one of the header block is, and all of it is UTF-8.
    """

    def __init__(self, source: ReadableContent, prefix: bytes = b"") -> None:
        self._source = source
        self._prefix = prefix
        #: Where each block of the source begins, there and here (behind the prefix). None: nothing to mend.
        self._blocks: tuple[list[int], list[int]] | None = None
        self._body_size = source.size
        self._whole: bytes | None = None
        self._head = b""
        self.eight_bit = False
        self.utf8_header = False

    @property
    def size(self) -> int:
        """Octets that go out."""
        return len(self._prefix) + self._body_size

    def head(self) -> bytes:
        """The first octets, at most 1 MiB."""
        body = self._whole
        if body is None:
            body = self._head if self._blocks is not None else self._source.head()
        return (self._prefix + body)[:_HEAD] if self._prefix else body[:_HEAD]

    async def read(self, start: int, size: int) -> bytes:
        """A range. Raises StorageFailure."""
        if self._prefix:
            out = self._prefix[start : start + size]
            if len(out) == size:
                return out
            return out + await self._read(max(start - len(self._prefix), 0), size - len(out))
        return await self._read(start, size)

    def with_fields(self, fields: bytes) -> OutgoingContent:
        """The same message with header fields (each with its CRLF, ASCII) on top."""
        made = OutgoingContent(self._source, fields + self._prefix)
        made._blocks, made._body_size, made._whole = self._blocks, self._body_size, self._whole
        made.eight_bit, made.utf8_header, made._head = self.eight_bit, self.utf8_header, self._head
        return made

    async def _read(self, start: int, size: int) -> bytes:
        if self._whole is not None:
            return self._whole[start : start + size]
        if self._blocks is None:
            return await self._source.read(start, size)
        sources, places = self._blocks
        out = bytearray()
        number = bisect_right(places, start) - 1
        skip = start - places[number]
        while len(out) < size and number < len(sources) - 1:
            out += (await self._block(sources[number], sources[number + 1]))[skip : skip + size - len(out)]
            skip = 0
            number += 1
        return bytes(out)

    async def _block(self, begin: int, end: int) -> bytes:
        piece = await self._source.read(begin, end - begin)
        return _mended(piece, last=end == self._source.size)

    async def _look(self) -> None:
        """Count; and if it needs mending, note where each block of it comes to lie."""
        size, head = self._source.size, self._source.head()
        if len(head) == size:
            if not is_clean(head):
                self._whole = head = _mended(head, last=True)
                self._body_size = len(head)
            self._see(head)
            return
        sources, places = [0], [0]
        clean = True
        while sources[-1] < size:
            piece = await self._source.read(sources[-1], _BLOCK)
            if not piece:
                raise StorageFailure("the message in the queue is shorter than it was")
            if piece.endswith(b"\r") and sources[-1] + len(piece) < size:
                piece = piece[:-1] or piece
            last = sources[-1] + len(piece) == size
            mended = piece if is_clean(piece, last=last) else _mended(piece, last=last)
            clean = clean and mended is piece
            self.eight_bit = self.eight_bit or not piece.isascii()
            if len(self._head) < _HEAD:
                self._head += mended
            sources.append(sources[-1] + len(piece))
            places.append(places[-1] + len(mended))
        self._see(self._head)
        if not clean:
            self._blocks, self._body_size = (sources, places), places[-1]
        else:
            self._head = b""

    def _see(self, head: bytes) -> None:
        if head.isascii():
            return
        self.eight_bit = True
        end = head.find(b"\r\n\r\n")
        block = head if end < 0 else head[:end]
        if not block.isascii():
            try:
                block.decode("utf-8")
            except UnicodeDecodeError:
                return  # The 8-bit headers of the last century are not RFC 6532's.
            self.utf8_header = True


async def outgoing(source: ReadableContent) -> OutgoingContent:
    """The content as it may go out. Raises StorageFailure."""
    made = OutgoingContent(source)
    await made._look()
    return made


def is_clean(piece: bytes, *, last: bool = True) -> bool:
    """Whether a piece that does not end between CR and LF needs no mending; `last`: it is the end of the content."""
    ends = piece.count(b"\r\n")
    return (
        piece.count(b"\n") == ends
        and piece.count(b"\r") == ends
        and b"\0" not in piece
        and (not last or piece.endswith(b"\r\n"))
    )


def _mended(piece: bytes, *, last: bool) -> bytes:
    # NUL first: between CR and LF it would leave two line ends.
    out = _BARE.sub(b"\r\n", piece.replace(b"\0", b""))
    return out + b"\r\n" if last and not out.endswith(b"\r\n") else out
