"""Writing what gathers in memory, a batch at a time, so that nobody waits for the disk: history, counters.

A crash costs what gathered within one pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["Batches"]


class Batches:
    """`write` takes all that waits, and deals with what the disk refuses; `waits` tells whether there is anything.

    One `write` runs at a time, `pause` seconds after the first thing of its batch came. `name` is the task's.
    """

    def __init__(
        self, write: Callable[[], Awaitable[None]], waits: Callable[[], bool], *, pause: float, name: str
    ) -> None:
        self._write = write
        self._waits = waits
        self._pause = pause
        self._name = name
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
