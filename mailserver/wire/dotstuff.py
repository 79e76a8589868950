"""The framing of message content in SMTP (RFC 5321 §4.1.1.4, §4.5.2): where it ends, and what its lines may be.

Only CRLF "." CRLF ends DATA. Bare LF, bare CR and NUL never end anything: they are either reported, so that the message
is refused at its real end, or made into CRLF (NUL: dropped). Any other rule lets one message become two on its way
(ATTACKS A01-A05). Everything works on pieces cut at any place, in linear time.
"""

from __future__ import annotations

import re

__all__ = ["ContentCheck", "DotReader", "Stuffer", "stuff"]

_END = b"\r\n.\r\n"
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def stuff(content: bytes) -> bytes:
    """Content (CRLF lines) as it goes over the wire in DATA, with the end mark."""
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    return stuffed + (b".\r\n" if not content or content.endswith(b"\r\n") else _END)


class Stuffer:
    """The same for content that comes in pieces cut at any place. All its line ends are CRLF."""

    def __init__(self) -> None:
        self._line_begins = True

    def feed(self, octets: bytes, *, last: bool = False) -> bytes:
        """What goes out for this piece; behind the `last` one, which is not empty, the end mark."""
        out = octets.replace(b"\n.", b"\n..")
        if self._line_begins and octets.startswith(b"."):
            out = b"." + out
        self._line_begins = octets.endswith(b"\n") if octets else self._line_begins
        if not last:
            return out
        return out + (b".\r\n" if self._line_begins else _END)


class DotReader:
    """Takes the octets after 354 and gives the content back, without the dots that the sender put in."""

    def __init__(self) -> None:
        # The CRLF of the DATA command counts as the line end before the first line.
        self._held = b"\r\n"
        self._skip = 2
        self.done = False
        #: What came behind the end mark: the next commands.
        self.rest = b""

    def feed(self, octets: bytes) -> bytes:
        """The next piece of content, possibly empty. It never ends between the CR and the LF of a line end."""
        data = self._held + octets
        end = data.find(_END)
        if end >= 0:
            self.done = True
            self.rest = data[end + 5 :]
            self._held = b""
            piece = data[: end + 2]
        else:
            keep = _held_back(data)
            cut = len(data) - keep
            self._held = data[cut:]
            piece = data[:cut]
        if b"\r\n." in piece:
            piece = piece.replace(b"\r\n.", b"\r\n")
        if self._skip:
            # The line end before the first line is not content; it goes out with the first piece that has it.
            if len(piece) < 2:
                return b""
            piece, self._skip = piece[2:], 0
        return piece


def _held_back(data: bytes) -> int:
    """How many octets at the end could still become part of a line end, a stuffed dot or the end mark."""
    for length in (4, 3, 2, 1):
        if data.endswith(_END[:length]):
            return length
    return 0


class ContentCheck:
    """Looks at the lines of content piece by piece. Pieces must not end between CR and LF, except as `finish` says."""

    def __init__(self, *, normalize: bool, longest_line: int) -> None:
        self._normalize = normalize
        self._longest = longest_line
        self._line = 0
        self._held = b""
        #: Bare CR, bare LF or NUL was met, and `normalize` is off.
        self.bare = False
        #: A line above `longest_line` octets was met.
        self.too_long = False

    def feed(self, octets: bytes) -> bytes:
        """The same piece, normalized if asked for."""
        if self._normalize and b"\0" in octets:
            octets = octets.replace(b"\0", b"")
        piece = self._held + octets if self._held else octets
        if piece.endswith(b"\r"):
            piece, self._held = piece[:-1], b"\r"
        else:
            self._held = b""
        return self._checked(piece)

    def finish(self) -> bytes:
        """What is still held at the end of the content (a last bare CR)."""
        piece, self._held = self._held, b""
        return self._checked(piece) if piece else b""

    def _checked(self, piece: bytes) -> bytes:
        ends = piece.count(b"\r\n")
        if piece.count(b"\n") != ends or piece.count(b"\r") != ends or b"\0" in piece:
            if self._normalize:
                piece = _BARE.sub(b"\r\n", piece)
            else:
                self.bare = True
        if not self.too_long:
            self._measure(piece)
        return piece

    def _measure(self, piece: bytes) -> None:
        longest = self._longest
        first = piece.find(b"\n")
        if first < 0:
            self._line += len(piece)
            self.too_long = self._line > longest
            return
        last = piece.rfind(b"\n")
        self.too_long = self._line + first > longest or len(piece) - last > longest
        self._line = len(piece) - last - 1
        at = first
        # Steps of almost `longest` octets: a step without a line end in it is a line that is too long.
        while not self.too_long and at < last:
            at_next = piece.rfind(b"\n", at + 1, at + longest + 2)
            self.too_long = at_next < 0
            at = at_next
