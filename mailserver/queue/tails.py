"""Records are appended to items: what waits for one item goes in one write and one sync, and many items in parallel.

Files that were just made or written are kept open (some hundred at most), since the next record comes soon. A record
that could not be written is kept here and written in front of the next one, at the same place: so what a failed write
left at the end of a file is always overwritten by the same octets, and no file has a torn record in its middle.

What needs no sync and goes to an open file is written by the loop itself: some sixty octets into the cache of the
system take it five microseconds, a thread that does it for us a hundred.

A sync that failed is never repeated (the kernel reports an error once, and says "fine" the second time); if its records
are asked to be durable again, the disk is given up, and a restart finds out what is on it. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterable, Sequence

from mailserver.model.errors import MailError, NotFound, StorageFailure
from mailserver.model.ids import QueueId
from mailserver.net.faults import Faults
from mailserver.net.workers import Workers
from mailserver.queue.mirror import Entry
from mailserver.queue.spool import Spool, write_at

__all__ = ["Tails"]

_MAX_OPEN = 128
#: A disk that keeps the loop waiting for so long, twice in a second, is written to by threads only for a while.
_SLOW, _SOON, _FOR_A_WHILE = 0.02, 1.0, 10.0
_TOO_MANY_FILES = frozenset({errno.EMFILE, errno.ENFILE})


class _Tail:
    """The end of one file: `unwritten` belongs there and may not be in the file; the records of those who are `waiting`
    are in it. `fd` is used by one job at a time."""

    __slots__ = ("busy", "entry", "fd", "idle", "sync_failed", "unwritten", "waiting")

    def __init__(self, entry: Entry, fd: int | None) -> None:
        self.entry = entry
        self.fd = fd
        self.busy = False
        self.unwritten = b""
        self.waiting: list[tuple[asyncio.Future[None], bool]] = []
        self.sync_failed = False
        self.idle: list[asyncio.Future[None]] = []


class _Job:
    """One write to one file, with all that waits for it."""

    __slots__ = ("data", "durable", "error", "queue_id", "tail", "waiting", "written")

    def __init__(self, queue_id: QueueId, tail: _Tail) -> None:
        self.queue_id = queue_id
        self.tail = tail
        self.data = tail.unwritten
        self.waiting, tail.waiting = tail.waiting, []
        self.durable = any(durable for _, durable in self.waiting)
        self.written = False
        self.error: Exception | None = None

    def work(self, spool: Spool) -> None:
        """In a thread."""
        tail = self.tail
        try:
            if tail.fd is None:
                tail.fd = spool.open(self.queue_id)
            write_at(tail.fd, self.data, tail.entry.end)
            self.written = True
            if self.durable and not tail.sync_failed:
                os.fdatasync(tail.fd)
        except Exception as error:
            self.error = error


class Tails:
    """Appends for all items of one spool."""

    def __init__(self, spool: Spool, syncing: Workers, quick: Workers, faults: Faults) -> None:
        """`syncing` do what ends with a sync, `quick` what does not."""
        self._spool = spool
        self._syncing = syncing
        self._quick = quick
        self._faults = faults
        self._loop = asyncio.get_running_loop()
        self._tails: dict[QueueId, _Tail] = {}
        self._ready: list[tuple[QueueId, _Tail]] = []
        #: Monotonic times: before this one the loop writes nothing itself; when it last had to wait.
        self._threads_until = self._waited_at = 0.0

    def keep(self, queue_id: QueueId, entry: Entry, fd: int) -> None:
        """This item was just made; `fd` belongs to the tails from now on."""
        self._tails[queue_id] = _Tail(entry, fd)
        if len(self._tails) > _MAX_OPEN:
            self._shrink()

    def append(self, queue_id: QueueId, entry: Entry, data: bytes, *, durable: bool) -> asyncio.Future[None]:
        """Write `data` behind what was appended before; `entry.end` moves when it is written.

        The future ends with None, NotFound (there is no such file any more) or StorageFailure.
        """
        tail = self._tails.pop(queue_id, None) or _Tail(entry, None)
        self._tails[queue_id] = tail
        future: asyncio.Future[None] = self._loop.create_future()
        if not (durable or tail.busy or tail.unwritten) and self._write_now(tail, data):
            future.set_result(None)
            return future
        tail.unwritten += data
        tail.waiting.append((future, durable))
        if not tail.busy:
            tail.busy = True
            self._get_ready(queue_id, tail)
        return future

    async def release(self, queue_id: QueueId) -> int | None:
        """The open descriptor of the file, if there is one, belongs to the caller now. Waits for what is under way."""
        while (tail := self._tails.get(queue_id)) is not None and tail.busy:
            idle: asyncio.Future[None] = self._loop.create_future()
            tail.idle.append(idle)
            await idle
        if tail is None:
            return None
        fd, tail.fd = tail.fd, None
        return fd

    def forget(self, queue_id: QueueId) -> None:
        """It has left the queue."""
        self._tails.pop(queue_id, None)

    def relieve(self, error: BaseException) -> None:
        """If this error says that too many files are open, close those that are open for no present need."""
        if isinstance(error, OSError) and error.errno in _TOO_MANY_FILES:
            self._shrink(most=0)

    def close(self) -> None:
        """Nothing is under way any more."""
        _close_all(tail.fd for tail in self._tails.values())
        self._tails.clear()

    def _write_now(self, tail: _Tail, data: bytes) -> bool:
        """False: not, or not whole; a thread writes it at the same place, and finds out what is wrong."""
        begun = time.monotonic()
        if tail.fd is None or begun < self._threads_until:
            return False
        try:
            if os.pwrite(tail.fd, data, tail.entry.end) < len(data):
                return False
        except OSError:
            return False
        tail.entry.end += len(data)
        if time.monotonic() - begun > _SLOW:
            if begun - self._waited_at < _SOON:
                self._threads_until = begun + _FOR_A_WHILE
            self._waited_at = begun
        return True

    def _get_ready(self, queue_id: QueueId, tail: _Tail) -> None:
        if not self._ready:
            # At the end of this turn of the loop: what comes in one turn is done together.
            self._loop.call_soon(self._start)
        self._ready.append((queue_id, tail))

    def _start(self) -> None:
        ready, self._ready = self._ready, []
        quick: list[_Job] = []
        for queue_id, tail in ready:
            job = _Job(queue_id, tail)
            if job.durable:
                self._submit(self._syncing, [job])
            else:
                quick.append(job)
        if quick:
            self._submit(self._quick, quick)

    def _submit(self, workers: Workers, jobs: Sequence[_Job]) -> None:
        def work() -> Callable[[], None]:
            for job in jobs:
                job.work(self._spool)
            return lambda: self._finished(jobs)

        try:
            workers.submit(work)
        except StorageFailure as error:
            for job in jobs:
                job.error = error
            self._finished(jobs)

    def _finished(self, jobs: Iterable[_Job]) -> None:
        for job in jobs:
            self._settle(job)
        if len(self._tails) > _MAX_OPEN:
            self._shrink()

    def _settle(self, job: _Job) -> None:
        tail = job.tail
        if job.written:
            tail.entry.end += len(job.data)
            tail.unwritten = tail.unwritten[len(job.data) :]
        failure = self._failure(job)
        for future, durable in job.waiting:
            if not future.done():
                if failure is None or (job.written and not durable):
                    future.set_result(None)
                else:
                    future.set_exception(failure)
        if tail.waiting:
            self._get_ready(job.queue_id, tail)
            return
        tail.busy = False
        for idle in tail.idle:
            if not idle.done():
                idle.set_result(None)
        tail.idle.clear()
        if self._tails.get(job.queue_id) is not tail:
            # It left the queue meanwhile.
            fd, tail.fd = tail.fd, None
            self._close([fd])

    def _failure(self, job: _Job) -> MailError | None:
        tail, error = job.tail, job.error
        if error is None:
            if not (job.durable and tail.sync_failed):
                return None
            error = OSError(errno.EIO, "an earlier sync of this file failed")
            self._faults.give_up(error)
        elif isinstance(error, OSError):
            if error.errno == errno.ENOENT:
                return NotFound("the message is not in the queue any more")
            self.relieve(error)
            self._faults.note(error)
            tail.sync_failed = tail.sync_failed or job.written
        return self._faults.failure(error)

    def _shrink(self, most: int = _MAX_OPEN) -> None:
        """Forget the files that were not used for longest; never what is not written yet."""
        fds = []
        for queue_id in list(self._tails):
            if len(self._tails) <= most:
                break
            tail = self._tails[queue_id]
            if not tail.busy and not tail.unwritten and not tail.sync_failed:
                fds.append(tail.fd)
                del self._tails[queue_id]
        if fds:
            self._close(fds)

    def _close(self, fds: Sequence[int | None]) -> None:
        try:
            self._quick.submit(lambda: _close_all(fds))
        except StorageFailure:
            _close_all(fds)


def _close_all(fds: Iterable[int | None]) -> Callable[[], None]:
    for fd in fds:
        if fd is not None:
            os.close(fd)
    return _nothing


def _nothing() -> None:
    """There is nobody to tell."""
