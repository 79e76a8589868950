"""Group commit: messages become durable in batches, and only then is anyone told (DESIGN §4, ATTACKS §4.3).

A batch is one hop to a thread: write and fsync each file in tmp/, give it its UID and rename it to its place, link it
for further recipients, then fsync each directory once. While batches are on disk the next ones gather; nothing waits
for a timer.

    killed after          found                              meaning
    write, fsync          a file in tmp/                     not acknowledged; removed at the next start
    rename, link          maybe a file in new/ or cur/       not acknowledged; shown, as if the 250 had been lost
    directory fsync       the file, whatever happens         perhaps acknowledged
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from mailserver.model.errors import StorageFailure
from mailserver.net import files
from mailserver.net.faults import Faults
from mailserver.net.workers import Workers
from mailserver.ports.clock import Clock
from mailserver.storage.maildir.job import Job, Place
from mailserver.storage.maildir.names import NameMaker

__all__ = ["Committer"]

_log = structlog.get_logger()
_MAX_BATCH = 256
_MAX_WAITING = 1_024


class Committer:
    """Takes jobs from the loop and gives batches of them to its threads."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        workers: Workers,
        threads: int,
        names: NameMaker,
        clock: Clock,
        faults: Faults,
    ) -> None:
        self._loop = loop
        self._workers = workers
        self._threads = threads
        self._names = names
        self._clock = clock
        self._faults = faults
        self._waiting: deque[Job] = deque()
        self._busy = 0
        self._gathering = False
        self._drained: asyncio.Event | None = None

    def check(self) -> None:
        """Raises StorageFailure: no more can be taken now."""
        if self._drained is not None:
            raise StorageFailure("the server is stopping, try again later")
        if len(self._waiting) >= _MAX_WAITING:
            raise StorageFailure("the disk is busy, try again later")
        self._faults.check()

    async def drain(self) -> None:
        """Take nothing more, and wait until everything is committed."""
        self._drained = asyncio.Event()
        if self._busy or self._waiting:
            await self._drained.wait()

    def submit(self, job: Job) -> None:
        """Commit this job; its `done` will be called."""
        self._waiting.append(job)
        if not self._gathering and self._busy < self._threads:
            # At the end of this turn of the loop: what arrives in one turn becomes one batch.
            self._gathering = True
            self._loop.call_soon(self._start)

    def submit_all(self, jobs: Sequence[Job]) -> None:
        """Commit these jobs of one place each, all or none; `done` is called for each, in order."""
        unwritten = deque(jobs)
        writers = min(self._threads, len(jobs))

        def written() -> None:
            nonlocal writers
            writers -= 1
            if writers:
                self._freed()
            else:
                self._workers.submit(functools.partial(self._place_all, jobs))

        def write() -> Callable[[], None]:
            self._write_some(unwritten)
            return written

        for _ in range(writers):
            self._busy += 1
            self._workers.submit(write)

    def _start(self) -> None:
        self._gathering = False
        waiting = self._waiting
        while waiting and self._busy < self._threads:
            count = min(len(waiting), max(1, min(_MAX_BATCH, len(waiting) // 2)))
            batch = [waiting.popleft() for _ in range(count)]
            self._busy += 1
            self._workers.submit(functools.partial(self._work, batch))

    def _work(self, batch: Sequence[Job]) -> Callable[[], None]:
        self._guarded(batch, functools.partial(self._write_and_place, batch))
        return lambda: self._finished(batch)

    def _guarded(self, batch: Sequence[Job], work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            # A fault of ours: nothing of this batch is acknowledged, and the threads go on.
            _log.exception("storage.commit_failed")
            for job in batch:
                job.take_back(self._faults.failure(error))

    def _write_and_place(self, batch: Sequence[Job]) -> None:
        for job in batch:
            job.write(self._names, self._clock.time(), self._faults)
        self._place(batch)

    def _place(self, batch: Sequence[Job]) -> None:
        directories: dict[str, list[Place]] = {}
        for job in batch:
            job.place(directories, self._faults)
        for directory, places in directories.items():
            try:
                files.fsync_dir(directory)
            except OSError as error:
                self._faults.note(error)
                for place in places:
                    place.take_back(self._faults.failure(error))

    def _write_some(self, unwritten: deque[Job]) -> None:
        """Write jobs until none is left, or one failed; several threads do it at once."""
        while True:
            try:
                job = unwritten.popleft()
            except IndexError:
                return
            self._guarded([job], functools.partial(job.write, self._names, self._clock.time(), self._faults))
            if job.places[0].error is not None:
                unwritten.clear()

    def _place_all(self, jobs: Sequence[Job]) -> Callable[[], None]:
        places = [job.places[0] for job in jobs]
        if all(job.writer for job in jobs):
            self._guarded(jobs, functools.partial(self._place, jobs))
        error = next((place.error for place in places if place.error is not None), None)
        if error is not None:
            for job in jobs:
                job.take_back(error)
        return lambda: self._finished(jobs)

    def _finished(self, batch: Sequence[Job]) -> None:
        for job in batch:
            job.finish()
        self._freed()

    def _freed(self) -> None:
        """A thread has nothing to do."""
        self._busy -= 1
        if self._waiting:
            self._start()
        elif not self._busy and self._drained is not None:
            self._drained.set()
