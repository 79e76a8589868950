"""How far something long is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass(slots=True)
class Progress:
    """`done` of `total` items; 0 of 0 says nothing. Counted in threads, too: for showing, not for relying on."""

    done: int = 0
    total: int = 0

    def begin(self, total: int) -> None:
        """Now something of so many items is done."""
        self.done, self.total = 0, total
