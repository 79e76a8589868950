"""What is due, in whose turn, and how a destination is treated: without time passing and without I/O."""

from __future__ import annotations

import random
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from types import FrameType

import pytest

from mailserver.model.delivery import Destination, Feedback
from mailserver.model.ids import QueueId
from mailserver.queue.lanes import FIRST_LIMIT, LONGEST_PAUSE
from mailserver.queue.schedule import Schedule, parked
from mailserver.queue.unit import Stage, Unit

REMOTE = Destination(name="remote.test")
OTHER = Destination(name="other.test")
LOCAL = Destination(name="local", local=True)


def make(concurrency: int = 20, connections: int = 200) -> Schedule:
    return Schedule(concurrency=concurrency, connections=connections, chance=random.Random(1))


def route_all(schedule: Schedule, to: Callable[[Unit], Destination] | Destination = REMOTE) -> None:
    while (unit := schedule.take_ready()) is not None:
        destination = to if isinstance(to, Destination) else to(unit)
        schedule.routed(unit, [(destination, unit.positions)])


def take_all(schedule: Schedule) -> list[Unit]:
    units = []
    while (unit := schedule.take()) is not None:
        units.append(unit)
    return units


def add(schedule: Schedule, count: int, sender: str = "a", first: int = 0, due: float = 0.0) -> None:
    for number in range(first, first + count):
        schedule.add(QueueId(f"{sender}{number}"), (0,), sender, due=due, expires=1e9)


def advance_all(schedule: Schedule, now: float) -> None:
    while (due := schedule.next_time()) is not None and due <= now:
        schedule.advance(now)


def fine(schedule: Schedule, units: list[Unit], now: float = 0.0) -> None:
    for unit in units:
        schedule.ended(unit, Feedback.FINE, now)
        schedule.take_away(unit)


def test_a_message_is_tried_when_it_is_due_and_not_before() -> None:
    schedule = make()
    schedule.add(QueueId("x"), (0, 1), "a", expires=1e9, due=100.0)
    assert schedule.next_time() == 100.0
    schedule.advance(99.9)
    assert schedule.take_ready() is None
    schedule.advance(100.0)
    unit = schedule.take_ready()
    assert unit is not None and unit.positions == (0, 1)
    assert schedule.next_time() is None


def test_recipients_of_one_message_go_different_ways() -> None:
    schedule = make()
    schedule.add(QueueId("x"), (0, 1, 2), "a", expires=1e9, due=0)
    advance_all(schedule, 0)
    unit = schedule.take_ready()
    assert unit is not None
    schedule.routed(unit, [(REMOTE, (0, 2)), (OTHER, (1,))])
    taken = {u.lane.destination.name: u for u in take_all(schedule) if u.lane}
    assert {name: u.positions for name, u in taken.items()} == {"remote.test": (0, 2), "other.test": (1,)}
    schedule.ended(taken["remote.test"], Feedback.FINE, 0)
    schedule.wait(taken["remote.test"], 300)
    schedule.ended(taken["other.test"], Feedback.FINE, 0)
    schedule.take_away(taken["other.test"])
    assert [u.positions for u in schedule.units(QueueId("x"))] == [(0, 2)]
    schedule.advance(300)
    assert schedule.take_ready() is taken["remote.test"]


def test_who_has_a_result_already_needs_no_attempt() -> None:
    schedule = make()
    schedule.add(QueueId("x"), (0, 1, 2), "a", expires=1e9, due=0)
    advance_all(schedule, 0)
    unit = schedule.take_ready()
    assert unit is not None
    rest = schedule.routed(unit, [(REMOTE, (1,))], (0, 2))
    assert rest is not None and rest is not unit
    assert not schedule.at_rest(QueueId("x"))
    fine(schedule, take_all(schedule))
    schedule.wait(rest, 300)
    assert schedule.at_rest(QueueId("x"))
    schedule.advance(300)
    unit = schedule.take_ready()
    assert unit is rest and unit.positions == (0, 2)
    assert schedule.routed(unit, [], (0, 2)) is unit
    schedule.take_away(unit)
    assert QueueId("x") not in schedule


def test_ten_mails_are_not_behind_fifty_thousand_of_another_user() -> None:
    """ATTACKS G17."""
    schedule = make(concurrency=5)
    add(schedule, 50_000, "many")
    add(schedule, 10, "few")
    advance_all(schedule, 0)
    order = []
    for _ in range(40):
        unit = schedule.take_ready()
        assert unit is not None
        order.append(unit.sender)
        schedule.routed(unit, [(REMOTE, unit.positions)])
    assert order[:20].count("few") == 10, "routing takes turns"
    route_all(schedule)
    sent: list[str] = []
    while len(sent) < 25:
        units = take_all(schedule)
        sent += [unit.sender for unit in units]
        fine(schedule, units)
    assert sent.count("few") == 10


def test_a_dead_destination_costs_one_attempt_a_pause() -> None:
    """ATTACKS G17: ten thousand messages for a domain that does not answer."""
    schedule = make()
    add(schedule, 10_000)
    add(schedule, 20, "b", first=20_000)
    advance_all(schedule, 0)
    route_all(schedule, lambda unit: OTHER if unit.sender == "b" else REMOTE)
    now, attempts, others = 0.0, 0, 0
    while now < 86_400:
        while units := take_all(schedule):
            for unit in units:
                assert unit.lane is not None
                dead = unit.lane.destination == REMOTE
                attempts += dead
                others += not dead
                schedule.ended(unit, Feedback.UNREACHABLE if dead else Feedback.FINE, now, reason="no route")
                if dead:
                    schedule.wait(unit, now + 400_000)
                else:
                    schedule.take_away(unit)
        following = schedule.next_time()
        assert following is not None and following > now
        now = following
        schedule.advance(now)
    assert others == 20
    # 5 at once in the beginning, then one after pauses of 1, 2, 4, 8, 16, 30, 30… minutes.
    assert attempts <= FIRST_LIMIT + 5 + 86_400 / (LONGEST_PAUSE * 0.9)
    assert attempts >= FIRST_LIMIT + 86_400 / (LONGEST_PAUSE * 1.1) - 2
    units = [unit for number in range(10_000) for unit in schedule.units(QueueId(f"a{number}"))]
    waiting = [unit for unit in units if parked(unit)]
    assert len(waiting) == 10_000 - attempts
    assert waiting[0].lane is not None and waiting[0].lane.reason == "no route"


def test_a_destination_that_lives_again_gets_everything() -> None:
    schedule = make()
    add(schedule, 100)
    advance_all(schedule, 0)
    route_all(schedule)
    for unit in take_all(schedule):
        schedule.ended(unit, Feedback.UNREACHABLE, 0)
        schedule.wait(unit, 1000)
    now = schedule.next_time()
    assert now is not None and 54 <= now <= 66
    schedule.advance(now)
    sizes = []
    while units := take_all(schedule):
        sizes.append(len(units))
        fine(schedule, units, now)
    assert sizes[:4] == [1, 2, 4, 8] and max(sizes) == 20 and sum(sizes) == 95


def test_concurrency_grows_while_all_is_well_and_halves_when_asked() -> None:
    schedule = make()
    add(schedule, 200)
    advance_all(schedule, 0)
    route_all(schedule)
    units = take_all(schedule)
    assert len(units) == FIRST_LIMIT
    fine(schedule, units)
    units = take_all(schedule)
    assert len(units) == 10
    fine(schedule, units)
    units = take_all(schedule)
    assert len(units) == 20
    for unit in units:  # they say it together: that is one event
        schedule.ended(unit, Feedback.BUSY, 0)
        schedule.wait(unit, 300)
    units = take_all(schedule)
    assert len(units) == 10
    fine(schedule, units)
    assert len(take_all(schedule)) == 10, "now it grows by one a round"


def test_a_destination_that_pushes_back_alone_is_left_alone() -> None:
    schedule = make(concurrency=1)
    add(schedule, 10)
    advance_all(schedule, 0)
    route_all(schedule)
    (unit,) = take_all(schedule)
    schedule.ended(unit, Feedback.BUSY, 0)
    schedule.wait(unit, 900)
    assert take_all(schedule) == []
    due = schedule.next_time()
    assert due is not None and 54 <= due <= 66


def test_blocked_pauses_that_destination_only() -> None:
    schedule = make()
    add(schedule, 40)
    advance_all(schedule, 0)
    route_all(schedule, lambda unit: REMOTE if int(unit.queue_id[1:]) % 2 else OTHER)
    for unit in take_all(schedule):
        if unit.lane and unit.lane.destination == REMOTE:
            schedule.ended(unit, Feedback.BLOCKED, 0)
            schedule.wait(unit, 900)
        else:
            fine(schedule, [unit])
    assert {unit.lane.destination for unit in take_all(schedule) if unit.lane} == {OTHER}


def test_connections_are_bounded_in_all_and_mailboxes_need_none() -> None:
    schedule = make(connections=7)
    for number in range(100):
        add(schedule, 1, f"sender{number}")
    advance_all(schedule, 0)
    names = iter(range(1000))
    route_all(schedule, lambda unit: Destination(name=f"d{next(names)}.test"))
    units = take_all(schedule)
    assert len(units) == 7 == schedule.connected
    add(schedule, 3, "l")
    advance_all(schedule, 0)
    route_all(schedule, LOCAL)
    assert len(take_all(schedule)) == 3
    fine(schedule, units)
    assert len(take_all(schedule)) == 7


def test_destinations_take_turns() -> None:
    schedule = make(connections=1)
    add(schedule, 10)
    advance_all(schedule, 0)
    route_all(schedule, lambda unit: REMOTE if int(unit.queue_id[1:]) < 8 else OTHER)
    order = []
    while units := take_all(schedule):
        order += [unit.lane.destination.name for unit in units if unit.lane]
        fine(schedule, units)
    assert order[:4] == ["remote.test", "other.test", "remote.test", "other.test"]


def test_hold_release_and_what_is_under_way() -> None:
    schedule = make()
    for name in ("wait", "lane", "run", "route"):
        schedule.add(QueueId(name), (0,), "a", expires=1e9, due=50 if name == "wait" else 0)
    advance_all(schedule, 0)
    by_name: dict[str, Unit] = {}
    while (unit := schedule.take_ready()) is not None:
        by_name[unit.queue_id] = unit
    schedule.routed(by_name["run"], [(REMOTE, (0,))])
    assert take_all(schedule) == [by_name["run"]]
    schedule.routed(by_name["lane"], [(REMOTE, (0,))])
    for name in ("wait", "lane", "run", "route"):
        schedule.hold(QueueId(name))
    schedule.routed(by_name["route"], [(REMOTE, (0,))])
    schedule.ended(by_name["run"], Feedback.FINE, 0)
    schedule.wait(by_name["run"], 300)
    schedule.advance(10_000)
    assert schedule.take_ready() is None and schedule.take() is None
    assert {u.stage for name in by_name for u in schedule.units(QueueId(name))} == {Stage.HELD}
    schedule.reschedule(QueueId("lane"), 10_000)
    schedule.advance(10_000)
    assert schedule.take_ready() is None, "another time does not release it"
    for name in ("wait", "lane", "run", "route"):
        schedule.release(QueueId(name), 10_000)
    schedule.advance(10_000)
    route_all(schedule)
    assert len(take_all(schedule)) == 4


def test_held_until_a_time() -> None:
    schedule = make()
    schedule.add(QueueId("x"), (0,), "a", expires=1e9, due=0)
    schedule.hold(QueueId("x"), 500)
    schedule.advance(499)
    assert schedule.take_ready() is None and schedule.held(QueueId("x"))
    schedule.advance(500)
    assert schedule.take_ready() is not None and not schedule.held(QueueId("x"))


def test_what_is_forgotten_while_it_is_under_way_ends_quietly() -> None:
    schedule = make()
    add(schedule, 3)
    advance_all(schedule, 0)
    first = schedule.take_ready()
    assert first is not None
    schedule.forget(first.queue_id)
    schedule.routed(first, [(REMOTE, (0,))])
    route_all(schedule)
    units = take_all(schedule)
    assert len(units) == 2
    schedule.forget(units[0].queue_id)
    schedule.ended(units[0], Feedback.FINE, 0)
    schedule.wait(units[0], 10)
    schedule.take_away(units[0])
    fine(schedule, units[1:])
    assert len(schedule) == 0 and schedule.connected == 0 and list(schedule.lanes()) == []


def test_reminders_are_for_what_is_still_here() -> None:
    schedule = make()
    add(schedule, 5, due=1000)
    for number in range(5):
        schedule.remind(QueueId(f"a{number}"), 10.0 + number)
    schedule.forget(QueueId("a1"))
    assert schedule.advance(12.0) == [QueueId("a0"), QueueId("a2")]
    assert schedule.advance(12.0) == []


def test_what_is_far_away_is_named_in_the_minute_before() -> None:
    schedule = make()
    add(schedule, 6, due=1e6)
    for number, when in enumerate((130.0, 179.9, 180.0, 5000.0, 125.0)):
        schedule.remind_about(QueueId(f"a{number}"), when)
    schedule.forget(QueueId("a4"))
    assert schedule.advance(119.9) == []
    assert schedule.next_time() == 120.0
    assert set(schedule.advance(120.0)) == {QueueId("a0"), QueueId("a1")}
    # Whoever was named too early says it again, and is named at the time.
    schedule.remind_about(QueueId("a0"), 130.0)
    assert schedule.advance(129.9) == [] and schedule.next_time() == 130.0
    assert schedule.advance(130.0) == [QueueId("a0")]
    assert schedule.advance(4979.9) == [QueueId("a2")]
    assert schedule.next_time() == 4980.0


def test_of_many_reminders_only_some_come_at_once() -> None:
    schedule = make()
    add(schedule, 5000, due=1e6)
    for number in range(5000):
        schedule.remind_about(QueueId(f"a{number}"), 100.0)
    named = []
    while (due := schedule.next_time()) is not None and due <= 70.0:
        named.append(schedule.advance(70.0))
    assert max(map(len, named)) <= 2000 and len(set().union(*named)) == 5000


def test_reminders_of_what_has_left_are_forgotten() -> None:
    """A message that is sent at once leaves nothing behind for the hours until it would have been late."""
    schedule = make()
    add(schedule, 10, "stays", due=1e6)
    schedule.remind_about(QueueId("stays1"), 14_400.0)
    for number in range(20_000):
        add(schedule, 1, "a", first=number, due=0.0)
        schedule.remind_about(QueueId(f"a{number}"), 14_400.0 + number % 100)
        schedule.remind(QueueId(f"a{number}"), 14_400.0)
        schedule.forget(QueueId(f"a{number}"))
    kept = schedule._reminders
    assert sum(map(len, kept._minutes.values())) + len(kept._exact) < 2000
    assert QueueId("stays1") in schedule.advance(14_400.0)


def test_another_time_leaves_no_heap_of_old_ones() -> None:
    schedule = make()
    add(schedule, 1000, due=10_000)
    for turn in range(20):
        for number in range(1000):
            schedule.reschedule(QueueId(f"a{number}"), 10_000 + turn)
    assert len(schedule._times) < 4000
    schedule.advance(10_018)
    assert schedule.take_ready() is None
    schedule.advance(10_019)
    route_all(schedule)
    assert len(take_all(schedule)) == FIRST_LIMIT


@pytest.mark.parametrize("feedback", [Feedback.FINE, Feedback.UNREACHABLE])
def test_the_work_for_a_message_does_not_depend_on_how_many_wait(feedback: Feedback) -> None:
    def calls(waiting: int) -> float:
        schedule = make()
        add(schedule, waiting, "w", due=1e6)
        for number in range(waiting):
            schedule.remind(QueueId(f"w{number}"), 1e6)
            schedule.remind_about(QueueId(f"w{number}"), 1e6)
        add(schedule, waiting, "l")
        advance_all(schedule, 0)
        route_all(schedule, OTHER)
        counted: Counter[str] = Counter()

        def profile(frame: FrameType, event: str, argument: object) -> None:
            counted[event] += 1

        sys.setprofile(profile)
        try:
            add(schedule, 100, "n")
            advance_all(schedule, 1.0)
            route_all(schedule)
            for _ in range(20):
                for unit in take_all(schedule):
                    schedule.ended(unit, feedback, 1.0)
                    schedule.wait(unit, 2e6)
            for number in range(100):
                schedule.reschedule(QueueId(f"n{number}"), 3e6)
                schedule.hold(QueueId(f"n{number}"))
                schedule.forget(QueueId(f"n{number}"))
        finally:
            sys.setprofile(None)
        return counted["call"] + counted["c_call"]

    assert calls(50_000) <= calls(500) * 1.05


def test_a_hundred_thousand_messages_fit_into_half_a_kilobyte_each() -> None:
    schedule = make()
    names = [QueueId(f"{number:016d}") for number in range(20_000)]
    tracemalloc.start()
    try:
        for name in names:
            schedule.add(name, (0,), "sender@example.test", due=float(len(schedule)), expires=1e9)
            schedule.remind_about(name, 1e6)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / len(names) < 280
