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
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from mailserver.model.errors import LimitReached, MailError, StorageFailure
from mailserver.model.ids import AccountId
from mailserver.net import files
from mailserver.ports.clock import Clock
from mailserver.storage.maildir.content import MaildirContent
from mailserver.storage.maildir.faults import Faults
from mailserver.storage.maildir.folder import Arrival, Folder
from mailserver.storage.maildir.names import NameMaker
from mailserver.storage.maildir.workers import Workers

__all__ = ["Committer", "Job", "Place"]

_log = structlog.get_logger()
_MAX_BATCH = 256
_MAX_WAITING = 1_024
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_CHUNK = 1 << 30


class Owner(Protocol):
    """The account of a place."""

    @property
    def account(self) -> AccountId:
        """Its name."""
        ...

    def unreserve(self, octets: int) -> None:
        """The message did not come after all."""
        ...


class Place:
    """Where one message goes: `info` None is new/, else cur/ with that suffix. Afterwards: `arrival` or `error`.

    It must be committed or given up.
    """

    __slots__ = ("account", "arrival", "error", "flags", "folder", "further", "info", "path", "uid")

    def __init__(
        self,
        account: Owner,
        folder: Folder,
        flags: frozenset[str] = frozenset(),
        info: str | None = None,
        further: frozenset[str] = frozenset(),
    ) -> None:
        # From now on the folder keeps its path until the place is settled.
        folder.jobs += 1
        self.account = account
        self.folder = folder
        self.flags = flags
        self.info = info
        #: Keywords for which the name has no letter.
        self.further = further
        self.uid = 0
        self.path = ""
        self.arrival: Arrival | None = None
        self.error: MailError | None = None

    def give_up(self, octets: int) -> None:
        """It will not be committed; `octets` were reserved."""
        self.account.unreserve(octets)
        self.folder.job_done()

    def take_back(self, error: MailError) -> None:
        """It failed after the file got its name; nobody was told of it. In a thread."""
        files.remove_file(self.path)
        self.arrival, self.error = None, error


class Job:
    """One message for one or more places, with one date; `done` is called on the loop, with every place settled."""

    __slots__ = (
        "buffers", "date", "done", "fd", "filed", "has_header", "places", "saved", "size", "stem", "temporary", "wire",
        "writer",
    )  # fmt: skip

    def __init__(
        self,
        content: MaildirContent,
        header: bytes,
        places: list[Place],
        date: int | None,
        done: Callable[[Job], None],
    ) -> None:
        # The content may be closed while a thread still writes (its task was cancelled): these are the job's own.
        self.buffers = [header, *content.parts] if header else list(content.parts)
        self.fd = None if content.fd is None else os.dup(content.fd)
        self.filed = content.filed
        self.size = content.size + len(header)
        self.wire = self.size + content.bare
        self.places = places
        self.date = date
        self.done = done
        self.stem = ""
        self.temporary = ""
        self.writer: Place | None = None
        self.saved = 0
        self.has_header = bool(header)

    # -- in a thread -------------------------------------------------------------------------------------------------

    def write(self, name: NameMaker, now: float, faults: Faults) -> None:
        """The file, durable, in tmp/ of the first place that takes it."""
        self.saved = int(now)
        self.stem = name.stem(now, self.size, self.wire)
        for place in self.places:
            self.temporary = f"{place.folder.tmp}/{self.stem}"
            try:
                self._write_file()
            except OSError as error:
                faults.note(error)
                place.error = faults.failure(error)
                files.remove_file(self.temporary)
                self.temporary = ""
            else:
                self.writer = place
                return

    def _write_file(self) -> None:
        fd = os.open(self.temporary, _NEW, 0o600)
        try:
            if self.fd is None:
                files.write_all(fd, self.buffers)
            else:
                self._assemble(fd, self.fd)
            date = self.date
            if date is None:
                # The kernel's clock may stand a tick before ours: what the file says is what a rebuild would find.
                self.date = int(os.fstat(fd).st_mtime)
            else:
                os.utime(fd, (date, date))
            os.fsync(fd)
        finally:
            os.close(fd)

    def _assemble(self, fd: int, source: int) -> None:
        """A message above 1 MiB: our header, what is in its file, what is not yet there."""
        after_header = int(self.has_header)
        files.write_all(fd, self.buffers[:after_header])
        position = 0
        while position < self.filed:
            position += _copy_range(source, fd, self.filed - position, position)
        files.write_all(fd, self.buffers[after_header:])

    def place(self, directories: dict[str, list[Place]], faults: Faults) -> None:
        """Give UIDs, link the file for the other places, then rename it to that of its writer."""
        writer = self.writer
        if writer is None:
            return
        for place in self.places:
            if place is not writer and place.error is None:
                self._place(place, files.link_or_copy, directories, faults)
        self._place(writer, os.rename, directories, faults)
        if writer.error is not None:
            files.remove_file(self.temporary)

    def _place(
        self, place: Place, put: Callable[[str, str], None], directories: dict[str, list[Place]], faults: Faults
    ) -> None:
        folder, info = place.folder, place.info
        directory = folder.new if info is None else folder.cur
        try:
            place.uid = uid = folder.take_uids()
            base = f"{self.stem},U={uid}{folder.uid_field}"
            place.path = f"{directory}/{base}" if info is None else f"{directory}/{base}{info}"
            if place.further:
                folder.keywords.journal({base: place.further})
            put(self.temporary, place.path)
        except (OSError, LimitReached) as error:
            place.error = faults.failure(error)
            return
        place.arrival = Arrival(
            uid, base, info is None, info or "", self.size, self.wire, self.date or 0, self.saved, place.flags
        )
        waiting = directories.get(directory)
        if waiting is None:
            directories[directory] = [place]
        else:
            waiting.append(place)

    # -- on the loop -------------------------------------------------------------------------------------------------

    def discard(self) -> None:
        """It will not be committed."""
        self.buffers.clear()
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def finish(self) -> None:
        """Resolve the UIDs, and tell who waits."""
        for place in self.places:
            folder = place.folder
            if place.uid:
                folder.resolve(place.uid, place.arrival)
            folder.job_done()
        self.discard()
        self.done(self)


def _copy_range(source: int, target: int, count: int, offset: int) -> int:
    try:
        copied = os.copy_file_range(source, target, min(count, _COPY_CHUNK), offset)
    except OSError:
        copied = 0
    if not copied:
        data = os.pread(source, min(count, 1 << 20), offset)
        files.write_all(target, (data,))
        copied = len(data)
    if not copied:
        raise OSError("the message could not be read back")
    return copied


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
        self._busy += 1
        self._workers.submit(functools.partial(self._work_all, jobs))

    def _start(self) -> None:
        self._gathering = False
        waiting = self._waiting
        while waiting and self._busy < self._threads:
            count = min(len(waiting), max(1, min(_MAX_BATCH, len(waiting) // 2)))
            batch = [waiting.popleft() for _ in range(count)]
            self._busy += 1
            self._workers.submit(functools.partial(self._work, batch))

    def _work(self, batch: Sequence[Job]) -> Callable[[], None]:
        self._guarded(batch)
        return lambda: self._finished(batch)

    def _guarded(self, batch: Sequence[Job]) -> None:
        try:
            self._commit(batch)
        except Exception as error:
            # A fault of ours: nothing of this batch is acknowledged, and the threads go on.
            _log.exception("storage.commit_failed")
            for place in (place for job in batch for place in job.places):
                place.arrival, place.error = None, self._faults.failure(error)

    def _commit(self, batch: Sequence[Job]) -> None:
        directories: dict[str, list[Place]] = {}
        for job in batch:
            job.write(self._names, self._clock.time(), self._faults)
        for job in batch:
            job.place(directories, self._faults)
        for directory, places in directories.items():
            try:
                files.fsync_dir(directory)
            except OSError as error:
                self._faults.note(error)
                for place in places:
                    place.take_back(self._faults.failure(error))

    def _work_all(self, jobs: Sequence[Job]) -> Callable[[], None]:
        places = [job.places[0] for job in jobs]
        self._guarded(jobs)
        error = next((place.error for place in places if place.error is not None), None)
        if error is not None:
            for place in places:
                if place.arrival is not None:
                    place.take_back(error)
        return lambda: self._finished(jobs)

    def _finished(self, batch: Sequence[Job]) -> None:
        self._busy -= 1
        for job in batch:
            job.finish()
        if self._waiting:
            self._start()
        elif not self._busy and self._drained is not None:
            self._drained.set()
