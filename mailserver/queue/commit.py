"""Items become durable, or go, in batches.

Threads write and sync the files of new items, many at once. Whoever has done so then syncs the directory, for all that
were written before, unless another thread is at it, which does it once more for those that came meanwhile. So a new
item waits for no timer, for no removal, and for no second thread.

One thread removes what is finished, at once: while the next file is synced that takes 0.15 ms, but 1.2 ms when the sync
is over, since the file system has to wait for itself then. Once done, removals wait a moment for a new item whose sync
makes them durable too, so that where mail comes and goes a message costs one sync of the directory and not two.

A sync of the directory that failed is never repeated: the kernel reports an error once, and a second sync would say
"fine" without making it so. Nobody knows then which names are on the disk, so nothing more is taken until the queue is
opened again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue

import structlog

__all__ = ["Committer", "Task"]

_log = structlog.get_logger()
_MAX_BATCH = 256
#: Seconds for which removals wait for company; twice that at most.
_PATIENCE = 0.1


class Task:
    """A change of items/. `done` is called on the loop when it is durable, or has failed."""

    def write(self) -> None:
        """In a thread, at once, so that a process which is killed now leaves it done. Raises Exception; then there is
        nothing to undo."""

    def undo(self) -> None:
        """In the thread that syncs: the directory could not be synced. Raises OSError."""

    def done(self, error: Exception | None) -> None:
        """On the loop."""


Results = list[tuple[Task, Exception | None]]


class _LookRound(Task):
    """The thread that removes is to look whether something has waited for company long enough."""


_LOOK_ROUND = _LookRound()


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
        self._timer: asyncio.TimerHandle | None = None
        self._threads: list[threading.Thread] = []
        self._writing: SimpleQueue[Task | None] = SimpleQueue()
        self._removing: SimpleQueue[Task | None] = SimpleQueue()
        #: For what follows, which the threads share.
        self._lock = threading.Lock()
        #: Done, and not durable: new items, and removals.
        self._written: list[Task] = []
        self._removed: list[Task] = []
        self._in_sync = self._hurry = False
        self._syncs = 0
        # Not among the writers: no new item waits for a removal.
        self._start(self._removing)

    @property
    def failure(self) -> OSError | None:
        """Why nothing can become durable any more."""
        return self._failure

    def write(self, task: Task) -> None:
        """A new item: `write` in one of many threads, sync, `done`."""
        self._unfinished += 1
        if self._unfinished >= len(self._threads) - 1 < self._limit:
            self._start(self._writing)
        self._writing.put(task)

    def remove(self, task: Task) -> None:
        """One that goes: `write` in a thread of its own, sync, `done`."""
        self._unfinished += 1
        if self._timer is None and _PATIENCE:
            self._timer = self._loop.call_later(_PATIENCE, self._look_after, self._syncs)
        self._removing.put(task)

    async def close(self) -> None:
        """When all tasks are done, the threads end."""
        self._drained = asyncio.Event()
        if self._unfinished:
            self._sync_soon()
            await self._drained.wait()
        if self._timer is not None:
            self._timer.cancel()
        self._removing.put(None)
        for _ in self._threads[1:]:
            self._writing.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    # On the loop

    def _start(self, tasks: SimpleQueue[Task | None]) -> None:
        name = f"queue-commit-{len(self._threads)}"
        thread = threading.Thread(target=self._run, args=(tasks,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _look_after(self, syncs: int) -> None:
        """Of removals that no new item's sync made durable."""
        self._timer = None
        if not self._unfinished:
            return
        if self._removed and self._syncs == syncs:
            self._sync_soon()
        self._timer = self._loop.call_later(_PATIENCE, self._look_after, self._syncs)

    def _sync_soon(self) -> None:
        self._hurry = True
        self._removing.put(_LOOK_ROUND)

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

    # In the threads

    def _run(self, tasks: SimpleQueue[Task | None]) -> None:
        finished = self._removed if tasks is self._removing else self._written
        while (task := tasks.get()) is not None:
            if task is not _LOOK_ROUND and self._did(task):
                with self._lock:
                    finished.append(task)
            del task
            self._sync_all()

    def _did(self, task: Task) -> bool:
        try:
            task.write()
        except Exception as error:
            failed: Results = [(task, error)]
            self._loop.call_soon_threadsafe(self._report, failed)
            return False
        return True

    def _sync_all(self) -> None:
        """Until nothing waits for it, or another thread does it."""
        while True:
            with self._lock:
                enough = not _PATIENCE or self._hurry or self._drained is not None or len(self._removed) >= _MAX_BATCH
                if self._in_sync or not (self._written or (enough and self._removed)):
                    return
                self._in_sync = True
                self._hurry = False
                # Whoever waits for an answer goes on before those who only tidy up.
                batch = self._written[:_MAX_BATCH] + self._removed
                del self._written[:_MAX_BATCH]
                self._removed.clear()
            results = self._commit(batch)
            with self._lock:
                self._in_sync = False
                self._syncs += 1
            self._loop.call_soon_threadsafe(self._report, results)

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
