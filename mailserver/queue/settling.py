"""From results to the disk, and to those who are to be told; at the end the message leaves the queue.

    results ─▶ recorded ─▶ (nothing of the message is under way) ─▶ reported ─▶ nobody waits: finished
       └─ the last ones, nothing to report: finished at once, since the removal of the file says it all

A failure of one recipient waits for the others that are under way, for five minutes at most: one report names all
(ATTACKS F05). When the disk refuses, the step is repeated until it succeeds, or until the disk is given up
(StorageFailure); until then nothing else happens with these recipients, so nobody gets the message twice because a
result could not be kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from mailserver.model.envelope import Envelope
from mailserver.model.errors import AlreadyExists, LimitReached, NotFound, StorageFailure
from mailserver.model.events import Event, Queued, Reported
from mailserver.model.ids import QueueId
from mailserver.ports.clock import Clock
from mailserver.ports.reports import Action, ReportWriter
from mailserver.queue import reporting
from mailserver.queue.disk import DiskQueue
from mailserver.queue.record import Record
from mailserver.queue.state import Item, apply
from mailserver.queue.strangers import StrangerReports

__all__ = ["Settler"]

_log = structlog.get_logger()
#: Seconds between attempts to write something down, and for which a failure waits for other recipients at most.
DISK_AGAIN, REPORT_WAIT = 5.0, 300.0


class Settler:
    """For one queue. `at_rest` tells whether nothing of a message is under way, `remind` asks for `conclude` at a time
    (monotonic), `announce` schedules a report that was made, `finished` hears of each message that has left the queue,
    `expires` (epoch seconds) tells how long we go on trying."""

    def __init__(
        self,
        queue: DiskQueue,
        writer: ReportWriter,
        clock: Clock,
        emit: Callable[[Event], None],
        strangers: StrangerReports,
        *,
        at_rest: Callable[[QueueId], bool],
        remind: Callable[[QueueId, float], None],
        announce: Callable[[QueueId], None],
        finished: Callable[[QueueId], None],
        expires: Callable[[Item], float],
    ) -> None:
        self._queue = queue
        self._writer = writer
        self._clock = clock
        self._emit = emit
        self._strangers = strangers
        self._at_rest = at_rest
        self._remind = remind
        self._announce = announce
        self._finished = finished
        self._expires = expires
        #: Messages whose end is being looked at; not None: look once more, perhaps for what is late.
        self._concluding: dict[QueueId, bool | None] = {}
        #: Since when (monotonic) a message has something to tell that waits for the rest of it.
        self._since: dict[QueueId, float] = {}
        #: Reports and returned copies that are durable, and not yet to be sent.
        self.unannounced: set[QueueId] = set()

    async def settle(self, queue_id: QueueId, records: Sequence[Record]) -> bool:
        """Write down what became of recipients, durable on return; if that was all, the message is gone.

        Returns whether there is something to `conclude`.
        """
        try:
            item = self._queue.item(queue_id)
        except NotFound:
            return False
        after = Item(new=item.new, recipients=apply(item.recipients, records))
        open_ends = bool(reporting.failed(after) or reporting.succeeded(after))
        if not after.waiting and not open_ends:
            await self.finish(queue_id, records)
            return False
        await self.keep(queue_id, records)
        return open_ends

    async def keep(self, queue_id: QueueId, records: Sequence[Record]) -> None:
        """Records, durable on return."""
        first = tuple(records)

        async def write() -> None:
            nonlocal first
            # In memory they count from the first time on; later times only repeat the writing.
            now, first = first, ()
            await self._queue.record(queue_id, *now)

        await self._persistently(queue_id, write)

    async def conclude(self, queue_id: QueueId, *, late: bool = False) -> None:
        """Report what is to be reported, and finish a message that has all its results.

        `late`: the time has come to tell of recipients that still wait.
        """
        if queue_id in self._concluding:
            self._concluding[queue_id] = late or bool(self._concluding[queue_id])
            return
        again: bool | None = late
        try:
            while again is not None:
                self._concluding[queue_id] = None
                await self._conclude(queue_id, late=again)
                again = self._concluding[queue_id]
        finally:
            del self._concluding[queue_id]

    async def _conclude(self, queue_id: QueueId, *, late: bool) -> None:
        try:
            item = self._queue.item(queue_id)
        except NotFound:
            return
        if late and (positions := reporting.delayed(item)):
            await self._tell(item, positions, last=False)
        open_ends = [positions for positions in (reporting.failed(item), reporting.succeeded(item)) if positions]
        if open_ends and item.waiting and not self._at_rest(queue_id) and not self._waited(queue_id):
            return
        self._since.pop(queue_id, None)
        for positions in open_ends:
            await self._tell(item, positions, last=positions is open_ends[-1] and not item.waiting)
        if not item.waiting and not open_ends:
            await self.finish(queue_id, ())

    def _waited(self, queue_id: QueueId) -> bool:
        """Has it waited long enough for the rest of its recipients?"""
        now = self._clock.monotonic()
        if queue_id not in self._since:
            self._since[queue_id] = now
            self._remind(queue_id, now + REPORT_WAIT)
        return now >= self._since[queue_id] + REPORT_WAIT

    async def _tell(self, item: Item, positions: reporting.Positions, *, last: bool) -> None:
        """Make one report, write down that it was made, and only then let it go."""
        at = self._clock.time()
        head = await self._head(item.queue_id)
        if head is None:
            return
        asked = reporting.request(item, positions, head, at=at, expires=self._expires(item))
        report = self._writer.write(asked)
        if report is not None and not self._strangers.allow(item.envelope):
            _log.warning(
                "report to a stranger dropped: there were enough this hour (queue.stranger_reports)", id=item.queue_id,
                to=str(item.envelope.sender), recipients=reporting.words(positions, item),
            )  # fmt: skip
            report = None
        report_id = None if report is None else asked.report_id
        # Before the report: a start that finds that takes all this for done.
        returned = await self._return(item) if Action.FAILED in positions.values() else []
        if report is None:
            self._drop(item, positions)
        else:
            envelope = reporting.mark(report.envelope, item.queue_id, positions)
            self.unannounced.add(asked.report_id)
            octets = _Bytes(report.content)
            await self._persistently(item.queue_id, lambda: self._inject(asked.report_id, envelope, octets))
        records = reporting.told(positions, at, report_id)
        if last:
            await self.finish(item.queue_id, records)
        else:
            await self.keep(item.queue_id, records)
        for queue_id in returned:
            self.unannounced.discard(queue_id)
            self._announce(queue_id)
        if report is not None:
            self.unannounced.discard(asked.report_id)
            self._announce(asked.report_id)
            for action in dict.fromkeys(positions.values()):
                self._emit(
                    Reported(
                        queue_id=item.queue_id, report_id=asked.report_id, action=action.value,
                        to=", ".join(str(recipient.address) for recipient in report.envelope.recipients),
                        recipients=reporting.words((p for p in positions if positions[p] is action), item),
                    )
                )  # fmt: skip

    async def _return(self, item: Item) -> list[QueueId]:
        """What an account forwarded without keeping it comes into its mailbox when it cannot be delivered: its sender
        may never hear of that (the null sender, one that is told nothing). Durable on return."""
        made = []
        for queue_id, envelope in reporting.returned(item):
            self.unannounced.add(queue_id)
            await self._persistently(item.queue_id, partial(self._copy, item.queue_id, queue_id, envelope))
            _log.info("queue.returned", id=item.queue_id, copy=queue_id, to=str(envelope.recipients[0].address))
            made.append(queue_id)
        return made

    async def _copy(self, origin: QueueId, queue_id: QueueId, envelope: Envelope) -> None:
        async with self._queue.content(origin) as content:
            await self._queue.inject(queue_id, envelope, content, even_if_full=True)
        self._emit(
            Queued(
                queue_id=queue_id, sender=str(envelope.sender or ""), size=content.size, origin=origin,
                recipients=tuple(str(recipient.address) for recipient in envelope.recipients),
            )
        )  # fmt: skip

    async def _inject(self, report_id: QueueId, envelope: Envelope, content: _Bytes) -> None:
        # A full queue gets empty by this.
        await self._queue.inject(report_id, envelope, content, even_if_full=True)

    async def _head(self, queue_id: QueueId) -> bytes | None:
        """The beginning of the message; None: it has left the queue."""
        head = None

        async def read() -> None:
            nonlocal head
            async with self._queue.content(queue_id) as content:
                head = content.head()

        await self._persistently(queue_id, read)
        return head

    def _drop(self, item: Item, positions: reporting.Positions) -> None:
        if item.envelope.sender is None and Action.FAILED in positions.values():
            # A report that cannot be delivered is reported to nobody (RFC 5321 §6.1, ATTACKS F03).
            _log.warning("double bounce dropped", id=item.queue_id, recipients=reporting.words(positions, item))

    async def finish(self, queue_id: QueueId, records: Sequence[Record] = ()) -> None:
        """It leaves the queue."""
        first = tuple(records)

        async def finish() -> None:
            nonlocal first
            now, first = first, ()
            await self._queue.finish(queue_id, *now)

        await self._persistently(queue_id, finish)
        self._since.pop(queue_id, None)
        self._finished(queue_id)

    async def _persistently(self, queue_id: QueueId, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except (NotFound, AlreadyExists):
                # It left the queue meanwhile, or a crash came after this step the last time.
                return
            except (StorageFailure, LimitReached) as error:
                if self._queue.given_up:
                    # Nothing will ever be written: the process ends, and a start finds out what is on the disk.
                    raise
                _log.error("queue.not_written", id=queue_id, error=error.for_operator)
                await asyncio.sleep(DISK_AGAIN)
            else:
                return


class _Bytes:
    """A message of our own: `ports.store.ReadableContent`."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """Octets in all."""
        return len(self._data)

    async def read(self, start: int, size: int) -> bytes:
        """A range."""
        return self._data[start : start + size]

    def head(self) -> bytes:
        """All of it, or the first MiB."""
        return self._data[: 1 << 20]
