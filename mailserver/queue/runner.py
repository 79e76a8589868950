"""Keeps the schedule going: routes what is due, makes the attempts, and lets the settler write down what they said.

Nothing here waits for a tick: a message that was just accepted is routed and sent in the turns of the loop that follow.
Attempts are tasks, bounded by the schedule (`queue.connections`, and `queue.concurrency` per destination); routing is
bounded here. At the end of the process no new attempt begins, and those in hand have as long as the process has.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import structlog

from mailserver.model.delivery import Destination, Feedback, Outcome, Result
from mailserver.model.errors import NotFound, StorageFailure
from mailserver.model.events import Attempted, Event
from mailserver.model.ids import QueueId
from mailserver.ports.clock import Clock
from mailserver.ports.delivery import Deliverer, DeliveryReport
from mailserver.ports.reports import Action, ReportWriter
from mailserver.queue import reporting
from mailserver.queue.arrivals import Arrivals
from mailserver.queue.attempt import DROPPED, FAULT, Ended, expired, job_for
from mailserver.queue.disk import DiskQueue
from mailserver.queue.lanes import SHORTEST_PAUSE
from mailserver.queue.record import Dot, Fail, Told
from mailserver.queue.reminders import MINUTE
from mailserver.queue.schedule import Schedule, parked
from mailserver.queue.settings import QueueSettings
from mailserver.queue.settling import Settler
from mailserver.queue.state import Item
from mailserver.queue.strangers import StrangerReports
from mailserver.queue.timetable import Timetable, begun
from mailserver.queue.unit import Stage, Unit

__all__ = ["QueueRunner"]

_log = structlog.get_logger()
#: Messages that are given their destinations at once.
_ROUTING = 64
#: Seconds after which a message that should have expired is looked at again.
_LOOK_AGAIN = 300.0
_DISK = Result(outcome=Outcome.DEFERRED, status="4.3.0", reply="The message could not be read from our disk")


class QueueRunner:
    """The service. `schedule` and `settler` are for `control.py`, which does what people ask for."""

    name = "queue"

    def __init__(
        self,
        queue: DiskQueue,
        deliverer: Deliverer,
        writer: ReportWriter,
        settings: QueueSettings,
        clock: Clock,
        emit: Callable[[Event], None],
        chance: random.Random | None = None,
    ) -> None:
        chance = chance or random.Random()  # noqa: S311  (spreads load, hides nothing)
        self._queue = queue
        self.deliverer = deliverer
        self._clock = clock
        self.emit = emit
        self._max_age = settings.max_age
        self.timetable = Timetable(settings, clock, chance)
        self.schedule = Schedule(
            concurrency=settings.concurrency, connections=settings.connections, chance=chance,
            # Who wants to try again sooner than that means it.
            pause=min(SHORTEST_PAUSE, settings.retry[0]),
        )  # fmt: skip
        self.settler = Settler(
            queue, writer, clock, emit, StrangerReports(settings, clock),
            at_rest=self.schedule.at_rest, remind=self.schedule.remind, announce=self._announce,
            finished=self._finished, expires=lambda item: begun(item) + settings.max_age,
        )  # fmt: skip
        self._arrivals = Arrivals(queue, self.schedule, self.timetable, self.settler, clock, self._spawn)
        #: Messages that somebody dropped while an attempt for them was in hand.
        self.dropped: set[QueueId] = set()
        self._routing = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = self._running = self._surveyed = False
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        """Until `stopping`; then the attempts in hand are finished."""
        self._loop = asyncio.get_running_loop()
        self._running = True
        unwatch = self._queue.watch(self._arrived, lambda: self._spawn(self._arrivals.all_found()))
        try:
            ready()
            self.wake()
            await stopping.wait()
            self._running = False
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            self._running = False
            unwatch()
            if self._timer is not None:
                self._timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def survey(self) -> None:
        """Know what waits, without sending any of it: for what people ask for while no server runs."""
        if self._running or self._surveyed:
            return
        self._surveyed = True
        all_found = asyncio.Event()
        unwatch = self._queue.watch(self._arrived, all_found.set)
        await all_found.wait()
        unwatch()
        await self._arrivals.all_found()

    def wake(self) -> None:
        """Look at the schedule in the next turn of the loop."""
        if self._running and not self._woken:
            self._woken = True
            self._loop.call_soon(self._pump)

    @property
    def attempts(self) -> int:
        """Attempts in hand."""
        return sum(lane.running for lane in self.schedule.lanes())

    @property
    def paused(self) -> int:
        """Destinations that are left alone for a while."""
        return sum(lane.paused_until is not None for lane in self.schedule.lanes())

    def _arrived(self, item: Item) -> None:
        self._arrivals.arrived(item)
        self.wake()

    def _announce(self, queue_id: QueueId) -> None:
        self._arrivals.announce(queue_id)
        self.wake()

    def _finished(self, queue_id: QueueId) -> None:
        self.schedule.forget(queue_id)
        self.dropped.discard(queue_id)

    # The turn of the wheel

    def _pump(self) -> None:
        self._woken = False
        if not self._running:
            return
        schedule = self.schedule
        for queue_id in schedule.advance(self._clock.monotonic()):
            self._remembered(queue_id)
        while self._routing < _ROUTING and (unit := schedule.take_ready()) is not None:
            self._routing += 1
            self._spawn(self._route(unit))
        while (unit := schedule.take()) is not None:
            self._spawn(self._attempt(unit))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = schedule.next_time()
        if due is not None:
            self._timer = self._loop.call_later(max(0.0, due - self._clock.monotonic()), self.wake)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, StorageFailure):
                _log.error("queue.not_written", error=error.for_operator)
            else:
                _log.error("queue.fault", exc_info=error)
        self.wake()

    # Routing

    async def _route(self, unit: Unit) -> None:
        try:
            item = self._queue.item(unit.queue_id)
            answers = [(position, await self._destination(item, position)) for position in unit.positions]
        except NotFound:
            self.schedule.forget(unit.queue_id)
            return
        finally:
            self._routing -= 1
        groups: dict[Destination, list[int]] = {}
        given: dict[int, Result] = {}
        for position, answer in answers:
            if isinstance(answer, Result):
                given[position] = answer
            else:
                groups.setdefault(answer, []).append(position)
        rest = self.schedule.routed(unit, [(to, tuple(those)) for to, those in groups.items()], tuple(given))
        self.wake()
        if rest is not None:
            await self._settle(rest, item, DeliveryReport(results=tuple(given.values())), "")

    async def _destination(self, item: Item, position: int) -> Destination | Result:
        try:
            return await self.deliverer.destination(item.envelope, item.envelope.recipients[position])
        except Exception:
            _log.exception("queue.fault", id=item.queue_id)
            return FAULT

    # Attempts

    async def _attempt(self, unit: Unit) -> None:
        lane = unit.lane
        assert lane is not None  # noqa: S101
        destination = lane.destination
        report = DeliveryReport(results=(FAULT,) * len(unit.positions))
        reached: set[int] = set()
        item = None
        try:
            item = self._queue.item(unit.queue_id)
            report = await self._deliver(unit, item, destination, reached)
        except NotFound:
            # If that is what a deliverer says, the message is still here, and must be tried again.
            item = self._still_here(unit.queue_id)
        except StorageFailure as error:
            _log.error("queue.unreadable", id=unit.queue_id, error=error.for_operator)
            report = replace(report, results=(_DISK,) * len(unit.positions))
        except Exception:
            _log.exception("queue.fault", id=unit.queue_id)
        finally:
            self._end(unit, report)
        if item is None:
            self.schedule.forget(unit.queue_id)
            return
        # A mailbox of ours never leaves it open whether it has the message.
        in_doubt = frozenset() if destination.local else frozenset(reached)
        await self._settle(unit, item, report, destination.name, in_doubt)

    def _still_here(self, queue_id: QueueId) -> Item | None:
        try:
            return self._queue.item(queue_id)
        except NotFound:
            return None

    async def _deliver(
        self, unit: Unit, item: Item, destination: Destination, reached: set[int]
    ) -> DeliveryReport:
        positions = unit.positions

        async def about_to_end(indexes: Sequence[int]) -> None:
            concerned = tuple(positions[index] for index in indexes)
            reached.update(concerned)
            await self._queue.record(
                unit.queue_id, Dot(at=self._clock.time(), recipients=concerned), durable=False
            )

        async with self._queue.content(unit.queue_id) as content:
            return await self.deliverer.deliver(
                job_for(
                    item, positions, destination, content, attempt=unit.attempts + 1,
                    expires=self.timetable.wall(unit.expires), about_to_end=about_to_end,
                )
            )  # fmt: skip

    def _end(self, unit: Unit, report: DeliveryReport) -> None:
        """The lane goes on at once, whatever the disk needs for the results."""
        lane = unit.lane
        assert lane is not None  # noqa: S101
        before = lane.paused_until
        now = self._clock.monotonic()
        # A refusal for now may be meant for all of us, one for good is meant for its recipient.
        meant = sorted(report.results, key=lambda result: result.outcome is not Outcome.DEFERRED)
        reason = next((result.reply for result in meant if result.outcome is not Outcome.DELIVERED), "")
        self.schedule.ended(unit, report.feedback, now, reason=reason)
        if lane.paused_until is not None and lane.paused_until != before:
            _log.warning(
                "destination paused", destination=lane.destination.name, seconds=round(lane.paused_until - now),
                because=report.feedback.value, waiting=lane.waiting, reason=reason,
            )  # fmt: skip
        self.wake()

    async def _settle(
        self, unit: Unit, item: Item, report: DeliveryReport, destination: str, reached: frozenset[int] = frozenset()
    ) -> None:
        """Results to the disk, then to the schedule, then to whoever is to be told."""
        now, at = self._clock.monotonic(), self._clock.time()
        unit.attempts += 1
        due = min(now + self.timetable.wait_after(unit.attempts), max(unit.expires, now))
        doubtful = self._in_doubt(unit, item, report, reached)
        ended = Ended.of(
            unit.positions, report, at=at, next_attempt=at + due - now, give_up=self._giving_up(unit, now),
            doubtful=doubtful,
        )  # fmt: skip
        dropped = [position for position, result in ended.results if result is DROPPED]
        open_ends = await self.settler.settle(unit.queue_id, [*ended.records, *_told_to_nobody(dropped, at)])
        self._tell(unit, item, ended, at, destination, doubtful)
        if ended.deferred and unit.queue_id in self.dropped:
            # Somebody dropped it while its result was being written down.
            last = Fail(at=at, recipients=ended.deferred, result=DROPPED)
            open_ends = await self.settler.settle(unit.queue_id, [last, *_told_to_nobody(ended.deferred, at)])
            self.schedule.take_away(unit)
        elif ended.deferred:
            unit.positions = ended.deferred
            self.schedule.wait(unit, due)
        else:
            self.schedule.take_away(unit)
        self.wake()
        if open_ends or unit.queue_id in self.dropped:
            # Dropped just now, it may have its last results from elsewhere.
            await self._arrivals.conclude(unit.queue_id)

    def _giving_up(self, unit: Unit, now: float) -> Callable[[Result], Result] | None:
        if unit.queue_id in self.dropped:
            return lambda result: DROPPED
        if now >= unit.expires:
            return lambda result: expired(result, self._max_age)
        return None

    def _in_doubt(self, unit: Unit, item: Item, report: DeliveryReport, reached: frozenset[int]) -> frozenset[int]:
        """Who may have the message although the attempt did not succeed (RFC 1047): after the final dot no reply came,
        now or in an earlier attempt."""
        now = {
            position
            for position, result in zip(unit.positions, report.results, strict=False)
            if position in reached and result.outcome is Outcome.DEFERRED and result.code == 0
        }
        return frozenset(now | {p for p in unit.positions if item.recipients[p].doubtful})

    def _tell(
        self, unit: Unit, item: Item, ended: Ended, at: float, destination: str, doubtful: frozenset[int]
    ) -> None:
        envelope = item.envelope
        for position, result in ended.results:
            self.emit(
                Attempted(
                    queue_id=item.queue_id, at=at, arrived=item.new.arrived, sender=str(envelope.sender or ""),
                    account=envelope.account or "", recipient=str(envelope.recipients[position].address),
                    attempt=unit.attempts, size=item.new.size, destination=destination, result=result,
                    next_attempt=ended.next_attempt if result.outcome is Outcome.DEFERRED else None,
                    doubtful=position in doubtful,
                )
            )  # fmt: skip

    # What time brings

    def _remembered(self, queue_id: QueueId) -> None:
        """A message that may be late, may have expired, or has waited long enough with what it has to tell."""
        now = self._clock.monotonic()
        units = self.schedule.units(queue_id)
        expires = max(unit.expires for unit in units)
        if now < expires:
            notice = self.timetable.delay_notice(expires)
            ahead = expires if notice is None or notice <= now else notice
            self.schedule.remind_about(queue_id, ahead)
            if ahead - now <= MINUTE:
                # It was named in the minute before.
                return
            late = notice is not None and notice <= now and not self.schedule.held(queue_id)
            self._spawn(self._arrivals.conclude(queue_id, late=late))
            return
        for unit in units:
            if parked(unit):
                self._spawn(self._expire(unit))
        # Whatever is under way has its last attempt now; what waits was due when it expired.
        self.schedule.remind(queue_id, now + _LOOK_AGAIN)
        self._spawn(self._arrivals.conclude(queue_id))

    async def _expire(self, unit: Unit) -> None:
        """Its destination did not answer as long as it was here: no attempt would do better."""
        lane = unit.lane
        if lane is None or unit.stage is not Stage.LANE:
            return
        self.schedule.withdraw(unit)
        try:
            item = self._queue.item(unit.queue_id)
        except NotFound:
            self.schedule.forget(unit.queue_id)
            return
        last = Result(outcome=Outcome.DEFERRED, status="4.4.1", reply=lane.reason or "No server of it answers")
        report = DeliveryReport(results=(last,) * len(unit.positions), feedback=Feedback.FINE)
        await self._settle(unit, item, report, lane.destination.name)


def _told_to_nobody(positions: Sequence[int], at: float) -> list[Told]:
    return reporting.told(dict.fromkeys(positions, Action.FAILED), at, None)
