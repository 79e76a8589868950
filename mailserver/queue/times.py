"""Units by the time when they are due: a heap whose stale entries are swept out a few at a time. No I/O, no clock.

`unit.due` says which entry of a unit counts. All entries of a hundred thousand units at once would hold the loop for a
tenth of a second, so each step moves some of them from the old heap into the new one; the last leaf of a heap can be
taken off without a step of repair.
"""

from __future__ import annotations

import heapq

from mailserver.queue.unit import Unit

__all__ = ["Times"]

#: Stale entries are swept out when there are more of them than this, and than others.
_SWEEP = 1000
#: Entries that are moved in one step; one comes in at most.
_MOVED = 16


class Times:
    """Monotonic seconds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, Unit]] = []
        self._old: list[tuple[float, Unit]] = []
        self._stale = 0

    def __len__(self) -> int:
        return len(self._heap) + len(self._old)

    def first(self) -> float | None:
        """The time of the first entry, which may be stale."""
        return min((heap[0][0] for heap in (self._heap, self._old) if heap), default=None)

    def push(self, unit: Unit, due: float) -> None:
        """It is due at a time."""
        unit.due = due
        heapq.heappush(self._heap, (due, unit))
        self._move()

    def drop(self, unit: Unit) -> None:
        """It has no time any more."""
        unit.due = None
        self._stale += 1
        if not self._old and self._stale > _SWEEP and self._stale > len(self) // 2:
            self._old, self._heap = self._heap, self._old
        self._move()

    def take(self, now: float, most: int) -> list[Unit]:
        """Those that are due, which have no time from now on; at most so many entries are looked at."""
        found = []
        for _ in range(most):
            heaps = [heap for heap in (self._heap, self._old) if heap and heap[0][0] <= now]
            if not heaps:
                break
            due, unit = heapq.heappop(min(heaps, key=_first))
            if unit.due == due:
                unit.due = None
                found.append(unit)
            else:
                self._stale -= 1
        return found

    def _move(self) -> None:
        for _ in range(min(_MOVED, len(self._old))):
            due, unit = entry = self._old.pop()
            if unit.due == due:
                heapq.heappush(self._heap, entry)
            else:
                self._stale -= 1


def _first(heap: list[tuple[float, Unit]]) -> float:
    return heap[0][0]
