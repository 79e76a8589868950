"""The octets of a queued message, as accepted: compared with their checksum before the last of them is handed out.

Readers of one message share what is read. Up to 1 MiB is read at once and the file closed again; what was just taken in
is still at hand and not read at all.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import zlib
from collections.abc import Awaitable, Callable
from types import TracebackType

from mailserver.model.errors import NotFound, StorageFailure
from mailserver.model.ids import QueueId
from mailserver.net.workers import Workers
from mailserver.queue.record import New
from mailserver.queue.spool import Spool

__all__ = ["Contents", "ItemContent"]

_HEAD = 1 << 20
#: What was just taken in is kept for its first attempt: messages up to this size, and so much of all.
_RECENT_EACH, _RECENT_ALL = 256 << 10, 16 << 20
_DAMAGED = "the content is damaged"
_GONE = "the file is not there"


class _Shared:
    """What the readers of one message have in common. `fd` is open if there is more than `head`."""

    def __init__(self, new: New, start: int, loop: asyncio.AbstractEventLoop) -> None:
        self.queue_id = new.queue_id
        self.ready: asyncio.Future[None] = loop.create_future()
        self.readers = 0
        self.size = new.size
        self.head = b""
        self.crc = new.crc
        self.start = start
        self.fd: int | None = None
        #: Why the item is not to be trusted.
        self.damage = ""
        # A reader that was cancelled leaves its read under way: no other file may get its descriptor meanwhile.
        self._lock = threading.Lock()

    def load(self, spool: Spool) -> None:
        """In a thread. Raises OSError, StorageFailure."""
        try:
            fd = spool.open(self.queue_id)
        except FileNotFoundError:
            self.damage = _GONE
            raise NotFound("the message is not in the queue any more", detail=_GONE) from None
        try:
            self.head = self._read(fd, 0, min(self.size, _HEAD))
            if self.size <= _HEAD:
                self.check(zlib.crc32(self.head))
        except BaseException:
            os.close(fd)
            raise
        if self.size <= _HEAD:
            os.close(fd)
        else:
            self.fd = fd

    def read(self, start: int, size: int) -> bytes:
        """In a thread: a range of what is longer than `head`. Raises OSError, StorageFailure."""
        with self._lock:
            if self.fd is None:
                raise OSError(errno.EBADF, "the content is closed")
            return self._read(self.fd, start, max(0, min(size, self.size - start)))

    def close(self) -> None:
        """In a thread."""
        with self._lock:
            fd, self.fd = self.fd, None
            if fd is not None:
                os.close(fd)

    def _read(self, fd: int, start: int, size: int) -> bytes:
        data = os.pread(fd, size, self.start + start)
        while len(data) < size:
            more = os.pread(fd, size - len(data), self.start + start + len(data))
            if not more:
                self.damage = _DAMAGED
                raise StorageFailure("the message in the queue is damaged", detail="octets are missing")
            data += more
        return data

    def check(self, crc: int) -> None:
        """This is the CRC of all of it. Raises StorageFailure."""
        if crc != self.crc:
            self.damage = _DAMAGED
            raise StorageFailure("the message in the queue is damaged", detail="the CRC-32 is another")


class Contents:
    """All that is being read, and what was just taken in. Lives on the event loop."""

    def __init__(
        self, spool: Spool, workers: Workers, damaged: Callable[[QueueId, str], Awaitable[None]],
        failed: Callable[[OSError], None],
    ) -> None:  # fmt: skip
        """`damaged` is awaited when an item is not what was accepted, `failed` is told what the disk refused."""
        self._spool = spool
        self._workers = workers
        self._damaged = damaged
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._shared: dict[QueueId, _Shared] = {}
        self._recent: dict[QueueId, bytes] = {}
        self._recent_size = 0

    def keep(self, queue_id: QueueId, content: bytes) -> None:
        """It was just taken in."""
        if len(content) > _RECENT_EACH:
            return
        self._recent[queue_id] = content
        self._recent_size += len(content)
        while self._recent_size > _RECENT_ALL:
            self._recent_size -= len(self._recent.pop(next(iter(self._recent))))

    def forget(self, queue_id: QueueId) -> None:
        """It has left the queue. Who reads it may go on."""
        self._recent_size -= len(self._recent.pop(queue_id, b""))

    async def acquire(self, new: New, start: int) -> _Shared:
        """Raises NotFound, StorageFailure."""
        shared = self._shared.get(new.queue_id)
        if shared is None:
            shared = _Shared(new, start, self._loop)
            self._load(shared)
            self._shared[new.queue_id] = shared
        shared.readers += 1
        try:
            if not shared.ready.done() or shared.ready.exception() is not None:
                await asyncio.shield(shared.ready)
        except OSError as error:
            await self.release(shared)
            raise StorageFailure("the message in the queue cannot be read", detail=str(error)) from error
        except BaseException:
            await self.release(shared)
            raise
        return shared

    async def release(self, shared: _Shared) -> None:
        """One reader less; the last one closes the file, and sees to damage."""
        shared.readers -= 1
        if shared.readers:
            return
        if self._shared.get(shared.queue_id) is shared:
            del self._shared[shared.queue_id]
        if shared.ready.done():
            self._close(shared)
        if shared.damage:
            await self._damaged(shared.queue_id, shared.damage)

    async def read(self, shared: _Shared, start: int, size: int) -> bytes:
        """What is not in its head. Raises StorageFailure."""
        try:
            return await self._workers.run(shared.read, start, size)
        except OSError as error:
            self._failed(error)
            raise StorageFailure("the message in the queue cannot be read", detail=str(error)) from error

    def _load(self, shared: _Shared) -> None:
        recent = self._recent.get(shared.queue_id)
        if recent is not None:
            shared.head = recent
            shared.ready.set_result(None)
            return

        def work() -> Callable[[], None]:
            try:
                shared.load(self._spool)
            except Exception as error:
                failure: Exception | None = error
            else:
                failure = None
            return lambda: self._loaded(shared, failure)

        self._workers.submit(work)

    def _loaded(self, shared: _Shared, failure: Exception | None) -> None:
        if failure is None:
            shared.ready.set_result(None)
        else:
            if isinstance(failure, OSError):
                self._failed(failure)
            shared.ready.set_exception(failure)
            shared.ready.exception()
        if not shared.readers:
            self._close(shared)

    def _close(self, shared: _Shared) -> None:
        def work() -> Callable[[], None]:
            shared.close()
            return _nothing

        if shared.fd is not None:
            try:
                self._workers.submit(work)
            except StorageFailure:
                shared.close()


class ItemContent:
    """`ports.store.ReadableContent`, between entering and leaving. `start` is where it begins in the file."""

    def __init__(self, contents: Contents, new: New, start: int) -> None:
        self._contents = contents
        self._new = new
        self._start = start
        self._crc = 0
        self._seen = 0

    async def __aenter__(self) -> ItemContent:
        self._shared = await self._contents.acquire(self._new, self._start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._contents.release(self._shared)

    @property
    def size(self) -> int:
        """Octets in all."""
        return self._shared.size

    def head(self) -> bytes:
        """The first octets, at most 1 MiB."""
        return self._shared.head

    async def read(self, start: int, size: int) -> bytes:
        """A range. Read in order, it is compared with the checksum before the last range is given out.

        Raises StorageFailure.
        """
        shared = self._shared
        if start + size <= len(shared.head) or shared.size == len(shared.head):
            data = shared.head[start : start + size]
        else:
            data = await self._contents.read(shared, start, size)
        if shared.fd is not None and start == self._seen:
            self._crc = zlib.crc32(data, self._crc)
            self._seen += len(data)
            if data and self._seen == shared.size:
                shared.check(self._crc)
        return data


def _nothing() -> None:
    """There is nobody to tell."""
