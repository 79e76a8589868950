"""Which messages a command names: a sequence-set (RFC 9051 §9), or `$`, the saved search result (RFC 5182)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mailserver.model.numset import MAX_NUMBER, NumSet

__all__ = ["SAVED_RESULT", "SavedResult", "SequenceSet"]


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
