"""What changed in an open mailbox lately, so that sessions catch up without looking at every message."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from mailserver.model.mailbox import MessageTable
from mailserver.model.numset import NumSet

__all__ = ["ChangeLog"]

_MAX_GENERATIONS = 100
_MAX_CHANGES = 2_000


class ChangeLog:
    """Bounded; for what is further back the table itself must be compared."""

    __slots__ = ("_changes", "_complete_from", "_expunged")

    def __init__(self, modseq: int) -> None:
        self._expunged: deque[tuple[int, NumSet]] = deque(maxlen=_MAX_GENERATIONS)
        self._changes: deque[tuple[int, Sequence[int]]] = deque()
        #: Every change with a greater MODSEQ is in `_changes`.
        self._complete_from = modseq

    def changed(self, modseq: int, uids: Sequence[int]) -> None:
        """Messages got this MODSEQ, which is not below any before."""
        self._changes.append((modseq, uids))
        if len(self._changes) > _MAX_CHANGES:
            self._complete_from = self._changes.popleft()[0]

    def expunged(self, generation: int, uids: NumSet) -> None:
        """The table of this generation lacks these UIDs of the one before."""
        self._expunged.append((generation, uids))

    def since(self, modseq: int, table: MessageTable) -> list[int]:
        """UIDs, ascending, of messages in the table whose MODSEQ is greater."""
        if modseq < self._complete_from:
            return [uid for uid, changed in zip(table.uids, table.modseqs, strict=True) if changed > modseq]
        found: set[int] = set()
        for changed, uids in reversed(self._changes):
            if changed <= modseq:
                break
            found.update(uids)
        return sorted(uid for uid in found if table.find(uid) >= 0)

    def expunged_since(self, generation: int, present: int) -> NumSet | None:
        """UIDs removed between two generations of the table; None if that is too long ago."""
        if present - generation > len(self._expunged):
            return None
        recent = [uids for made, uids in self._expunged if made > generation]
        return NumSet.from_ranges(span for uids in recent for span in uids.ranges)

    def removed(self) -> NumSet:
        """All UIDs whose removal is remembered."""
        return NumSet.from_ranges(span for _, uids in self._expunged for span in uids.ranges)
