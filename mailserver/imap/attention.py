"""Which mailbox wakes a connection."""

from __future__ import annotations

from collections.abc import Callable

from mailserver.ports.store import Mailbox

__all__ = ["Attention"]


class Attention:
    """One mailbox at most: the selected one, while the client wants to hear of it at any time."""

    __slots__ = ("_box", "_undo", "_wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._box: Mailbox | None = None
        self._undo: Callable[[], None] | None = None

    def turn_to(self, box: Mailbox | None) -> None:
        """From now on this one, and no other."""
        if box is self._box:
            return
        if self._undo is not None:
            self._undo()
        self._box, self._undo = box, box.subscribe(self._wake) if box is not None else None
