"""Which messages are to be looked at, and when. No I/O, no clock.

Every message that waits is to be looked at when it is late, and when it expires; nearly none is here by then. So what
is far away is kept by the minute and without its time: eight octets each.
"""

from __future__ import annotations

import heapq
from collections.abc import Container

from mailserver.model.ids import QueueId

__all__ = ["MINUTE", "Reminders"]

MINUTE = 60.0
#: What is for messages that have left is swept out when there is more of it than this, and than other things.
_SWEEP = 1000


class Reminders:
    """For the messages in `present`. Times are monotonic seconds."""

    def __init__(self, present: Container[QueueId]) -> None:
        self._present = present
        self._exact: list[tuple[float, QueueId]] = []
        self._minutes: dict[int, list[QueueId]] = {}
        #: Their numbers, a heap.
        self._order: list[int] = []
        self._count = 0
        #: The last minute that has begun.
        self._begun = -1

    def at(self, queue_id: QueueId, when: float) -> None:
        """Name it at this time."""
        heapq.heappush(self._exact, (when, queue_id))
        self._count += 1

    def about(self, queue_id: QueueId, when: float) -> None:
        """Name it in the minute before this time, or at the time if that minute has begun."""
        minute = int(when // MINUTE)
        if minute <= self._begun:
            self.at(queue_id, when)
            return
        those = self._minutes.get(minute)
        if those is None:
            those = self._minutes[minute] = []
            heapq.heappush(self._order, minute)
        those.append(queue_id)
        self._count += 1

    def next_time(self) -> float | None:
        """When `due` will have something; perhaps too early, never too late."""
        exact = self._exact[0][0] if self._exact else None
        if not self._order:
            return exact
        minute = self._order[0] * MINUTE
        return minute if exact is None or minute < exact else exact

    def due(self, now: float, most: int) -> list[QueueId]:
        """Those whose time has come, each once; some `most` of them, the others next time."""
        found: dict[QueueId, None] = {}
        while self._exact and self._exact[0][0] <= now and len(found) < most:
            found[heapq.heappop(self._exact)[1]] = None
            self._count -= 1
        while self._order and self._order[0] * MINUTE <= now and len(found) < most:
            self._begun = self._order[0]
            those = self._minutes[self._begun]
            some = those[-(most - len(found)) :]
            del those[-len(some) :]
            found.update(dict.fromkeys(some))
            self._count -= len(some)
            if not those:
                del self._minutes[heapq.heappop(self._order)]
        return [queue_id for queue_id in found if queue_id in self._present]

    def sweep(self, wanted: int) -> None:
        """Forget what is for messages that have left, if that is most: `wanted` messages are here."""
        if self._count <= 2 * wanted + _SWEEP:
            return
        self._exact = [entry for entry in self._exact if entry[1] in self._present]
        heapq.heapify(self._exact)
        for minute, those in list(self._minutes.items()):
            left = [queue_id for queue_id in those if queue_id in self._present]
            if left:
                self._minutes[minute] = left
            else:
                del self._minutes[minute]
        self._order = sorted(self._minutes)
        self._count = len(self._exact) + sum(map(len, self._minutes.values()))
