"""Which mailbox wakes a connection: the selected one, while the client wants to hear of it at any time."""

from __future__ import annotations

from collections.abc import Callable

from mailserver.imap.session import Session
from mailserver.ports.store import Mailbox

__all__ = ["Attention"]


class Attention:
    """One mailbox at most calls `wake` when it changes."""

    __slots__ = ("_box", "_undo", "_wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._box: Mailbox | None = None
        self._undo: Callable[[], None] | None = None

    def turn_to(self, session: Session | None, *, idle: bool) -> None:
        """From now on the one that this session has selected, if it asked for that by IDLE or NOTIFY; else none."""
        box = None
        if session is not None and session.selected is not None:
            notified = session.notifications is not None and session.notifications.events
            box = session.selected.mailbox if idle or notified else None
        if box is self._box:
            return
        if self._undo is not None:
            self._undo()
        self._box, self._undo = box, box.subscribe(self._wake) if box is not None else None
