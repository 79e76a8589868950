"""Stage one: where lines and literals begin and end (RFC 9051 §2.2.1, §4.3). Knows no command.

A line ends with CRLF and nothing else: a bare CR or LF stays inside it, where no grammar allows it. A line that ends
with `{n}`, `{n+}` or `~{n}` goes on behind n octets, whatever they are; so a literal's content never becomes a command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["TOO_LONG", "Fragments", "HangUp", "LiteralHeader", "TooLong", "literal_header"]

# number64 has at most 19 digits (RFC 9051 §9); the digits are ASCII by construction.
_HEADER = re.compile(rb"(~?)\{([0-9]{1,19})(\+?)\}\Z")
# No atom has a `{`, so this is neither the end of a command nor a literal.
_BROKEN_HEADER = re.compile(rb'\{[^ "{}]*\+\}\Z')


class TooLong(Enum):
    """The sentinel of `Fragments.line`."""

    TOO_LONG = "too long"


TOO_LONG: Final = TooLong.TOO_LONG


class HangUp(Exception):
    """It is no longer known, or not affordable to learn, where the next command begins: say BYE and close."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class LiteralHeader:
    """What a line announces at its end; `start` is where the announcement begins in the line."""

    size: int
    synchronizing: bool
    binary: bool
    start: int


def literal_header(line: bytes) -> LiteralHeader | None:
    """The literal that a line announces, if any.

    Raises:
        HangUp: something like `{5++}`: the client sends on without waiting, and nobody can say what.
    """
    if not line.endswith(b"}"):
        return None
    found = _HEADER.search(line, max(0, len(line) - 24))
    if found is not None:
        return LiteralHeader(int(found[2]), not found[3], bool(found[1]), found.start())
    if _BROKEN_HEADER.search(line, max(0, line.rfind(b"{"))):
        raise HangUp("a literal is announced as {count+}, with a count in decimal digits")
    return None


class Fragments:
    """The octets that were received and not yet read. Finding a line looks at each octet once, however they arrive."""

    __slots__ = ("_buffer", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Append what the peer sent."""
        self._buffer += data

    def line(self, limit: int) -> bytes | TooLong | None:
        """The next line without its CRLF; None if it is not here yet; TOO_LONG if it has more than `limit` octets.

        After TOO_LONG the line is still unread: `discard_line` or `head`.
        """
        buffer = self._buffer
        end = buffer.find(b"\r\n", self._scanned)
        if end < 0:
            # The last octet may be the CR of a CRLF that is under way.
            self._scanned = max(0, len(buffer) - 1)
            return TOO_LONG if len(buffer) > limit + 1 else None
        if end > limit:
            return TOO_LONG
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        self._scanned = 0
        return line

    def head(self, most: int) -> bytes:
        """The first unread octets, without reading them."""
        return bytes(self._buffer[:most])

    def take(self, most: int) -> bytes:
        """Read at most that many octets."""
        data = bytes(self._buffer[:most])
        del self._buffer[:most]
        self._scanned = 0
        return data

    def discard_line(self, keep: int) -> tuple[int, bytes | None]:
        """Throw away octets of a line that is too long, all but the last `keep` while its end is not here.

        Returns how many were thrown away and, when the line ended, its last `keep` octets.
        """
        buffer = self._buffer
        end = buffer.find(b"\r\n", self._scanned)
        if end >= 0:
            tail = bytes(buffer[max(0, end - keep) : end])
            del buffer[: end + 2]
            self._scanned = 0
            return end + 2, tail
        gone = max(0, len(buffer) - keep)
        del buffer[:gone]
        self._scanned = max(0, len(buffer) - 1)
        return gone, None

    def clear(self) -> None:
        """Forget everything."""
        self._buffer.clear()
        self._scanned = 0
