"""The queue on disk, as the rest of the server sees it: `ports.queue.MailQueue`.

The file work is in `spool.py` and runs in eight threads of our own, whole operations per hop: a message of up to 1 MiB
is one hop. What waits is mirrored in memory (below 1 kB each), so that listing costs no I/O. An item is in the mirror
if and only if it is durable; the mirror is only touched on the event loop.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from mailserver.model.envelope import Envelope
from mailserver.model.errors import AlreadyExists, LimitReached, MailError, StorageFailure
from mailserver.model.ids import QueueId
from mailserver.ports.clock import Clock
from mailserver.ports.queue import QueuedMessage
from mailserver.ports.store import Content
from mailserver.queue.record import New, State
from mailserver.queue.settings import QueueSettings
from mailserver.queue.spool import Incoming, SetAside, Spool

__all__ = ["DiskQueue"]

_T = TypeVar("_T")
_log = structlog.get_logger()
#: Measured on ext4: twice the messages a second of four, since their syncs share journal commits.
_THREADS = 8
#: Injections that may wait for a thread; each holds up to 1 MiB. Above it a sender is asked to come again.
_MAX_IN_FLIGHT = 256
_CHUNK = 1 << 20
#: What a listing shows of the last reply.
_ERROR_SHOWN = 200


class DiskQueue:
    """The durable queue below `path`. An async context manager: entering takes the lock and reads what is there.

    Entering raises StorageFailure: the disk refuses, or another process has this queue.
    """

    def __init__(self, path: Path, settings: QueueSettings, clock: Clock) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._items: dict[QueueId, QueuedMessage] = {}
        self._reserved: set[QueueId] = set()
        self._pending: set[Future[Any]] = set()
        self._closing = False
        #: What recovery could not trust and moved to queue/aside/: for the operator, who must look.
        self.set_aside: tuple[SetAside, ...] = ()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._items.clear()
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
        for item in found:
            self._items[item.new.queue_id] = _listed(item.new, item.state)
            if item.cut:
                _log.warning("queue.torn_record_cut", queue_id=item.new.queue_id, octets=item.cut)
            if doubtful := len(item.state.doubtful):
                _log.warning("queue.possible_duplicate", queue_id=item.new.queue_id, recipients=doubtful)
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
        return len(self._items)

    async def inject(self, queue_id: QueueId, envelope: Envelope, content: Content, header: bytes = b"") -> None:
        """Keep a message (`header` first) for all recipients of the envelope. Durable on return.

        Raises StorageFailure, LimitReached (queue full), AlreadyExists (the id): then nothing is kept.
        If the caller is cancelled, the message is kept whole or not at all.
        """
        if queue_id in self._items or queue_id in self._reserved:
            raise AlreadyExists("the queue has a message of this id")
        if len(self._items) + len(self._reserved) >= self._settings.max_items or len(self._pending) >= _MAX_IN_FLIGHT:
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
                await self._run(lambda: _write_and_commit(incoming, header + head), lambda: self._keep(new))
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
        return sorted(self._items.values(), key=lambda item: (item.arrived, item.queue_id))

    async def verify(self) -> tuple[SetAside, ...]:
        """Compare every item's content with its checksum; what is wrong. Reads the whole queue."""
        return await self._run(lambda: tuple(self._spool.verify()))

    async def _stream(self, incoming: Incoming, content: Content, header: bytes, new: New) -> None:
        chunk, position = header, 0
        while chunk or position < content.size:
            await self._run(functools.partial(incoming.write, chunk))
            chunk = await content.read(position, _CHUNK)
            if not chunk and position < content.size:
                raise StorageFailure("the message could not be read back")
            position += len(chunk)
        await self._run(incoming.commit, lambda: self._keep(new))

    def _keep(self, new: New) -> None:
        self._items[new.queue_id] = _listed(new, None)

    def _submit(self, work: Callable[[], _T], then: Callable[[], None] | None = None) -> Future[_T]:
        if self._closing:
            raise StorageFailure("the server is stopping, try again later")
        future = self._pool.submit(work)
        self._pending.add(future)

        def finished() -> None:
            self._pending.discard(future)
            if then is not None and future.exception() is None:
                then()

        future.add_done_callback(lambda _: self._loop.call_soon_threadsafe(finished))
        return future

    async def _run(self, work: Callable[[], _T], then: Callable[[], None] | None = None) -> _T:
        """Do `work` in a thread; `then` runs on the loop when it succeeded, whether or not anyone still waits."""
        try:
            # The shield: cancelling the waiter must not take a queued piece of work back behind our book-keeping.
            return await asyncio.shield(asyncio.wrap_future(self._submit(work, then)))
        except MailError:
            raise
        except OSError as error:
            raise StorageFailure("the queue cannot be written, try again later", detail=str(error)) from error


def _write_and_commit(incoming: Incoming, data: bytes) -> None:
    try:
        incoming.write(data)
    except BaseException:
        incoming.abort()
        raise
    incoming.commit()


def _listed(new: New, state: State | None) -> QueuedMessage:
    recipients = new.envelope.recipients
    waiting = recipients if state is None else tuple(recipients[position] for position in state.waiting)
    return QueuedMessage(
        queue_id=new.queue_id,
        sender="" if new.envelope.sender is None else str(new.envelope.sender),
        recipients=tuple(str(recipient.address) for recipient in waiting),
        size=new.size,
        arrived=new.arrived,
        next_attempt=new.arrived if state is None else state.next_attempt,
        attempts=0 if state is None else state.attempts,
        last_error="" if state is None else state.last_error[:_ERROR_SHOWN],
    )
