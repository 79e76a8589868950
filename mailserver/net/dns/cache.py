"""Answers that are still good. Bounded by the octets of the replies that they came from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from mailserver.ports.clock import Clock

__all__ = ["TtlCache"]

#: What an entry costs beside the octets of its reply.
_OVERHEAD = 512

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class TtlCache(Generic[K, V]):
    """Keeps values for their time; what was used least lately goes first when the room is used up."""

    def __init__(self, clock: Clock, room: int) -> None:
        self._clock = clock
        self._room = room
        self._used = 0
        self._entries: OrderedDict[K, tuple[V, float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """None: not known, or not any more."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[1] <= self._clock.monotonic():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, seconds: float, octets: int) -> None:
        """Keep a value; one that takes more than a tenth of the room is not kept."""
        self._drop(key)
        cost = octets + _OVERHEAD
        if seconds <= 0 or cost > self._room // 10:
            return
        self._entries[key] = value, self._clock.monotonic() + seconds, cost
        self._used += cost
        while self._used > self._room:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._used = 0

    def _drop(self, key: K) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._used -= entry[2]
