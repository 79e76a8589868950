"""A cursor over a structured field body: the tokens of RFC 5322 §3.2 and §4.1, and MIME's (RFC 2045 §5.1).

Every step moves forward, comments nest by counting, and the patterns are possessive, so the work is linear whatever
stands there. A token that is missing or does not end is `Broken`, which never leaves this package: whoever reads a
field catches it and keeps what was read before.
"""

from __future__ import annotations

import re

__all__ = ["ATEXT", "TOKEN", "Broken", "Cursor"]

# RFC 5322 §3.2.3 atext, with all octets above ASCII (RFC 6532 §3.2, and what old mail has there).
ATEXT = rb"A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-"
# RFC 2045 §5.1 token.
TOKEN = rb"A-Za-z0-9!#$%&'*+.^_`{|}~\x80-\xff-"

_SPACE = re.compile(rb"[ \t\r\n]*+")
_ATOM = re.compile(b"[" + ATEXT + b"]++")
_PHRASE_ATOM = re.compile(b"[" + ATEXT + b".]*+")
_TOKEN = re.compile(b"[" + TOKEN + b"]*+")
_COMMENT_STEP = re.compile(rb"[^()\\]*+(?:\\.|(\(++)|(\)))", re.DOTALL)
_QUOTED = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_LITERAL = re.compile(rb"\[[^\]\\]*+(?:\\.[^\]\\]*+)*+\]", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPED_OR_FOLD = re.compile(rb"\\(.)|\r?\n", re.DOTALL)
_WORD_START = re.compile(b"[" + ATEXT + b'."]')

_QUOTE, _PAREN, _DOT, _AT, _BRACKET = b'"(.@['


class Broken(Exception):
    """The token that must stand here does not."""


class Cursor:
    """`pos` only grows. `comment` is the text of the last comment that was passed over."""

    __slots__ = ("comment", "data", "end", "pos")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0
        self.end = len(data)
        self.comment = b""

    def peek(self) -> int:
        """The octet here, -1 at the end."""
        return self.data[self.pos] if self.pos < self.end else -1

    def _take(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        match = pattern.match(self.data, self.pos)
        if match is None:
            self.pos = self.end
            raise Broken
        self.pos = match.end()
        return match

    def skip(self) -> None:
        """Pass over white space and comments (RFC 5322 §3.2.2 CFWS). Broken: a comment that does not end."""
        self._take(_SPACE)
        while self.peek() == _PAREN:
            self._skip_comment()
            self._take(_SPACE)

    def _skip_comment(self) -> None:
        start, depth = self.pos + 1, 0
        self.comment = b""
        while True:
            step = self._take(_COMMENT_STEP)
            if step[1]:
                depth += len(step[1])
            elif step[2]:
                depth -= 1
                if depth == 0:
                    self.comment = _ESCAPED.sub(rb"\1", self.data[start : self.pos - 1])
                    return

    def atom(self) -> bytes:
        """RFC 5322 §3.2.3 atom. Broken: there is none."""
        match = _ATOM.match(self.data, self.pos)
        if match is None:
            raise Broken
        self.pos = match.end()
        self.skip()
        return match[0]

    def token(self) -> bytes:
        """RFC 2045 §5.1 token, perhaps empty."""
        found = self._take(_TOKEN)[0]
        self.skip()
        return found

    def dot_atom(self) -> bytes:
        """Atoms with dots between them, and with white space around the dots as RFC 5322 §4.4 allows. Dots at the ends
        of a local part are taken as they are: some providers gave out such addresses."""
        out = [b""] if self.peek() == _DOT else [self.atom()]
        while self.peek() == _DOT:
            self.pos += 1
            out.append(b".")
            if self.pos == self.end:
                break
            self.skip()
            match = _ATOM.match(self.data, self.pos)
            if match is not None:
                out.append(match[0])
                self.pos = match.end()
                self.skip()
            elif self.peek() not in (_DOT, _AT):
                raise Broken
        return b"".join(out)

    def quoted(self) -> bytes:
        """The text of a quoted string (RFC 5322 §3.2.4). Broken: it does not end."""
        text = self._take(_QUOTED)[1]
        if b"\\" in text or b"\n" in text:
            text = _ESCAPED_OR_FOLD.sub(lambda match: match[1] or b"", text)
        self.skip()
        return text

    def phrase(self, words: list[bytes] | None = None) -> bytes:
        """Words and dots with one space between them, perhaps empty (RFC 5322 §3.2.5, §4.1).

        `words` gets them one by one, so that they are there when it is Broken.
        """
        if self.peek() == _DOT:
            raise Broken
        words = [] if words is None else words
        while True:
            if self.peek() == _QUOTE:
                words.append(self.quoted())
            else:
                words.append(self._take(_PHRASE_ATOM)[0])
                self.skip()
            if self.pos == self.end or not _WORD_START.match(self.data, self.pos):
                return b" ".join(words)

    def domain(self) -> bytes:
        """What follows the `@` here: a dot-atom or a domain literal (RFC 5322 §3.4.1)."""
        self.pos += 1
        self.skip()
        if self.peek() == _BRACKET:
            literal = self._take(_LITERAL)[0]
            self.skip()
            return literal
        return self.dot_atom()
