"""Where sections of large messages are, remembered: a client that fetches an attachment in pieces asks many times."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

__all__ = ["Places"]

_MOST = 1024


class Places:
    """The most recently used ranges. A message never changes under its UID, so nothing is ever wrong here."""

    __slots__ = ("_ranges",)

    def __init__(self) -> None:
        self._ranges: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()

    def get(self, key: Hashable) -> tuple[int, int] | None:
        """A range that is known."""
        found = self._ranges.get(key)
        if found is not None:
            self._ranges.move_to_end(key)
        return found

    def put(self, key: Hashable, place: tuple[int, int]) -> None:
        """Remember a range; the one that was not used for longest goes."""
        self._ranges[key] = place
        if len(self._ranges) > _MOST:
            self._ranges.popitem(last=False)
