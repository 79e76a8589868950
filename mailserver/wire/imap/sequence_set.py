"""Which messages a command names: a sequence-set (RFC 9051 §9), `$`, the saved search result (RFC 5182), or a part of
what it found or named (RFC 9394)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mailserver.model.numset import MAX_NUMBER, NumSet

__all__ = ["SAVED_RESULT", "PartialRange", "SavedResult", "SequenceSet"]


class SavedResult(Enum):
    """`$` (RFC 9051 §6.4.4.1): the UIDs that the last SEARCH RETURN (SAVE) found; the session knows them."""

    SAVED = "$"


SAVED_RESULT = SavedResult.SAVED


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Numbers, and perhaps everything from `star_from` to `*`.

    `star_from` is None without a `*`; a lone `*` is `4294967295:*`, which names the same message. All `n:*` of a set
    come down to the lowest n, since each of them holds the highest message and what lies between.
    """

    numbers: NumSet = field(default_factory=NumSet)
    star_from: int | None = None

    def resolve(self, highest: int) -> NumSet:
        """The numbers meant when `*` is `highest`; 0 (no messages) makes `*` mean nothing. Costs O(ranges)."""
        if self.star_from is None:
            return self.numbers
        if highest < 1:
            return self.numbers
        # RFC 9051 §9 seq-range: `n:*` is `*:n`, so the highest message is in it even when n lies above.
        return NumSet.from_ranges((*self.numbers.ranges, (min(self.star_from, highest), highest)))

    def exceeds(self, count: int) -> bool:
        """Whether it names a message above `count`, as `*` does when there is none (RFC 9051 §9 seq-number: BAD)."""
        if self.numbers.ranges and self.numbers.ranges[-1][1] > count:
            return True
        return self.star_from is not None and (not count or count < self.star_from < MAX_NUMBER)

    def __str__(self) -> str:
        parts = [str(self.numbers)] if self.numbers.ranges else []
        if self.star_from is not None:
            parts.append("*" if self.star_from == MAX_NUMBER else f"{self.star_from}:*")
        return ",".join(parts)


@dataclass(frozen=True, slots=True)
class PartialRange:
    """`500:400` or, counted from the end, `-1:-100` (RFC 9394 §3.1): places in a list, as typed, the first one is 1."""

    first: int
    last: int

    def of(self, count: int) -> range:
        """The places from 0 that it means in a list of this length, those that are there; ascending."""
        low, high = sorted((abs(self.first), abs(self.last)))
        if self.first < 0:
            return range(max(0, count - high), max(0, count - low + 1))
        return range(min(low - 1, count), min(high, count))

    def __str__(self) -> str:
        return f"{self.first}:{self.last}"
