"""Items become durable, or go, in batches.

Threads write and sync the files of new items, many at once; one removes what is finished; and one syncs the directory
for all that came while it was busy with the batch before. New items wait for no timer, and for no removal. Removals,
once done, wait a moment for a new item whose sync makes them durable too, so that where mail comes and goes a message
costs one sync of the directory and not two.

A sync of the directory that failed is never repeated: the kernel reports an error once, and a second sync would say
"fine" without making it so. Nobody knows then which names are on the disk, so nothing more is taken until the queue is
opened again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

import structlog

__all__ = ["Committer", "Task"]

_log = structlog.get_logger()
_MAX_BATCH = 256
#: Seconds for which removals wait for company.
_PATIENCE = 0.1


class Task:
    """A change of items/. `done` is called on the loop when it is durable, or has failed."""

    #: Nobody is in a hurry for it.
    patient = False

    def write(self) -> None:
        """In a thread, at once, so that a process which is killed now leaves it done. Raises Exception; then there is
        nothing to undo."""

    def undo(self) -> None:
        """In the thread that syncs: the directory could not be synced. Raises OSError."""

    def done(self, error: Exception | None) -> None:
        """On the loop."""


Results = list[tuple[Task, Exception | None]]


class Committer:
    """`sync` raises OSError; `failed` is called with that, once, in a thread."""

    def __init__(self, threads: int, sync: Callable[[], None], failed: Callable[[OSError], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = threads
        self._sync = sync
        self._failed = failed
        self._failure: OSError | None = None
        self._unfinished = 0
        self._drained: asyncio.Event | None = None
        self._writing: SimpleQueue[Task | None] = SimpleQueue()
        self._removing: SimpleQueue[Task | None] = SimpleQueue()
        self._syncing: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._start(self._sync_all)
        # Not among the writers: no new item waits for a removal.
        self._start(lambda: self._write_all(self._removing))

    @property
    def failure(self) -> OSError | None:
        """Why nothing can become durable any more."""
        return self._failure

    def write(self, task: Task) -> None:
        """A new item: `write` in one of many threads, sync, `done`."""
        self._unfinished += 1
        if self._unfinished >= self._writers < self._limit:
            self._start(lambda: self._write_all(self._writing))
        self._writing.put(task)

    def remove(self, task: Task) -> None:
        """One that goes: `write` in a thread of its own, sync, `done`."""
        self._unfinished += 1
        self._removing.put(task)

    async def close(self) -> None:
        """When all tasks are done, the threads end."""
        self._drained = asyncio.Event()
        if self._unfinished:
            await self._drained.wait()
        self._syncing.put(None)
        self._removing.put(None)
        for _ in range(self._writers):
            self._writing.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    @property
    def _writers(self) -> int:
        return max(0, len(self._threads) - 2)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=f"queue-commit-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _write_all(self, tasks: SimpleQueue[Task | None]) -> None:
        while (task := tasks.get()) is not None:
            try:
                task.write()
            except Exception as error:
                failed: Results = [(task, error)]
                self._loop.call_soon_threadsafe(self._report, failed)
            else:
                self._syncing.put(task)

    def _sync_all(self) -> None:
        while (first := self._syncing.get()) is not None:
            batch, hurry = [first], not first.patient
            latest = time.monotonic() + _PATIENCE
            while len(batch) < _MAX_BATCH:
                wait = 0.0 if hurry or self._drained is not None else latest - time.monotonic()
                try:
                    task = self._syncing.get(timeout=wait) if wait > 0 else self._syncing.get_nowait()
                except Empty:
                    break
                # None comes when nothing is under way, so never behind a task.
                if task is not None:
                    batch.append(task)
                    hurry = hurry or not task.patient
            # Whoever waits for an answer goes on before those who only tidy up.
            batch.sort(key=_patience)
            self._loop.call_soon_threadsafe(self._report, self._commit(batch))

    def _commit(self, batch: list[Task]) -> Results:
        if self._failure is None:
            try:
                self._sync()
            except OSError as error:
                self._failure = error
                self._failed(error)
        if self._failure is not None:
            for task in batch:
                # What cannot be undone was not acknowledged either: at worst it is delivered twice, never lost.
                with contextlib.suppress(OSError):
                    task.undo()
        return [(task, self._failure) for task in batch]

    def _report(self, results: Results) -> None:
        for task, error in results:
            self._unfinished -= 1
            try:
                task.done(error)
            except Exception:
                # A fault of ours in one result must not keep the others from those who wait for them.
                _log.exception("queue.result_failed")
        if not self._unfinished and self._drained is not None:
            self._drained.set()


def _patience(task: Task) -> bool:
    return task.patient
