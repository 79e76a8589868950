"""Some messages of the selected mailbox, column by column, as commands work on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Rows", "cut"]


@dataclass(slots=True)
class Rows:
    """Some messages of the view, column by column, all columns equally long. `flags` are FlagTable numbers."""

    numbers: Sequence[int]
    uids: Sequence[int]
    flags: Sequence[int]
    modseqs: Sequence[int]
    sizes: Sequence[int]
    dates: Sequence[int]
    saved: Sequence[int]

    def __len__(self) -> int:
        return len(self.uids)

    def _columns(self) -> tuple[Sequence[int], ...]:
        return (self.numbers, self.uids, self.flags, self.modseqs, self.sizes, self.dates, self.saved)

    def take(self, at: Sequence[int]) -> Rows:
        """The rows at these places."""
        return Rows(*([column[i] for i in at] for column in self._columns()))

    def part(self, start: int, stop: int) -> Rows:
        """The rows from `start` up to `stop`."""
        return self if start == 0 and stop >= len(self) else Rows(*(column[start:stop] for column in self._columns()))


def cut(spans: Sequence[range], part: range) -> list[range]:
    """Of all positions in these spans, counted on from 0, those in `part`."""
    out, before = [], 0
    for span in spans:
        kept = span[max(0, part.start - before) : max(0, part.stop - before)]
        if kept:
            out.append(kept)
        before += len(span)
    return out
