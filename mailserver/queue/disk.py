"""The queue on disk, as the rest of the server sees it: `ports.queue.MailQueue`.

The file work is in `spool.py` and runs in eight threads of our own, whole operations per hop: a message of up to 1 MiB
is one hop. What waits is mirrored in memory (below 1 kB each), so that listing costs no I/O. An item is in the mirror
if and only if it is durable; the mirror is only touched on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from mailserver.model.envelope import Envelope
from mailserver.model.errors import AlreadyExists, LimitReached, MailError, StorageFailure
from mailserver.model.ids import AccountId, QueueId
from mailserver.ports.clock import Clock
from mailserver.ports.queue import QueuedMessage
from mailserver.ports.store import ReadableContent
from mailserver.queue.codec import FRAME_SIZE, encode
from mailserver.queue.content import ItemContent, open_content
from mailserver.queue.mirror import Entry, Mirror, listed
from mailserver.queue.record import New, Record
from mailserver.queue.settings import QueueSettings
from mailserver.queue.spool import Incoming, SetAside, Spool
from mailserver.queue.state import Item, pack

__all__ = ["DiskQueue"]

_T = TypeVar("_T")
_log = structlog.get_logger()
#: Measured on ext4: twice the messages a second of four, since their syncs share journal commits.
_THREADS = 8
#: Injections that may wait for a thread; each holds up to 1 MiB. Above it a sender is asked to come again.
_MAX_IN_FLIGHT = 256
_CHUNK = 1 << 20


class DiskQueue:
    """The durable queue below `path`. An async context manager: entering takes the lock and reads what is there.

    Entering raises StorageFailure: the disk refuses, or another process has this queue.
    """

    def __init__(self, path: Path, settings: QueueSettings, clock: Clock) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._mirror = Mirror()
        self._order: dict[QueueId, asyncio.Lock] = {}
        self._unwritten: dict[QueueId, bytes] = {}
        self._reserved: set[QueueId] = set()
        self._pending: set[Future[Any]] = set()
        self._closing = False
        #: What recovery could not trust and moved to queue/aside/: for the operator, who must look.
        self.set_aside: tuple[SetAside, ...] = ()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._mirror.clear()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="queue")
        try:
            self._spool = await self._run(lambda: Spool(self._path))
            try:
                found, aside = await self._run(self._spool.recover)
            except BaseException:
                self._spool.close()
                raise
        except BaseException:
            self._pool.shutdown(wait=True)
            raise
        for one in found:
            queue_id = one.item.queue_id
            if one.cut:
                _log.warning("queue.torn_record_cut", queue_id=queue_id, octets=one.cut)
            if doubtful := sum(state.doubtful for state in one.item.recipients):
                _log.warning("queue.possible_duplicate", queue_id=queue_id, recipients=doubtful)
            entry = Entry(one.head, pack(one.item.recipients, one.item.new), one.end)
            self._mirror.add(queue_id, entry, one.item)
        for thing in aside:
            _log.error("queue.set_aside", name=thing.name, reason=thing.reason)
        self.set_aside = tuple(aside)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What a thread has begun runs to its end, also if the one who asked for it was cancelled.
        self._closing = True
        while self._pending:
            await asyncio.gather(*map(asyncio.wrap_future, self._pending), return_exceptions=True)
        self._pool.shutdown(wait=True)
        self._spool.close()

    def __len__(self) -> int:
        return len(self._mirror)

    async def inject(
        self, queue_id: QueueId, envelope: Envelope, content: ReadableContent, header: bytes = b""
    ) -> None:
        """Keep a message (`header` first) for all recipients of the envelope. Durable on return.

        Raises StorageFailure, LimitReached (queue full), AlreadyExists (the id): then nothing is kept.
        If the caller is cancelled, the message is kept whole or not at all.
        """
        if queue_id in self._mirror or queue_id in self._reserved:
            raise AlreadyExists("the queue has a message of this id")
        if len(self._mirror) + len(self._reserved) >= self._settings.max_items or len(self._pending) >= _MAX_IN_FLIGHT:
            raise LimitReached("the queue is full, try again later", status="4.3.1", temporary=True)
        new = New(
            queue_id=queue_id,
            arrived=self._clock.time(),
            envelope=envelope,
            size=len(header) + content.size,
            crc=0,
        )
        self._reserved.add(queue_id)
        try:
            incoming = Incoming(self._spool, new)
            head = content.head()
            if len(head) == content.size:
                write = functools.partial(_write_and_commit, incoming, header + head)
                await self._run(write, functools.partial(self._keep, new))
            else:
                try:
                    await self._stream(incoming, content, header, new)
                except BaseException:
                    self._submit(incoming.abort)
                    raise
        finally:
            self._reserved.discard(queue_id)

    async def list(self) -> list[QueuedMessage]:
        """Everything that waits, oldest first."""
        return sorted(map(listed, self.items()), key=lambda message: (message.arrived, message.queue_id))

    def item(self, queue_id: QueueId) -> Item:
        """One message, as it is now. Raises NotFound."""
        return self._mirror[queue_id].item()

    def held_for(self, account: AccountId) -> int:
        """How many messages are here that the account submitted for a later time."""
        return self._mirror.held_for(account)

    def items(self) -> Iterator[Item]:
        """Every message. Others may come and go meanwhile."""
        for queue_id in list(self._mirror):
            if queue_id in self._mirror:
                yield self._mirror[queue_id].item()

    def watch(self, on_item: Callable[[Item], None], then: Callable[[], None] | None = None) -> Callable[[], None]:
        """Call `on_item` on the loop for each message that is durable: soon for those that are there, at once for each
        new one and each that is found on the disk; `then` once all that was on the disk at the start has been told.
        Returns the undo."""
        return self._mirror.watch(on_item, then)

    async def record(self, queue_id: QueueId, *records: Record, durable: bool = True) -> None:
        """Write down what happened to a message, in the order of the calls; `item` shows it at once.

        `durable`: on return it is on the disk for good; otherwise it only survives the end of this process.

        Raises NotFound, and StorageFailure: it may not be on the disk. In memory it counts all the same, and it is
        written with what comes next.
        """
        self._mirror.apply(queue_id, records)
        data = b"".join(map(encode, records))
        self._unwritten[queue_id] = self._unwritten.get(queue_id, b"") + data
        async with self._order.setdefault(queue_id, asyncio.Lock()):
            entry = self._mirror[queue_id]
            data = self._unwritten.pop(queue_id, b"")
            try:
                await self._run(lambda: self._spool.append(queue_id, entry.end, data, sync=durable))
            except BaseException:
                self._unwritten[queue_id] = data + self._unwritten.get(queue_id, b"")
                raise
            entry.end += len(data)

    async def finish(self, queue_id: QueueId, *records: Record) -> None:
        """The last result: the message leaves the queue, for good on return.

        `records` are the results that need not be written, since there is nothing any more that they could be about.

        Raises NotFound, and StorageFailure: then it may be there after a crash. If it is still there now, so is the
        item, with these results, and `finish` may be called again.
        """
        self._mirror.apply(queue_id, records)
        await self._run(lambda: self._spool.remove(queue_id), lambda _: self._forget(queue_id))

    @contextlib.asynccontextmanager
    async def content(self, queue_id: QueueId) -> AsyncIterator[ItemContent]:
        """The octets of a message, for several readers at once if need be.

        Raises NotFound, StorageFailure. Content that is not what was accepted is never read to its end: StorageFailure,
        and the message is set aside.
        """
        entry = self._mirror[queue_id]
        opened = await self._run(lambda: open_content(self._spool.open_item(queue_id), entry.new))
        try:
            yield ItemContent(opened, self._run)
        finally:
            await self._run(opened.close)
            if opened.damaged:
                await self.quarantine(queue_id, "the content is damaged")

    async def quarantine(self, queue_id: QueueId, reason: str) -> None:
        """Set a message aside for a person to look at: it leaves the queue. Raises NotFound, StorageFailure."""
        self._mirror[queue_id]
        await self._run(lambda: self._spool.set_aside(queue_id), lambda _: self._forget(queue_id))
        self.set_aside += (SetAside(name=f"items/{queue_id}", reason=reason),)
        _log.error("queue.set_aside", name=f"items/{queue_id}", reason=reason)

    async def verify(self) -> tuple[SetAside, ...]:
        """Compare every item's content with its checksum; what is wrong. Reads the whole queue."""
        return await self._run(lambda: tuple(self._spool.verify()))

    async def _stream(self, incoming: Incoming, content: ReadableContent, header: bytes, new: New) -> None:
        chunk, position = header, 0
        while chunk or position < content.size:
            await self._run(functools.partial(incoming.write, chunk))
            chunk = await content.read(position, _CHUNK)
            if not chunk and position < content.size:
                raise StorageFailure("the message could not be read back")
            position += len(chunk)
        await self._run(incoming.commit, functools.partial(self._keep, new))

    def _keep(self, new: New, head: bytes) -> None:
        self._mirror.add(new.queue_id, Entry(head, None, FRAME_SIZE + len(head) + new.size))

    def _forget(self, queue_id: QueueId) -> None:
        self._mirror.remove(queue_id)
        self._order.pop(queue_id, None)
        self._unwritten.pop(queue_id, None)

    def _submit(self, work: Callable[[], _T], then: Callable[[_T], None] | None = None) -> Future[_T]:
        if self._closing:
            raise StorageFailure("the server is stopping, try again later")
        future = self._pool.submit(work)
        self._pending.add(future)

        def finished() -> None:
            self._pending.discard(future)
            if then is not None and future.exception() is None:
                then(future.result())

        future.add_done_callback(lambda _: self._loop.call_soon_threadsafe(finished))
        return future

    async def _run(self, work: Callable[[], _T], then: Callable[[_T], None] | None = None) -> _T:
        """Do `work` in a thread; `then` runs on the loop when it succeeded, whether or not anyone still waits."""
        try:
            # The shield: cancelling the waiter must not take a queued piece of work back behind our book-keeping.
            return await asyncio.shield(asyncio.wrap_future(self._submit(work, then)))
        except MailError:
            raise
        except OSError as error:
            raise StorageFailure("the queue cannot be written, try again later", detail=str(error)) from error


def _write_and_commit(incoming: Incoming, data: bytes) -> bytes:
    try:
        incoming.write(data)
    except BaseException:
        incoming.abort()
        raise
    return incoming.commit()
