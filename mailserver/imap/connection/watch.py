"""One coarse timer for all connections: ten thousand idle sessions hold one timer handle, not ten thousand."""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["INTERVAL", "Watch", "Watched"]

#: Seconds between two looks; every time-out of IMAP may come this much late.
INTERVAL = 5.0


class Watched(Protocol):
    """A connection, as the timer sees it."""

    def check(self, now: float) -> None:
        """End yourself if a time of yours is over. `now` is the loop's time."""
        ...


class Watch:
    """Looks at every connection now and then, while there are any."""

    def __init__(self) -> None:
        self._watched: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, watched: Watched) -> None:
        """Look at this one from now on."""
        self._watched.add(watched)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._look)

    def discard(self, watched: Watched) -> None:
        """No more."""
        self._watched.discard(watched)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for watched in list(self._watched):
            watched.check(now)
        self._timer = loop.call_later(INTERVAL, self._look) if self._watched else None
