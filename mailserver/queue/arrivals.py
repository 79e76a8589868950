"""What comes into the schedule: new messages, and at the start those that are on the disk.

Of what a crash left behind, reports first tell their messages that they were made, and only then are they sent, and
only then is anything new reported: so whatever was cut off, nobody is told twice (ATTACKS F09). Copies that come back
to an account are left until their message knows of them, so that they are not made again. Messages themselves are
tried while the rest of the disk is still being read; what they have to report waits.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from mailserver.model.errors import NotFound, StorageFailure
from mailserver.model.ids import QueueId
from mailserver.ports.clock import Clock
from mailserver.queue import reporting
from mailserver.queue.disk import DiskQueue
from mailserver.queue.schedule import Schedule
from mailserver.queue.settling import Settler
from mailserver.queue.state import Item
from mailserver.queue.timetable import Timetable

__all__ = ["Arrivals"]

#: The positions of nearly every message; a hundred thousand of them would be six megabytes.
_ONLY = (0,)

_log = structlog.get_logger()


class Arrivals:
    """For one runner. `spawn` does something beside all else."""

    def __init__(
        self, queue: DiskQueue, schedule: Schedule, timetable: Timetable, settler: Settler, clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:  # fmt: skip
        self._queue = queue
        self._schedule = schedule
        self._timetable = timetable
        self._settler = settler
        self._clock = clock
        self._spawn = spawn
        self._caught_up = False
        #: Do all messages know of the reports that were found about them? Before that nothing is reported.
        self._told = False
        #: Found at the start: reports; and messages with something to tell, True if that they are late.
        self._reports: list[QueueId] = []
        #: Copies that come back, and what they are of.
        self._returned: dict[QueueId, QueueId] = {}
        self._ends: dict[QueueId, bool] = {}

    def arrived(self, item: Item) -> None:
        """A message is durable, new or found on the disk."""
        if item.queue_id in self._settler.unannounced:
            return
        if not self._caught_up and reporting.about(item.envelope) is not None:
            # Perhaps a crash came before its message knew of it.
            self._reports.append(item.queue_id)
            return
        if not self._caught_up and (origin := reporting.returned_from(item.envelope)) is not None:
            self._returned[item.queue_id] = origin
            return
        self._take_in(item)

    def announce(self, queue_id: QueueId) -> None:
        """The time of a report, or of a copy that comes back, has come."""
        self._returned.pop(queue_id, None)
        try:
            item = self._queue.item(queue_id)
        except NotFound:
            return
        if queue_id not in self._schedule:
            self._take_in(item)

    async def all_found(self) -> None:
        """Everything that was on the disk is known: finish what was cut off."""
        self._caught_up = True
        for report_id in self._reports:
            await self._tell_origin(report_id)
            self.announce(report_id)
        self._reports.clear()
        self._told = True
        ends, self._ends = self._ends, {}
        for queue_id, late in ends.items():
            try:
                await self._settler.conclude(queue_id, late=late)
            except StorageFailure:
                raise
            except Exception:
                # A fault of ours with one message must not keep the others.
                _log.exception("queue.fault", id=queue_id)
        for queue_id, origin in list(self._returned.items()):
            if not self._awaits(origin, queue_id):
                self.announce(queue_id)

    async def conclude(self, queue_id: QueueId, *, late: bool = False) -> None:
        """`Settler.conclude`, now or as soon as it is known what was reported before."""
        if self._told:
            await self._settler.conclude(queue_id, late=late)
        else:
            self._ends[queue_id] = late or self._ends.get(queue_id, False)

    def _awaits(self, origin: QueueId, copy: QueueId) -> bool:
        """Will its end announce this copy, which comes back?"""
        try:
            return any(queue_id == copy for queue_id, _ in reporting.returned(self._queue.item(origin)))
        except NotFound:
            return False

    async def _tell_origin(self, report_id: QueueId) -> None:
        try:
            found = reporting.about(self._queue.item(report_id).envelope)
            if found is None:
                return
            origin = self._queue.item(found[0])
        except NotFound:
            return
        if left := reporting.untold(origin, found[1]):
            await self._settler.keep(origin.queue_id, reporting.told(left, self._clock.time(), report_id))

    def _take_in(self, item: Item) -> None:
        states, schedule, waiting = item.recipients, self._schedule, item.waiting
        if len(waiting) < len(states) and (not waiting or reporting.failed(item) or reporting.succeeded(item)):
            if self._told:
                self._spawn(self._settler.conclude(item.queue_id))
            else:
                self._ends.setdefault(item.queue_id, False)
        if not waiting:
            return
        expires = self._timetable.expires(item)
        groups: dict[tuple[float, int, bool], list[int]] = {}
        for position in waiting:
            state = states[position]
            groups.setdefault((state.next_attempt, state.attempts, state.doubtful), []).append(position)
        for (_, attempts, _), positions in groups.items():
            due = min(self._timetable.due(states[positions[0]]), max(expires, self._clock.monotonic()))
            chosen = _ONLY if positions == [0] else tuple(positions)
            schedule.add(
                item.queue_id, chosen, _payer(item), due=due, expires=expires, attempts=attempts,
                ours=item.envelope.account is not None,
            )  # fmt: skip
        held = max(states[position].held_until for position in waiting)
        if held > self._clock.time():
            schedule.hold(item.queue_id, None if math.isinf(held) else self._timetable.held(held))
        notice = self._timetable.delay_notice(expires)
        if notice is None or any(states[position].told for position in waiting):
            notice = expires
        schedule.remind_about(item.queue_id, notice)


def _payer(item: Item) -> str:
    """Whose turn a message uses: its account, else the sender's domain, since a stranger's addresses cost nothing."""
    envelope = item.envelope
    return sys.intern(envelope.account or ("" if envelope.sender is None else envelope.sender.domain))
