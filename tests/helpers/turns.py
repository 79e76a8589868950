"""Whether others have their turn while something large is done: turns of the loop, counted, not timed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

__all__ = ["Turns", "counted_turns"]


@dataclass
class Turns:
    """`count` is of those since it was last set to 0."""

    count: int = 0


@asynccontextmanager
async def counted_turns() -> AsyncIterator[Turns]:
    """Count the turns of the loop."""
    turns = Turns()

    async def others() -> None:
        while True:
            await asyncio.sleep(0)
            turns.count += 1

    task = asyncio.create_task(others())
    await asyncio.sleep(0)
    try:
        yield turns
    finally:
        task.cancel()
