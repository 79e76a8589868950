"""The parts of a message that APPEND puts together (RFC 4469 §5), read one by one: line, literal, line.

    CATENATE (URL "/Drafts/;UID=3" TEXT {12}   the line that the first Lexer holds; its literal is streamed
    …twelve octets… URL {30}                   the next line; a URL may be a literal too, which is held
"""

from __future__ import annotations

from typing import Final

from mailserver.wire.imap.events import AppendMessage, CatenateEnd, CatenateText, CatenateUrl
from mailserver.wire.imap.fragments import HangUp, LiteralHeader
from mailserver.wire.imap.lexer import Lexer, ParseError

__all__ = ["MAX_URL", "Parts", "too_big"]

MAX_URL: Final = 8_192
_MAX_PARTS: Final = 1_000


def too_big(header: LiteralHeader, most: int) -> None:
    """Raises ParseError or HangUp: a message has at most `most` octets, and this literal has more."""
    if header.size > most:
        text = f"a message has at most {most} octets"
        if not header.synchronizing:
            raise HangUp(text)
        raise ParseError(text, status="NO", code="TOOBIG")


class Parts:
    """Behind `CATENATE (`. `lexer` is None when the next line is needed, after a literal; `header` is its end.

    `url` is the header of a URL that is a literal; `next` gives None then, and the octets go to `held`.
    """

    __slots__ = ("_count", "header", "lexer", "url")

    def __init__(self, lexer: Lexer, header: LiteralHeader | None) -> None:
        self.lexer: Lexer | None = lexer
        self.header = header
        self.url: LiteralHeader | None = None
        self._count = 0

    def goes_on(self, line: bytes, header: LiteralHeader | None, *, utf8: bool) -> None:
        """The line behind a literal."""
        self.lexer = Lexer(line if header is None else line[: header.start], utf8=utf8)
        self.header = header

    def next(self, most: int) -> CatenateUrl | CatenateText | CatenateEnd | None:
        """The next part. Raises ParseError, HangUp."""
        lexer = self.lexer
        if lexer is None:
            raise RuntimeError("there is no line")
        if self._count and lexer.skip(b")"):
            return CatenateEnd()
        if self._count:
            lexer.space()
        self._count += 1
        if self._count > _MAX_PARTS:
            raise ParseError(f"a message is put together from at most {_MAX_PARTS} parts", status="NO", code="LIMIT")
        word = lexer.word("TEXT or URL")
        lexer.space()
        header = self.header if lexer.at_end else None
        if word == b"URL":
            if header is None:
                return CatenateUrl(lexer.text())
            if header.size > MAX_URL:
                raise HangUp("a URL is shorter") if not header.synchronizing else ParseError("a URL is shorter")
            self.lexer, self.header, self.url = None, None, header
            return None
        if word != b"TEXT" or header is None:
            lexer.fail("TEXT with a literal, or URL with a string")
        too_big(header, most)
        self.lexer = self.header = None
        return CatenateText(
            AppendMessage(size=header.size, binary=header.binary, synchronizing=header.synchronizing)
        )

    def held(self, octets: bytes) -> CatenateUrl:
        """The octets of the URL that was a literal. Raises ParseError."""
        self.url = None
        return CatenateUrl(Lexer.decode(octets))
