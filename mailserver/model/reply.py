"""SMTP replies (RFC 5321 §4.2, RFC 2034, RFC 3463)."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Reply"]

_STATUS = re.compile(r"([245]) \1\.[0-9]{1,3}\.[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Reply:
    """`code`, `status` (an enhanced status code, or "" where RFC 2034 §4 has none) and lines of text.

    The text is ASCII without control characters; anything else in it is replaced, so words that came from a peer or
    a plugin cannot break the protocol.
    """

    code: int
    status: str
    text: str

    def encode(self) -> bytes:
        """The reply as it goes out, each line with its CRLF."""
        mark = f"{self.status} " if self.status else ""
        if self.text.isascii() and self.text.isprintable() and len(self.text) <= 480:
            return f"{self.code} {mark}{self.text}\r\n".encode("ascii")
        lines = self.text.split("\n")
        out = []
        for number, line in enumerate(lines, 1):
            clean = "".join(c if " " <= c <= "~" else "?" for c in line[:480])
            out.append(f"{self.code}{' ' if number == len(lines) else '-'}{mark}{clean}\r\n")
        return "".join(out).encode("ascii")

    def refuses(self, kinds: str = "45") -> bool:
        """Is it a refusal of one of these kinds ("4": for now, "5": for good), with a status that says the same?"""
        kind = str(self.code // 100)
        return kind in tuple(kinds) and (not self.status or _STATUS.fullmatch(f"{kind} {self.status}") is not None)

    def __str__(self) -> str:
        return f"{self.code} {self.status} {self.text}".replace("  ", " ")
