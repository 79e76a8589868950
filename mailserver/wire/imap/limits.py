"""How much one connection may make us hold."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CHUNK", "MAX_DISCARD", "TAIL", "Limits"]

#: Octets of a message in one event.
CHUNK = 65_536
#: What is thrown away of one overlong line before we hang up, and how much of its end tells of a literal.
MAX_DISCARD, TAIL = 1 << 20, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Octets, messages aside. `literals` is the sum of one command's literals, APPEND's messages not counted.

    Before login a line of 8 KiB must do, and literals must work at all: Outlook sends LOGIN and ID with them (ATTACKS
    I03). `append` bounds a message, `messages` the messages of one APPEND.
    """

    line_before_login: int = 8_192
    literals_before_login: int = 8_192
    line: int = 65_536
    literals: int = 65_536
    sasl_line: int = 16_384
    append: int = 50 * 1024 * 1024
    messages: int = 1_000
