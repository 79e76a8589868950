"""Observers: each with its own bounded queue and, while it has to wait for something, its own task."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from types import CoroutineType
from typing import Any

import structlog

from mailserver.hooks.calling import HookCall, HookFailed

__all__ = ["Observer"]

_log = structlog.get_logger()
QUEUE_LENGTH = 1000


class Observer:
    """Takes events without ever blocking, and gives them to a plugin one by one, in order."""

    __slots__ = ("_busy", "_call", "_events", "_limit", "_task", "dropped")

    def __init__(self, call: HookCall, limit: int = QUEUE_LENGTH) -> None:
        self._call = call
        self._events: deque[Any] = deque()
        self._limit = limit
        #: Events are being told, or will be in the next turn of the loop.
        self._busy = False
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
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        """In turns of the loop, as long as nothing has to be waited for."""
        while self._events:
            try:
                answer = self._call.begin(self._events.popleft())
            except HookFailed:
                continue  # counted and logged where it happened
            if isinstance(answer, CoroutineType):
                self._task = asyncio.get_running_loop().create_task(self._wait(answer))
                return
        self._busy = False

    async def _wait(self, answer: CoroutineType[Any, Any, Any]) -> None:
        try:
            with contextlib.suppress(HookFailed):
                await answer
        finally:
            self._task = None
            self._drain()

    async def close(self, seconds: float) -> None:
        """Let it finish what it has, for at most `seconds`; what is left then is dropped and counted."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self._busy and (left := end - loop.time()) > 0:
            if self._task is None:
                await asyncio.sleep(0)
            else:
                await asyncio.wait({self._task}, timeout=left)
        if self._busy:
            self.dropped += len(self._events)
            self._events.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=1)
