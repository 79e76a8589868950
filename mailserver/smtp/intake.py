"""A message on its way in: from framed octets to a Content of the store, within the limits.

Whatever is wrong is remembered and told at the real end of the message; until then the rest is read and thrown away, so
that none of it is ever taken for commands.
"""

from __future__ import annotations

from typing import Protocol

from mailserver.model.errors import MailError
from mailserver.model.reply import Reply
from mailserver.ports.store import Content
from mailserver.smtp.replies import reply_to
from mailserver.wire.dotstuff import ContentCheck

__all__ = ["ContentFilter", "HeaderEditor", "Intake"]

_TOO_BIG = Reply(552, "5.3.4", "The message is too large")
_BARE = Reply(550, "5.5.2", "Bare CR, bare LF or NUL in the message: lines must end with CRLF")
_LINE = Reply(550, "5.5.2", "The message has a line that is too long")
_HEADER = Reply(552, "5.3.4", "The header is too large")


class HeaderEditor(Protocol):
    """Completes a header before it is kept (submission)."""

    def edit(self, header: bytes) -> bytes:
        """The header block to keep, with its empty line if it had one, for the one that came."""
        ...


class ContentFilter(Protocol):
    """Changes a message piece by piece, and holds back little of it."""

    def feed(self, piece: bytes) -> bytes:
        """What may be kept, when this is the next piece."""
        ...

    def finish(self) -> bytes:
        """The rest, when there is no more."""
        ...


class Intake:
    """`feed` takes octets of content that are unstuffed already."""

    def __init__(
        self, content: Content, *, max_size: int, longest_line: int, normalize: bool, header_size: int,
        editor: HeaderEditor | None = None, content_filter: ContentFilter | None = None,
    ) -> None:  # fmt: skip
        self.content = content
        self.size = 0
        self._max_size = max_size
        self._check = ContentCheck(normalize=normalize, longest_line=longest_line)
        self._editor = editor
        self._filter = content_filter
        self._header_size = header_size
        self._header = bytearray()
        self._refusal: Reply | None = None
        self._begun = False

    @property
    def far_too_big(self) -> bool:
        """More than twice the limit came: the client does not mean to stop."""
        return self.size > 2 * self._max_size

    async def feed(self, octets: bytes) -> None:
        """The next piece."""
        self.size += len(octets)
        if self._refusal is None and self.size > self._max_size:
            self._refusal = _TOO_BIG
        if self._refusal is None:
            await self._keep(self._check.feed(octets))
            if self._check.bare:
                self._refusal = _BARE
            elif self._check.too_long:
                self._refusal = _LINE

    async def finish(self) -> Reply | None:
        """The end came; None when the content is good."""
        if self._refusal is None:
            await self._keep(self._check.finish())
            if self._check.bare:
                self._refusal = _BARE
        if self._refusal is None and self._filter is not None:
            await self._write(self._filter.finish())
        if self._refusal is None and self._editor is not None:
            await self._write(self._editor.edit(bytes(self._header)))
            self._editor = None
        return self._refusal

    async def _keep(self, piece: bytes) -> None:
        if not piece:
            return
        if not self._begun and piece.startswith((b" ", b"\t")):
            # It would continue the last field that we put on top: such a message has no header (ATTACKS A13).
            piece = b"\r\n" + piece
        self._begun = True
        if self._filter is not None:
            piece = self._filter.feed(piece)
        if self._editor is None:
            await self._write(piece)
            return
        # A header that is to be completed waits until it is whole.
        searched = max(0, len(self._header) - 3)
        self._header += piece
        end = 2 if self._header.startswith(b"\r\n") else self._header.find(b"\r\n\r\n", searched) + 4
        if end < 4 and not self._header.startswith(b"\r\n"):
            if len(self._header) > self._header_size:
                self._refusal = _HEADER
            return
        header, rest = bytes(self._header[:end]), bytes(self._header[end:])
        self._header.clear()
        editor, self._editor = self._editor, None
        await self._write(editor.edit(header))
        await self._write(rest)

    async def _write(self, piece: bytes) -> None:
        if not piece or self._refusal is not None:
            return
        try:
            await self.content.write(piece)
        except MailError as error:
            self._refusal = reply_to(error)
