"""The queue on disk, as the rest of the server sees it: `ports.queue.MailQueue`, and more for the queue's own runner.

What waits is mirrored in memory, so that looking at it costs no I/O. An item is in the mirror if and only if it is
durable. All file work is done in bounded threads of the queue: new items and those that are finished by `commit.py`,
records by `tails.py`, content by `content.py`; the start is in `recovery.py`. This file puts them together.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import structlog

from mailserver.model.envelope import Envelope
from mailserver.model.errors import AlreadyExists, LimitReached, MailError, StorageFailure
from mailserver.model.ids import AccountId, QueueId
from mailserver.net.faults import Faults
from mailserver.net.workers import Workers
from mailserver.ports.clock import Clock
from mailserver.ports.queue import QueuedMessage
from mailserver.ports.store import ReadableContent
from mailserver.queue.changes import Injection, Removal
from mailserver.queue.codec import encode
from mailserver.queue.commit import Committer
from mailserver.queue.content import Contents, ItemContent
from mailserver.queue.incoming import Incoming, Published, write_whole
from mailserver.queue.mirror import Entry, Mirror, decoded, listed
from mailserver.queue.reading import SetAside, Unreadable, check_all, clean, names
from mailserver.queue.record import New, Record
from mailserver.queue.recovery import Recovery
from mailserver.queue.settings import QueueSettings
from mailserver.queue.spool import Spool
from mailserver.queue.state import Item, beginning
from mailserver.queue.tails import Tails

__all__ = ["DiskQueue"]

_T = TypeVar("_T")
_log = structlog.get_logger()
#: Measured on ext4: twice the messages a second of four, since their syncs share commits of the file system.
_THREADS = 8
#: For what ends without a sync.
_QUICK_THREADS = 4
#: Injections that may wait for a thread. Above it a sender is asked to come again.
_MAX_IN_FLIGHT = 1024
_CHUNK = 1 << 20


class DiskQueue:
    """The durable queue below `path`. An async context manager: entering takes the lock; what is on the disk then comes
    in the background (`recovered`).

    Entering raises StorageFailure: the disk refuses, or another process has this queue.
    """

    def __init__(self, path: Path, settings: QueueSettings, clock: Clock, faults: Faults | None = None) -> None:
        """`faults` counts the errors of the disk, together with whatever else is on it."""
        self._path = path
        self._settings = settings
        self._clock = clock
        self._faults = faults or Faults(clock)
        self._mirror = Mirror()
        self._reserved: set[QueueId] = set()
        self._closing = True
        #: What could not be trusted and was moved to queue/aside/: for the operator, who must look.
        self.set_aside: tuple[SetAside, ...] = ()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._mirror.clear()
        self.set_aside = ()
        self._syncing = Workers(loop, "queue", _THREADS)
        self._quick = Workers(loop, "queue-quick", _QUICK_THREADS)
        try:
            found = await self._run(self._open)
        except BaseException:
            self._syncing.close()
            self._quick.close()
            raise
        self._committer = Committer(_THREADS, self._spool.sync, self._faults.give_up)
        self._tails = Tails(self._spool, self._syncing, self._quick, self._faults)
        self._contents = Contents(self._spool, self._quick, self._damaged, self._tails.relieve)
        self._recovery = Recovery(self._spool, self._quick, self._mirror, found, self._put_aside)
        self._recovering = loop.create_task(self._recovery.run(), name="queue-recovery")
        self._closing = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What a thread has begun runs to its end, also if the one who asked for it was cancelled.
        self._closing = True
        self._recovering.cancel()
        await asyncio.gather(self._recovering, return_exceptions=True)
        await self._quick.drain()
        await self._syncing.drain()
        await self._committer.close()
        await self._quick.drain()
        self._syncing.close()
        self._quick.close()
        self._tails.close()
        self._spool.close()

    def __contains__(self, queue_id: QueueId) -> bool:
        return queue_id in self._mirror

    def __len__(self) -> int:
        return len(self._mirror) + len(self._recovery.unread)

    @property
    def given_up(self) -> bool:
        """Is the disk given up? Then the process must end: nothing is made durable any more."""
        return self._faults.broken

    async def recovered(self) -> None:
        """Until all that was on the disk at the start, and can be read, is known."""
        await self._recovery.finished.wait()

    async def inject(
        self, queue_id: QueueId, envelope: Envelope, content: ReadableContent, header: bytes = b"", *,
        even_if_full: bool = False,
    ) -> None:  # fmt: skip
        """Keep a message (`header` first) for all recipients of the envelope. Durable on return.

        `even_if_full`: also above `queue.max_items`, for what other messages need before they can go.

        Raises StorageFailure, LimitReached (queue full), AlreadyExists (the id): then nothing is kept.
        If the caller is cancelled, the message is kept whole or not at all.
        """
        self._check_room(queue_id, even_if_full=even_if_full)
        size = len(header) + content.size
        new = New(queue_id=queue_id, arrived=self._clock.time(), envelope=envelope, size=size, crc=0)
        head = content.head()
        if len(head) == content.size:
            whole = header + head
            await self._commit(new, functools.partial(write_whole, self._spool, new, whole), whole)
            return
        self._reserved.add(queue_id)
        incoming = Incoming(self._spool, new)
        try:
            await self._write(incoming, content, header)
        except BaseException:
            self._reserved.discard(queue_id)
            self._quick.submit(incoming.abort)
            raise
        await self._commit(new, incoming.publish, b"")

    async def list(self) -> list[QueuedMessage]:
        """Everything that waits, oldest first."""
        await self.recovered()
        kept = self._mirror.snapshot()

        return await self._run(lambda: _by_age(map(listed, map(decoded, kept))))

    def item(self, queue_id: QueueId) -> Item:
        """One message, as it is now. Raises NotFound."""
        return self._mirror.item(queue_id)

    def held_for(self, account: AccountId) -> int:
        """How many messages are here that the account submitted for a later time."""
        return self._mirror.held_for(account)

    def ids(self) -> Sequence[QueueId]:
        """Every message's name."""
        return tuple(self._mirror)

    def items(self) -> Iterator[Item]:
        """Every message, each decoded when it is asked for. Others may come and go meanwhile."""
        for queue_id in self.ids():
            if queue_id in self._mirror:
                yield self._mirror.item(queue_id)

    def watch(self, on_item: Callable[[Item], None], then: Callable[[], None] | None = None) -> Callable[[], None]:
        """Call `on_item` on the loop for each message that is durable: soon for those that are there, at once for each
        new one and each that is found on the disk; `then` once all that was on the disk at the start has been told.
        Returns the undo."""
        return self._mirror.watch(on_item, then or _nothing)

    async def record(self, queue_id: QueueId, *records: Record, durable: bool = True) -> None:
        """Write down what happened to a message, in the order of the calls; `item` shows it at once.

        `durable`: on return it is on the disk for good; otherwise it only survives the end of this process. Without
        records, what could not be written before is.

        Raises NotFound, and StorageFailure: it may not be on the disk. In memory it counts all the same, and it is
        written with what comes next.
        """
        self._check_open()
        self._mirror.apply(queue_id, records)
        data = b"".join(map(encode, records))
        await self._tails.append(queue_id, self._mirror[queue_id], data, durable=durable)

    async def finish(self, queue_id: QueueId, *records: Record) -> None:
        """The last result: the message leaves the queue, for good on return.

        `records` are the results that need not be written, since there is nothing any more that they could be about.

        Raises NotFound, and StorageFailure: then it may be there after a crash. If it is still there now, so is the
        item, with these results, and `finish` may be called again.
        """
        self._check_open()
        self._mirror.apply(queue_id, records)
        fd = await self._tails.release(queue_id)
        removal = Removal(self._spool, queue_id, self._failure, fd, self._forget)
        self._committer.remove(removal)
        try:
            await removal.future
        except StorageFailure:
            if records and queue_id in self._mirror:
                data = b"".join(map(encode, records))
                await self._tails.append(queue_id, self._mirror[queue_id], data, durable=True)
            raise

    def content(self, queue_id: QueueId) -> ItemContent:
        """The octets of a message, an async context manager; for several readers at once if need be.

        Raises NotFound, and on entering StorageFailure too. Content that is not what was accepted is never read to its
        end: StorageFailure, and the message is set aside.
        """
        return ItemContent(self._contents, self._mirror.item(queue_id).new, self._mirror[queue_id].start)

    async def quarantine(self, queue_id: QueueId, reason: str) -> None:
        """Set a message aside for a person to look at: it leaves the queue. Raises NotFound, StorageFailure."""
        self._check_open()
        self._mirror.item(queue_id)
        fd = await self._tails.release(queue_id)

        def work() -> None:
            if fd is not None:
                os.close(fd)
            with contextlib.suppress(FileNotFoundError):
                self._spool.set_aside(self._spool.items, queue_id)

        await self._run(work)
        self._forget(queue_id)
        self._put_aside(SetAside(name=f"items/{queue_id}", reason=reason))

    async def verify(self) -> tuple[SetAside, ...]:
        """Compare every item's content with its checksum; what is wrong. Reads the whole queue."""
        return await self._run(lambda: tuple(check_all(self._spool)))

    def _open(self) -> Sequence[str]:
        self._spool = Spool(self._path)
        try:
            for thing in clean(self._spool):
                if isinstance(thing, Unreadable):
                    _log.error("queue.unreadable", name=thing.name, error=str(thing.error))
                else:
                    self._put_aside(thing)
            return names(self._spool)
        except BaseException:
            self._spool.close()
            raise

    def _check_open(self) -> None:
        if self._closing:
            raise StorageFailure("the server is stopping, try again later")

    def _check_room(self, queue_id: QueueId, *, even_if_full: bool) -> None:
        self._check_open()
        self._faults.check()
        if queue_id in self._mirror or queue_id in self._reserved or queue_id in self._recovery.unread:
            raise AlreadyExists("the queue has a message of this id")
        if self._spool.unwanted(queue_id):
            raise StorageFailure("the message could not be kept, try again later", detail="a rest of it is in the way")
        full = len(self) + len(self._reserved) >= self._settings.max_items and not even_if_full
        if full or len(self._reserved) >= _MAX_IN_FLIGHT:
            raise LimitReached("the queue is full, try again later", status="4.3.1", temporary=True)

    async def _write(self, incoming: Incoming, content: ReadableContent, header: bytes) -> None:
        chunk, position = header, 0
        while chunk or position < content.size:
            await self._run(functools.partial(incoming.write, chunk))
            chunk = await content.read(position, _CHUNK)
            if not chunk and position < content.size:
                raise StorageFailure("the message could not be read back")
            position += len(chunk)

    async def _commit(self, new: New, write: Callable[[], Published], whole: bytes) -> None:
        self._reserved.add(new.queue_id)

        def ended(queue_id: QueueId, published: Published | None) -> None:
            self._reserved.discard(queue_id)
            if published is not None:
                self._injected(published, whole)

        injection = Injection(self._spool, new.queue_id, self._failure, write, ended)
        self._committer.write(injection)
        await injection.future

    def _injected(self, published: Published, whole: bytes) -> None:
        new = published.new
        entry = Entry(published.start, published.start + new.size, None)
        self._tails.keep(new.queue_id, entry, published.fd)
        if whole:
            self._contents.keep(new.queue_id, whole)
        self._mirror.add(entry, Item(new=new, recipients=beginning(new)))

    def _failure(self, error: Exception) -> Exception:
        if isinstance(error, OSError):
            self._tails.relieve(error)
            if error is not self._committer.failure:
                self._faults.note(error)
        return self._faults.failure(error)

    def _forget(self, queue_id: QueueId) -> None:
        self._mirror.remove(queue_id)
        self._contents.forget(queue_id)
        self._tails.forget(queue_id)

    async def _damaged(self, queue_id: QueueId, reason: str) -> None:
        if queue_id not in self._mirror:
            return
        try:
            await self.quarantine(queue_id, reason)
        except MailError as error:
            _log.error("queue.damaged", queue_id=queue_id, reason=reason, error=error.for_operator)

    def _put_aside(self, thing: SetAside) -> None:
        self.set_aside += (thing,)
        _log.error("queue.set_aside", name=thing.name, reason=thing.reason)

    async def _run(self, work: Callable[[], _T]) -> _T:
        """Do `work` in a thread. A cancelled caller does not stop it."""
        try:
            return await self._quick.run(work)
        except OSError as error:
            raise StorageFailure("the queue cannot be read or written, try again later", detail=str(error)) from error


def _nothing() -> None:
    """Nobody wants to know."""


def _by_age(messages: Iterable[QueuedMessage]) -> list[QueuedMessage]:
    return sorted(messages, key=lambda message: (message.arrived, message.queue_id))
