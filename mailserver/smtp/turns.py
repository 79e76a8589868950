"""Long work in steps: others have their turn in between."""

from __future__ import annotations

import asyncio

__all__ = ["AT_ONCE", "Turns"]

#: Recipients elsewhere that are looked at in one turn of the loop.
AT_ONCE = 1000


class Turns:
    """Counts what was done since the last pause."""

    __slots__ = ("_done",)

    def __init__(self) -> None:
        self._done = 0

    async def spend(self, work: int) -> None:
        """So much was done; pause when it was enough."""
        self._done += work
        if self._done >= AT_ONCE:
            self._done = 0
            await asyncio.sleep(0)
