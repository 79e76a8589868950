"""A bounded pool of threads for blocking work, whole operations per hop.

Leaner than `concurrent.futures`: work goes in through a `SimpleQueue`, and results come back in bunches through one
wake-up of the loop, however many threads finished meanwhile. The store and the queue run on this a thousand times a
second.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

import structlog

from mailserver.model.errors import StorageFailure

__all__ = ["Workers"]

_T = TypeVar("_T")
_log = structlog.get_logger()
_MAX_WAITING = 20_000


class Workers:
    """`threads` threads named `name`, started when first needed. `close` waits for what was begun."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str, threads: int) -> None:
        self._loop = loop
        self._name = name
        self._limit = threads
        self._threads: list[threading.Thread] = []
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._done: deque[Callable[[], None]] = deque()
        self._waking = threading.Lock()
        self._awake = False
        self._unfinished = 0
        self._closed = False
        self._idle: asyncio.Future[None] | None = None

    def submit(self, work: Callable[[], Callable[[], None]]) -> None:
        """Run `work` in a thread; what it returns is then called on the loop. `work` must not raise.

        Raises StorageFailure: too much is waiting already, or the pool is closed.
        """
        if self._closed or self._unfinished >= _MAX_WAITING:
            raise StorageFailure("the disk is busy, try again later")
        self._unfinished += 1
        if self._unfinished > len(self._threads) < self._limit:
            thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.put(lambda: self._finished(work()))

    async def run(self, work: Callable[..., _T], *args: Any) -> _T:
        """The result of `work(*args)`. A cancelled caller does not stop it."""
        future: asyncio.Future[_T] = self._loop.create_future()

        def guarded() -> Callable[[], None]:
            try:
                result = work(*args)
            except BaseException as error:
                failure = error
                return lambda: None if future.done() else future.set_exception(failure)
            return lambda: None if future.done() else future.set_result(result)

        self.submit(guarded)
        return await future

    @property
    def busy(self) -> bool:
        """Is anything waiting or being done?"""
        return self._unfinished > 0

    async def drain(self) -> None:
        """Until nothing is waiting or being done."""
        while self._unfinished:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await asyncio.shield(self._idle)

    def close(self) -> None:
        """Let the threads end after the work that waits; blocks until they have."""
        self._closed = True
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            # Its result must not be kept until the next piece of work comes.
            del work

    def _finished(self, callback: Callable[[], None]) -> None:
        self._done.append(callback)
        with self._waking:
            if self._awake:
                return
            self._awake = True
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        with self._waking:
            self._awake = False
        while self._done:
            callback = self._done.popleft()
            self._unfinished -= 1
            try:
                callback()
            except Exception:
                # A fault of ours in one result must not keep the others from those who wait for them.
                _log.exception("workers.result_failed", pool=self._name)
        if not self._unfinished and self._idle is not None:
            self._idle.set_result(None)
            self._idle = None
