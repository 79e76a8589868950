"""Observers: each with its own bounded queue and, while there is something in it, its own task."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import structlog

from mailserver.hooks.calling import HookCall, HookFailed

__all__ = ["Observer"]

_log = structlog.get_logger()
QUEUE_LENGTH = 1000


class Observer:
    """Takes events without ever blocking, and gives them to a plugin one by one, in order."""

    __slots__ = ("_call", "_events", "_limit", "_task", "dropped")

    def __init__(self, call: HookCall, limit: int = QUEUE_LENGTH) -> None:
        self._call = call
        self._events: deque[Any] = deque()
        self._limit = limit
        self._task: asyncio.Task[None] | None = None
        #: Events that did not fit.
        self.dropped = 0

    @property
    def plugin(self) -> str:
        """Whose it is."""
        return self._call.options.plugin

    @property
    def call(self) -> HookCall:
        """The function with its counters."""
        return self._call

    def put(self, event: Any) -> None:
        """Queue an event; drop and count it when the queue is full."""
        if len(self._events) >= self._limit:
            self.dropped += 1
            if self.dropped == 1 or self.dropped % 1000 == 0:
                _log.warning("observer is too slow", plugin=self.plugin, dropped=self.dropped)
            return
        self._events.append(event)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while self._events:
                try:
                    await self._call(self._events.popleft())
                except HookFailed:
                    continue  # counted and logged where it happened
        finally:
            self._task = None

    async def close(self, seconds: float) -> None:
        """Let it finish what it has, for at most `seconds`; what is left then is dropped and counted."""
        task = self._task
        if task is None:
            return
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            self.dropped += len(self._events)
            self._events.clear()
            task.cancel()
            await asyncio.wait({task}, timeout=1)
