"""A mailbox's numbers without its table: enough for STATUS."""

from __future__ import annotations

from mailserver.model.flags import DELETED, SEEN

__all__ = ["Counts"]


class Counts:
    """How many messages have which set of flags, and their octets with CRLF."""

    __slots__ = ("octets", "sets")

    def __init__(self, sets: dict[frozenset[str], int], octets: int) -> None:
        self.sets = sets
        self.octets = octets

    def add(self, flags: frozenset[str], octets: int) -> None:
        """One more message."""
        self.sets[flags] = self.sets.get(flags, 0) + 1
        self.octets += octets

    def remove(self, flags: frozenset[str], octets: int) -> None:
        """One message less."""
        self.change(flags, None)
        self.octets -= octets

    def change(self, old: frozenset[str], new: frozenset[str] | None, count: int = 1) -> None:
        """These messages have other flags now (None: they are gone)."""
        left = self.sets.get(old, 0) - count
        if left > 0:
            self.sets[old] = left
        else:
            self.sets.pop(old, None)
        if new is not None:
            self.sets[new] = self.sets.get(new, 0) + count

    @property
    def messages(self) -> int:
        """All of them."""
        return sum(self.sets.values())

    @property
    def unseen(self) -> int:
        """Those without \\Seen."""
        return sum(count for flags, count in self.sets.items() if SEEN not in flags)

    @property
    def deleted(self) -> int:
        """Those with \\Deleted."""
        return sum(count for flags, count in self.sets.items() if DELETED in flags)
