"""Writing what gathers in memory, a batch at a time, so that nobody waits for the disk: history, counters.

A crash costs what gathered within one pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

__all__ = ["Batches"]

_log = structlog.get_logger()


class Batches:
    """`write` takes all that waits, and deals with what the disk refuses; `waits` tells whether there is anything.

    One `write` runs at a time, `pause` seconds after the first thing of its batch came. `name` is the task's. `missing`
    are the words for the log where something is given up.
    """

    def __init__(
        self, write: Callable[[], Awaitable[None]], waits: Callable[[], bool], *, pause: float, name: str,
        missing: str = "something is not written down",
    ) -> None:  # fmt: skip
        self._write = write
        self._waits = waits
        self._pause = pause
        self._name = name
        self._missing = missing
        #: How much was given up.
        self.lost = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def soon(self) -> None:
        """Something waits now."""
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._begin)

    async def flush(self) -> None:
        """Everything that waits now is written, or given up."""
        # Twice: what is being written, then what waited meanwhile. On a busy server more comes all the time.
        for _ in range(2):
            if self._writing is None and self._waits():
                self._begin()
            if self._writing is not None:
                await asyncio.shield(self._writing)

    def lose(self, number: int, reason: str) -> None:
        """So much is given up: the log hears of the first, and then of each thousand."""
        if not self.lost or self.lost // 1000 != (self.lost + number) // 1000:
            _log.warning(self._missing, reason=reason, lost=self.lost + number)
        self.lost += number

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._writing = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    async def _run(self) -> None:
        try:
            await self._write()
        finally:
            self._writing = None
            if self._waits():
                self.soon()
