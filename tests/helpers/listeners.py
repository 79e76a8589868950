"""Listeners of a service under test, each ready before the next begins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mailserver.net.listener import Listener

__all__ = ["RunningListeners"]


class RunningListeners:
    """`stopping` tells them to stop; `stop` does that, and cuts off who is connected."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.stopping = asyncio.Event()
        self._listeners = listeners
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """All of them. Raises what one that cannot listen raises."""
        for listener in self._listeners:
            ready = asyncio.Event()
            running = asyncio.create_task(listener.run(ready.set, self.stopping))
            self._tasks.append(running)
            waits = asyncio.create_task(ready.wait())
            done, _ = await asyncio.wait({running, waits}, return_when=asyncio.FIRST_COMPLETED)
            if running in done:
                await running

    async def stop(self) -> None:
        """Until nothing runs."""
        self.stopping.set()
        for listener in self._listeners:
            for connection in listener.connections:
                connection.abort()
        await asyncio.gather(*self._tasks)
