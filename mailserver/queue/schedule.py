"""What waits, what is due, and whose turn it is. No I/O, no clock: `now` is monotonic seconds and only goes forward,
so a clock that is set forward or back changes nothing here (ATTACKS G08).

    add ─▶ WAITING ──advance──▶ READY ──take_ready──▶ ROUTING ──routed──▶ LANE ──take──▶ RUNNING ──ended──▶ wait or gone
              ▲  ▲                                                         │  paused: nothing leaves it but at its end
              │  └── HELD ◀── hold (whatever is not under way)             │
              └───────────────────────────── wait ◀────────────────────────┘

Of the recipients of a message those that are due at one time and not yet routed make one unit; routing divides it by
destination. Every step costs the same however much waits, but for the logarithm of the heap. A lane that is paused
keeps what waits in it: a dead destination costs no work but its probes.

Senders take turns twice: for being routed, which a plugin may make slow, and for attempts (`turns.py`).
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator, Sequence

from mailserver.model.delivery import Destination, Feedback
from mailserver.model.ids import QueueId
from mailserver.queue.fairness import FairQueue
from mailserver.queue.lanes import SHORTEST_PAUSE, Lane
from mailserver.queue.reminders import Reminders
from mailserver.queue.times import Times
from mailserver.queue.turns import Turns
from mailserver.queue.unit import UNDER_WAY, Stage, Unit

__all__ = ["Schedule", "parked"]

#: What `advance` makes ready in one go: after a flush of everything the loop must not stand still.
_AT_ONCE = 500


class Schedule:
    """`concurrency`: attempts at once per destination; `connections`: in all, mailboxes of ours not counted; `pause`:
    seconds for which a destination is left alone at first."""

    def __init__(
        self, *, concurrency: int, connections: int, chance: random.Random, pause: float = SHORTEST_PAUSE
    ) -> None:
        self._concurrency = concurrency
        self._pause = pause
        self._chance = chance
        #: The unit of a message, or its units.
        self._units: dict[QueueId, Unit | tuple[Unit, ...]] = {}
        #: Until when messages are held; None: until they are released.
        self._held: dict[QueueId, float | None] = {}
        self._pause_number = 0
        self._times = Times()
        self._reminders = Reminders(self._units)
        self._ready: FairQueue[Unit] = FairQueue()
        self._lanes: dict[Destination, Lane] = {}
        self._pauses: list[tuple[float, int, Lane]] = []
        self._local = Turns(math.inf)
        self._remote = Turns(connections)

    # What there is

    def __len__(self) -> int:
        return len(self._units)

    def __contains__(self, queue_id: QueueId) -> bool:
        return queue_id in self._units

    def units(self, queue_id: QueueId) -> tuple[Unit, ...]:
        """The units of a message; none when it is not here."""
        found = self._units.get(queue_id, ())
        return (found,) if isinstance(found, Unit) else found

    @property
    def connected(self) -> int:
        """Attempts in hand that need a connection."""
        return self._remote.running

    def at_rest(self, queue_id: QueueId) -> bool:
        """Is nothing of it under way: does all of it wait for a time, a person, or a destination that is paused?"""
        return all(
            unit.stage in (Stage.WAITING, Stage.HELD) or parked(unit)
            for unit in self.units(queue_id)
        )

    def held(self, queue_id: QueueId) -> bool:
        """Is it held?"""
        return queue_id in self._held

    def lanes(self) -> Iterator[Lane]:
        """All that are in use or paused, for a listing."""
        return iter(self._lanes.values())

    # In and out

    def add(
        self, queue_id: QueueId, positions: tuple[int, ...], sender: str, *, due: float, expires: float,
        attempts: int = 0, ours: bool = True,
    ) -> Unit:  # fmt: skip
        """Recipients of a message, due at a time. `ours`: `sender` is an account. `expires` is kept for the caller."""
        unit = Unit(queue_id, positions, sender, attempts, expires, ours=ours)
        self._units[queue_id] = (*self.units(queue_id), unit) if queue_id in self._units else unit
        self._set_time(unit, due)
        return unit

    def remind(self, queue_id: QueueId, when: float) -> None:
        """Let `advance` name this message at a time, if it is still here then."""
        self._reminders.at(queue_id, when)
        self._reminders.sweep(len(self._units))

    def remind_about(self, queue_id: QueueId, when: float) -> None:
        """As `remind`, for what is far away and what there is much of: up to a minute too early."""
        self._reminders.about(queue_id, when)
        self._reminders.sweep(len(self._units))

    def forget(self, queue_id: QueueId) -> None:
        """Nothing of this message is to be done any more; attempts in hand still end with `ended`."""
        for unit in self.units(queue_id):
            self._take_out(unit)
        self._units.pop(queue_id, None)
        self._held.pop(queue_id, None)

    def take_away(self, unit: Unit) -> None:
        """As `forget`, for one unit; those of the message that remain go on."""
        rest = tuple(other for other in self.units(unit.queue_id) if other is not unit)
        if rest:
            self._units[unit.queue_id] = rest if len(rest) > 1 else rest[0]
        else:
            self.forget(unit.queue_id)
        self._take_out(unit)

    def withdraw(self, unit: Unit) -> None:
        """Out of its lane into the caller's hands: `wait` or `take_away` must follow."""
        self._take_out(unit)

    def wait(self, unit: Unit, due: float) -> None:
        """Try these recipients again at a time (a unit that is in nobody's hands)."""
        if unit.stage is Stage.GONE and unit in self.units(unit.queue_id):
            self._set_time(unit, due)

    # Time

    def next_time(self) -> float | None:
        """When `advance` will have something to do; perhaps too early, never too late."""
        paused = self._pauses[0][0] if self._pauses else None
        times = (self._times.first(), paused, self._reminders.next_time())
        return min((time for time in times if time is not None), default=None)

    def advance(self, now: float) -> list[QueueId]:
        """Make ready what is due and open lanes whose pause is over; the messages that are to be remembered now.

        If much is due this is a part of it, and `next_time` stays in the past.
        """
        pauses = self._pauses
        for unit in self._times.take(now, _AT_ONCE):
            if unit.stage is Stage.HELD:
                self._held.pop(unit.queue_id, None)
            unit.stage = Stage.READY
            self._ready.push(unit)
        while pauses and pauses[0][0] <= now:
            until, _, lane = heapq.heappop(pauses)
            if lane.paused_until == until:
                self._open(lane)
        return self._reminders.due(now, _AT_ONCE)

    # The way to an attempt

    def take_ready(self) -> Unit | None:
        """The next one that needs destinations; `routed` must follow."""
        unit = self._ready.pop()
        if unit is not None:
            unit.stage = Stage.ROUTING
        return unit

    def routed(
        self, unit: Unit, groups: Sequence[tuple[Destination, tuple[int, ...]]], rest: tuple[int, ...] = ()
    ) -> Unit | None:
        """Its recipients by destination. `rest`: those that have a result without an attempt; `wait` or `take_away`
        must follow for the unit that they are from now on."""
        if unit.stage is not Stage.ROUTING:
            return None
        unit.stage = Stage.GONE
        if unit.queue_id in self._held:
            self._set_time(unit, None)
            return None
        parts: list[tuple[Destination | None, tuple[int, ...]]] = [*groups]
        if rest:
            parts.append((None, rest))
        (first, unit.positions), *more = parts
        units = [(unit, first)]
        for destination, positions in more:
            part = Unit(unit.queue_id, positions, unit.sender, unit.attempts, unit.expires, ours=unit.ours)
            units.append((part, destination))
        whole = (*(other for other in self.units(unit.queue_id) if other is not unit), *(part for part, _ in units))
        self._units[unit.queue_id] = whole if len(whole) > 1 else whole[0]
        aside = None
        for part, destination in units:
            if destination is None:
                aside = part
            else:
                self._join(part, destination)
        return aside

    def take(self) -> Unit | None:
        """The next attempt to make; its `lane` says where to. `ended` must follow."""
        unit = self._local.take() or self._remote.take()
        if unit is not None:
            unit.stage = Stage.RUNNING
        return unit

    def ended(self, unit: Unit, feedback: Feedback, now: float, *, reason: str = "") -> None:
        """An attempt has ended: `wait` or `take_away` must follow, unless the message was forgotten meanwhile.

        `reason` is kept for those that wait in the lane while it is paused.
        """
        lane = unit.lane
        if lane is None:
            raise ValueError("it is in no lane")
        unit.lane = None
        unit.stage = Stage.GONE
        turns = self._turns(lane)
        turns.ended(unit)
        if feedback is not Feedback.FINE:
            lane.reason = reason
        was_paused = lane.paused_until
        lane.end(unit, feedback, now, self._chance)
        if lane.paused_until is not None and lane.paused_until != was_paused:
            self._pause_number += 1
            heapq.heappush(self._pauses, (lane.paused_until, self._pause_number, lane))
        turns.offer(lane)
        self._let_go(lane)

    # What people ask for

    def hold(self, queue_id: QueueId, until: float | None = None) -> None:
        """Begin no attempt for it until a time, or until `release`. What is under way is held when it comes back."""
        if queue_id not in self._units:
            return
        self._held[queue_id] = until
        for unit in self.units(queue_id):
            if unit.stage not in UNDER_WAY:
                self._take_out(unit)
                self._set_time(unit, None)

    def release(self, queue_id: QueueId, due: float) -> None:
        """Hold it no longer; it is due at a time."""
        if queue_id in self._held:
            del self._held[queue_id]
            self.reschedule(queue_id, due)

    def reschedule(self, queue_id: QueueId, due: float) -> None:
        """Another time for all that is not under way; of a held message, nothing changes."""
        if queue_id in self._held:
            return
        for unit in self.units(queue_id):
            if unit.stage not in UNDER_WAY:
                self._take_out(unit)
                self._set_time(unit, due)

    def open_lane(self, destination: Destination) -> None:
        """End the pause of a destination: the next attempt is a probe."""
        lane = self._lanes.get(destination)
        if lane is not None and lane.paused_until is not None:
            self._open(lane)

    # Inside

    def _set_time(self, unit: Unit, due: float | None) -> None:
        """WAITING until `due`; HELD instead if the message is held."""
        unit.stage = Stage.WAITING
        if unit.queue_id in self._held:
            unit.stage, due = Stage.HELD, self._held[unit.queue_id]
        if due is None:
            return
        self._times.push(unit, due)

    def _take_out(self, unit: Unit) -> None:
        """Out of whatever it waits in."""
        if unit.stage is Stage.READY:
            self._ready.remove(unit)
        elif unit.stage is Stage.LANE and unit.lane is not None:
            lane, unit.lane = unit.lane, None
            self._turns(lane).remove(unit, lane)
            self._let_go(lane)
        if unit.due is not None:
            self._times.drop(unit)
        if unit.stage is not Stage.RUNNING:
            unit.stage = Stage.GONE

    def _join(self, unit: Unit, destination: Destination) -> None:
        lane = self._lanes.get(destination)
        if lane is None:
            lane = self._lanes[destination] = Lane(destination, self._concurrency, self._pause)
        unit.lane = lane
        unit.stage = Stage.LANE
        self._turns(lane).push(unit, lane)

    def _turns(self, lane: Lane) -> Turns:
        return self._local if lane.destination.local else self._remote

    def _open(self, lane: Lane) -> None:
        lane.paused_until = None
        self._turns(lane).offer(lane)
        self._let_go(lane)

    def _let_go(self, lane: Lane) -> None:
        if lane.idle:
            self._lanes.pop(lane.destination, None)
            self._turns(lane).forget(lane)


def parked(unit: Unit) -> bool:
    """Does it wait for a destination that does not answer?"""
    return unit.stage is Stage.LANE and unit.lane is not None and unit.lane.blocked
