"""What people do with waiting mail: hold, release, retry, drop, another time; one message, or all that match.

Whatever is asked for, an attempt in hand runs to its end, and its result counts: what was sent is sent (ATTACKS G18).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase

from mailserver.model.errors import NotFound
from mailserver.model.events import Dropped, Handled
from mailserver.model.ids import QueueId
from mailserver.ports.clock import Clock
from mailserver.ports.reports import Action
from mailserver.queue import reporting
from mailserver.queue.attempt import DROPPED
from mailserver.queue.disk import DiskQueue
from mailserver.queue.record import Fail, Free, Hold, Plan, Record
from mailserver.queue.runner import QueueRunner
from mailserver.queue.schedule import parked
from mailserver.queue.state import Item
from mailserver.queue.unit import Stage

__all__ = ["Filter", "QueueControl", "Status"]

#: Messages that are looked at in one turn of the loop, and that are written to at once.
_SLICE, _TOGETHER = 100, 64


class Status(Enum):
    """What a message is doing."""

    #: An attempt is in hand, or about to begin.
    ACTIVE = "active"
    #: It waits for its time, or for a destination that is left alone.
    WAITING = "waiting"
    HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """All that is given must match, whatever the case; `*` and `?` stand for any characters.

    `sender` ("<>": the null sender), `recipient` and `domain` (of a recipient) look at recipients that still wait.
    `before`: it arrived before then (epoch seconds). `ids`: it is one of these; none: any.
    """

    sender: str = ""
    recipient: str = ""
    domain: str = ""
    status: Status | None = None
    before: float | None = None
    ids: frozenset[QueueId] = frozenset()


class QueueControl:
    """Operations on the queue of a running server. Each returns the messages that it changed, and tells observers; `by`
    is who wants it so."""

    def __init__(self, queue: DiskQueue, runner: QueueRunner, clock: Clock) -> None:
        self._queue = queue
        self._runner = runner
        self._schedule = runner.schedule
        self._clock = clock

    def status(self, queue_id: QueueId) -> Status:
        """What it is doing."""
        if self._schedule.held(queue_id):
            return Status.HELD
        return Status.WAITING if self._schedule.at_rest(queue_id) else Status.ACTIVE

    def next_attempt(self, item: Item) -> float:
        """When one of its recipients is tried next (epoch seconds), if it waits: a destination that is left alone is
        not asked before that ends."""
        positions = set(item.waiting)
        times = []
        for unit in self._schedule.units(item.queue_id):
            if parked(unit):
                positions.difference_update(unit.positions)
                until = unit.lane.paused_until if unit.lane is not None else None
                times.append(self._clock.time() if until is None else self._runner.timetable.wall(until))
        times += [item.recipients[position].next_attempt for position in positions]
        return max(item.new.arrived, min(times, default=0.0))

    async def matching(self, wanted: Filter) -> AsyncIterator[Item]:
        """The messages that match, in no order; others have their turn meanwhile."""
        await self._queue.recovered()
        for number, queue_id in enumerate(self._queue.ids()):
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            if wanted.ids and queue_id not in wanted.ids:
                continue
            try:
                item = self._queue.item(queue_id)
            except NotFound:
                continue
            if self._matches(item, wanted):
                yield item

    async def select(self, wanted: Filter) -> list[QueueId]:
        """The messages that match. All of them need not be looked at."""
        if wanted == Filter():
            await self._queue.recovered()
            return list(self._queue.ids())
        return [item.queue_id async for item in self.matching(wanted)]

    async def hold(self, ids: Iterable[QueueId], until: float | None = None, *, by: str = "") -> list[QueueId]:
        """Make no attempt before `until` (epoch seconds), or before they are released."""
        due = None if until is None else self._runner.timetable.held(until)

        async def one(queue_id: QueueId) -> None:
            self._schedule.hold(queue_id, due)
            if due is not None:
                self._count_from(queue_id, due)
            await self._keep(queue_id, Hold(at=self._clock.time(), until=until))
            self._tell(queue_id, "held", until, by)

        return await self._each(ids, one)

    async def release(self, ids: Iterable[QueueId], *, by: str = "") -> list[QueueId]:
        """Hold them no longer, and try them now; `queue.max_age` begins anew."""

        async def one(queue_id: QueueId) -> None:
            now = self._clock.time()
            self._tell(queue_id, "released", now, by)
            # In one step with the records in memory: whoever holds it next holds it here and there.
            self._schedule.release(queue_id, self._clock.monotonic())
            self._count_from(queue_id, self._clock.monotonic())
            await self._keep(queue_id, Free(at=now), Plan(at=now, next_attempt=now))

        return await self._each([i for i in ids if self._schedule.held(i)], one)

    def _count_from(self, queue_id: QueueId, begins: float) -> None:
        """The time of a hold is not part of the time for which it is tried."""
        timetable = self._runner.timetable
        for unit in self._schedule.units(queue_id):
            unit.expires = timetable.at_least_from(unit.expires, begins)
            notice = timetable.delay_notice(unit.expires)
            self._schedule.remind_about(queue_id, unit.expires if notice is None else notice)

    async def retry(self, ids: Iterable[QueueId], *, by: str = "") -> list[QueueId]:
        """Try them now, also where their destination is left alone."""
        return await self._at(ids, self._clock.time(), "retried", by)

    async def reschedule(self, ids: Iterable[QueueId], at: float, *, by: str = "") -> list[QueueId]:
        """Try them at a time (epoch seconds)."""
        return await self._at(ids, at, "rescheduled", by)

    async def _at(self, ids: Iterable[QueueId], at: float, action: str = "", by: str = "") -> list[QueueId]:
        now = self._clock.monotonic()
        due = now + max(0.0, at - self._clock.time())

        async def one(queue_id: QueueId) -> None:
            for unit in self._schedule.units(queue_id):
                if due <= now and unit.lane is not None and unit.stage is Stage.LANE:
                    self._schedule.open_lane(unit.lane.destination)
            if action:
                self._tell(queue_id, action, at, by)
            self._schedule.reschedule(queue_id, due)
            await self._queue.record(queue_id, Plan(at=self._clock.time(), next_attempt=at), durable=False)

        return await self._each([i for i in ids if not self._schedule.held(i)], one)

    async def flush(self) -> list[QueueId]:
        """Try everything now that is not held, whatever is known of its destination. Observers are not told, since that
        is about no message."""
        await self._queue.recovered()
        for lane in list(self._schedule.lanes()):
            self._schedule.open_lane(lane.destination)
        return await self._at(self._queue.ids(), self._clock.time())

    async def drop(self, ids: Iterable[QueueId], *, by: str = "") -> list[QueueId]:
        """Throw them away; no report is made. Recipients of an attempt in hand may still get the message."""

        async def one(queue_id: QueueId) -> None:
            recipients = self._waiting(queue_id)
            await self._drop(queue_id)
            self._runner.emit(Dropped(queue_id=queue_id, recipients=recipients, by=by))

        return await self._each(ids, one)

    async def _drop(self, queue_id: QueueId) -> None:
        waiting = set(self._queue.item(queue_id).waiting)
        # Nothing is begun for one that is only being routed.
        busy = [u for u in self._schedule.units(queue_id) if u.stage in (Stage.RUNNING, Stage.GONE)]
        if not busy:
            self._schedule.forget(queue_id)
            await self._runner.settler.finish(queue_id)
            return
        self._runner.dropped.add(queue_id)
        for unit in self._schedule.units(queue_id):
            if unit not in busy:
                self._schedule.take_away(unit)
        rest = tuple(sorted(waiting - {position for unit in busy for position in unit.positions}))
        if rest:
            at = self._clock.time()
            told = reporting.told(dict.fromkeys(rest, Action.FAILED), at, None)
            await self._keep(queue_id, Fail(at=at, recipients=rest, result=DROPPED), *told)

    def _tell(self, queue_id: QueueId, action: str, until: float | None, by: str) -> None:
        recipients = self._waiting(queue_id)
        self._runner.emit(Handled(queue_id=queue_id, action=action, recipients=recipients, until=until, by=by))

    def _waiting(self, queue_id: QueueId) -> tuple[str, ...]:
        """Who still waits. Raises NotFound."""
        item = self._queue.item(queue_id)
        return tuple(str(item.envelope.recipients[position].address) for position in item.waiting)

    async def _keep(self, queue_id: QueueId, *records: Record) -> None:
        await self._runner.settler.keep(queue_id, records)

    async def _each(self, ids: Iterable[QueueId], change: Callable[[QueueId], Awaitable[None]]) -> list[QueueId]:
        """Do it to those that are still here."""
        changed: set[QueueId] = set()

        async def one(queue_id: QueueId) -> None:
            if queue_id not in self._queue:
                return
            try:
                await change(queue_id)
            except NotFound:
                return
            changed.add(queue_id)

        todo: Sequence[QueueId] = list(ids)
        for start in range(0, len(todo), _TOGETHER):
            await asyncio.gather(*map(one, todo[start : start + _TOGETHER]))
            self._runner.wake()
        return [queue_id for queue_id in todo if queue_id in changed]

    def _matches(self, item: Item, wanted: Filter) -> bool:
        envelope = item.envelope
        if wanted.before is not None and item.new.arrived >= wanted.before:
            return False
        if wanted.sender and not _like("<>" if envelope.sender is None else str(envelope.sender), wanted.sender):
            return False
        addresses = [envelope.recipients[position].address for position in item.waiting]
        if wanted.recipient and not any(_like(str(address), wanted.recipient) for address in addresses):
            return False
        if wanted.domain and not any(_like(address.domain, wanted.domain) for address in addresses):
            return False
        return wanted.status is None or self.status(item.queue_id) is wanted.status


def _like(text: str, pattern: str) -> bool:
    # Brackets are those of address literals here.
    return fnmatchcase(text.lower(), pattern.lower().replace("[", "[[]"))
