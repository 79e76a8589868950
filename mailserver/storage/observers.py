"""Who wants to hear what changes in an account; both stores keep one list per account."""

from __future__ import annotations

from collections.abc import Callable

from mailserver.model.changes import AccountChange

__all__ = ["Observers"]


class Observers:
    """Mostly nobody, so telling them costs a look at an empty dictionary."""

    __slots__ = ("_tells",)

    def __init__(self) -> None:
        self._tells: dict[object, Callable[[AccountChange], None]] = {}

    def observe(self, tell: Callable[[AccountChange], None]) -> Callable[[], None]:
        """One more; returns the undo."""
        key = object()
        self._tells[key] = tell

        def undo() -> None:
            self._tells.pop(key, None)

        return undo

    def tell(self, change: AccountChange) -> None:
        """It happened."""
        if self._tells:
            for tell in list(self._tells.values()):
                tell(change)
