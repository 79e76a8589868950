"""Message flags (RFC 9051 §2.3.2) and the table in which a mailbox interns its combinations.

A folder of 100,000 messages has a handful of different flag sets. So a message holds the number of its set, each set is
rendered once, a search on flags is one table look-up per message, and STORE maps old numbers to new ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum

from mailserver.model.errors import InvalidInput

__all__ = [
    "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN", "SYSTEM_FLAGS", "FlagChange", "FlagTable", "normalize_flag",
]  # fmt: skip

ANSWERED, DELETED, DRAFT, FLAGGED, SEEN = "\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen"
SYSTEM_FLAGS = (ANSWERED, FLAGGED, DELETED, SEEN, DRAFT)
_SYSTEM = {flag.lower(): flag for flag in SYSTEM_FLAGS}
# RFC 9051 §9 flag-keyword is an atom; 100 octets is our bound.
_KEYWORD = re.compile(r"[!#$&'*+,./0-9:;<=>?@A-Z\[^_`a-z|}~-]{1,100}")


def normalize_flag(flag: str) -> str:
    r"""A system flag in its usual spelling, a keyword as it is. Flags compare without regard to case (§2.3.2).

    Raises:
        InvalidInput: neither; `\Recent` and unknown `\X` cannot be set by anyone.
    """
    if flag.startswith("\\"):
        known = _SYSTEM.get(flag.lower())
        if known is None:
            raise InvalidInput("a client cannot set this flag")
        return known
    if not _KEYWORD.fullmatch(flag):
        raise InvalidInput("a keyword is an atom of at most 100 characters")
    return flag


class FlagChange(Enum):
    """How STORE treats its flags."""

    REPLACE = "FLAGS"
    ADD = "+FLAGS"
    REMOVE = "-FLAGS"


class FlagTable:
    """Append-only: number ↔ set of flags. Number 0 is the empty set. One per mailbox, shared by all its sessions."""

    __slots__ = ("_numbers", "_spelling", "rendered", "sets")

    def __init__(self) -> None:
        self.sets: list[frozenset[str]] = []
        #: `rendered[n]` is the set as it stands between the parentheses of FLAGS (...).
        self.rendered: list[bytes] = []
        self._numbers: dict[frozenset[str], int] = {}
        # The first spelling of a keyword that the mailbox met is the one it keeps.
        self._spelling: dict[str, str] = dict(_SYSTEM)
        self.intern(())

    def intern(self, flags: Iterable[str]) -> int:
        """The number of this set of (normalized) flags."""
        wanted = frozenset(self._spelling.setdefault(flag.lower(), flag) for flag in flags)
        number = self._numbers.get(wanted)
        if number is None:
            number = self._numbers[wanted] = len(self.sets)
            self.sets.append(wanted)
            system = [flag for flag in SYSTEM_FLAGS if flag in wanted]
            self.rendered.append(" ".join(system + sorted(wanted.difference(SYSTEM_FLAGS))).encode("ascii"))
        return number

    def change(self, number: int, how: FlagChange, flags: frozenset[str]) -> int:
        """The number of the set that `how flags` makes of set `number`."""
        flags = frozenset(self._spelling.setdefault(flag.lower(), flag) for flag in flags)
        if how is FlagChange.REPLACE:
            return self.intern(flags)
        old = self.sets[number]
        return self.intern(old | flags if how is FlagChange.ADD else old - flags)

    def having(self, flag: str) -> set[int]:
        """The numbers of all sets that have this flag (any spelling)."""
        spelled = self._spelling.get(flag.lower(), flag)
        return {number for number, flags in enumerate(self.sets) if spelled in flags}

    def keywords(self) -> list[str]:
        """Every keyword that this mailbox has met, sorted."""
        return sorted(flag for flag in self._spelling.values() if not flag.startswith("\\"))

    def select(self, test: Callable[[frozenset[str]], bool]) -> set[int]:
        """The numbers of the sets for which `test` is true."""
        return {number for number, flags in enumerate(self.sets) if test(flags)}
