"""Replies as they come from a server (RFC 5321 §4.2), within bounds: the other side may be anybody.

What is no reply ends the dialogue: a line without a code, codes that differ within one reply, a line or a reply without
end. Text is made printable where it is read, so nothing that a server says can break a log, a report or a record.
"""

from __future__ import annotations

import re

__all__ = ["BadReply", "RemoteReply", "ReplyReader", "printable"]

#: RFC 5321 §4.5.3.1.5 allows 512 octets; long URLs in refusals are more than that.
LONGEST_LINE = 4096
LONGEST_REPLY = 64 << 10
MOST_LINES = 256
#: Replies that may come in one piece; more than the commands of any group.
_MOST_AT_ONCE = 4096
_LONGEST_TEXT = 1000
# 1yz is not used by SMTP (§4.2.1). The second digit is not looked at: 571 and 591 are met in the wild.
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(rb"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +|$)(.*)", re.DOTALL)


class BadReply(Exception):
    """The server does not speak SMTP; the text says what it did."""


def printable(octets: bytes, longest: int = _LONGEST_TEXT) -> str:
    """One line of printable characters. What is UTF-8 stays (RFC 6531 §3.7.4.2), everything else is a question mark."""
    text = octets[: 4 * longest].decode("utf-8", "replace")[:longest]
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


class RemoteReply:
    """One reply. `lines` are without code and line end; `status` is the enhanced code (RFC 2034), or ""."""

    __slots__ = ("code", "lines")

    def __init__(self, code: int, lines: tuple[bytes, ...]) -> None:
        self.code = code
        self.lines = lines

    @property
    def status(self) -> str:
        """Of the last line that has one."""
        for line in reversed(self.lines):
            match = _STATUS.match(line)
            if match is not None:
                return match[1].decode("ascii")
        return ""

    @property
    def text(self) -> str:
        """All lines as one printable line of at most 1,000 characters, without the enhanced codes."""
        parts = []
        for line in self.lines:
            match = _STATUS.match(line)
            parts.append(match[2] if match is not None else line)
        return printable(b" ".join(part.strip() for part in parts if part.strip()))

    @property
    def positive(self) -> bool:
        """2yz."""
        return 200 <= self.code < 300

    def __str__(self) -> str:
        return printable(b"%d %s" % (self.code, b" ".join(line.strip() for line in self.lines)))

    def __repr__(self) -> str:
        return f"<RemoteReply {self}>"


class ReplyReader:
    """Takes octets cut at any place and gives the replies that are complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._code = b""
        self._lines: list[bytes] = []
        self._octets = 0

    @property
    def empty(self) -> bool:
        """Nothing was received beyond the last complete reply."""
        return not self._rest and not self._lines

    def feed(self, octets: bytes) -> list[RemoteReply]:
        """The replies that end in these octets. Raises BadReply; then nothing that follows is to be trusted."""
        data = self._rest + octets if self._rest else octets
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LONGEST_LINE:
            raise BadReply("a line of its reply has no end")
        replies: list[RemoteReply] = []
        for line in lines:
            reply = self._take(line)
            if reply is not None:
                replies.append(reply)
                if len(replies) > _MOST_AT_ONCE:
                    raise BadReply("it sends replies that nobody asked for")
        return replies

    def _take(self, line: bytes) -> RemoteReply | None:
        if len(line) > LONGEST_LINE:
            raise BadReply("a line of its reply is too long")
        # A bare LF is tolerated: replies end nothing but themselves.
        match = _LINE.fullmatch(line[:-1] if line.endswith(b"\r") else line)
        if match is None:
            raise BadReply(f"it does not speak SMTP: {printable(line, 100)}")
        code, mark, text = match.groups(b"")
        if self._lines and code != self._code:
            raise BadReply("the codes within its reply differ")
        self._octets += len(line) + 1
        if mark == b"-":
            self._code = code
            self._lines.append(text)
            if self._octets > LONGEST_REPLY or len(self._lines) > MOST_LINES:
                raise BadReply("its reply has no end")
            return None
        self._lines.append(text)
        reply = RemoteReply(int(code), tuple(self._lines))
        self._lines.clear()
        self._octets = 0
        return reply
