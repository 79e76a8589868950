"""Who begins an attempt next, and who has enough of them: at receivers that hold each connection for as long as they
can, with every number of senders and destinations (ATTACKS G15, G17)."""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from types import FrameType

import pytest

from mailserver.model.delivery import Destination, Feedback
from mailserver.model.ids import QueueId
from mailserver.queue.lanes import Lane
from mailserver.queue.schedule import Schedule
from mailserver.queue.unit import Stage, Unit


class Desk:
    """A schedule whose messages go where the test says. `running` are the attempts in hand."""

    def __init__(self, connections: int = 200, concurrency: int = 20) -> None:
        self.schedule = Schedule(concurrency=concurrency, connections=connections, chance=random.Random(1))
        self.running: list[Unit] = []
        self._number = 0
        self.now = 0.0

    def add(self, sender: str, *domains: str) -> None:
        """A message for each domain. Who has an @ is an account, everybody else a stranger."""
        for domain in domains:
            queue_id = QueueId(f"{self._number:016d}")
            self._number += 1
            self.schedule.add(queue_id, (0,), sender, due=self.now, expires=math.inf, ours="@" in sender)
            self.schedule.advance(self.now)
            while (unit := self.schedule.take_ready()) is not None:
                self.schedule.routed(unit, [(Destination(name=domain, local=domain == "local"), unit.positions)])

    def begin(self) -> list[Unit]:
        """All attempts that may begin now."""
        begun = []
        while (unit := self.schedule.take()) is not None:
            begun.append(unit)
        self.running += begun
        return begun

    def end(self, *units: Unit, feedback: Feedback = Feedback.FINE) -> None:
        for unit in units:
            self.running.remove(unit)
            self.schedule.ended(unit, feedback, self.now)
            self.schedule.take_away(unit)

    @property
    def counted(self) -> Counter[str]:
        """Attempts in hand by sender."""
        return Counter(unit.sender for unit in self.running)


def domains(name: str, count: int) -> list[str]:
    return [f"{name}{number}.test" for number in range(count)]


def test_strangers_have_half_and_our_users_find_the_other() -> None:
    """Two hundred domains of somebody whose servers never answer, and reports that go there."""
    desk = Desk()
    for number in range(200):
        desk.add(f"evil{number}.test", *domains(f"e{number}-", 5))
    desk.begin()
    assert len(desk.running) == 100
    for number in range(30):
        desk.add(f"user{number}@example.test", "far.test" if number < 5 else f"far{number}.test")
    ours = desk.begin()
    assert len(ours) == 30
    desk.end(desk.running[0])
    assert desk.begin() == [], "of what our users leave over, too, strangers leave half"
    desk.end(*ours)
    assert len(desk.begin()) == 1 and len(desk.running) == 100


def test_reports_do_not_keep_what_is_forwarded() -> None:
    desk = Desk()
    desk.add("", *domains("evil", 500))
    desk.begin()
    assert len(desk.running) == 50, "of the strangers' half, one sender has half"
    desk.add("forwarded.test", *domains("friend", 20))
    assert len(desk.begin()) == 20


def test_each_account_leaves_some_for_the_next() -> None:
    desk = Desk()
    shares = []
    for number in range(5):
        sender = f"user{number}@example.test"
        desk.add(sender, *domains(f"slow{number}-", 300))
        desk.begin()
        shares.append(desk.counted[sender])
    assert shares == [175, 13, 6, 3, 2]
    # As attempts end the shares become alike.
    for _ in range(400):
        most = desk.counted.most_common(1)[0][0]
        desk.end(next(unit for unit in desk.running if unit.sender == most))
        desk.begin()
    assert set(desk.counted.values()) == {35}


def test_one_account_alone_uses_nearly_all() -> None:
    desk = Desk()
    desk.add("list@example.test", *domains("list", 1000))
    desk.begin()
    assert desk.counted == {"list@example.test": 175}
    # Its servers answer, and it goes on.
    for _ in range(50):
        desk.end(desk.running[0])
        assert len(desk.begin()) == 1
    # Somebody else begins at once, and has the turns from then on.
    desk.add("anna@example.test", *domains("far", 1000))
    assert len(desk.begin()) == 13
    for _ in range(300):
        desk.end(desk.running[0])
        desk.begin()
    assert desk.counted["anna@example.test"] >= 80


def test_one_message_does_not_wait_for_ten_thousand_to_other_destinations() -> None:
    desk = Desk(connections=4)
    desk.add("many@example.test", *domains("list", 10_000))
    desk.begin()
    desk.add("few@example.test", "far.test")
    assert [unit.sender for unit in desk.begin()] == ["few@example.test"]


def test_with_one_connection_they_take_turns() -> None:
    desk = Desk(connections=1)
    for sender in ("a@example.test", "b@example.test", "evil.test", "worse.test"):
        desk.add(sender, *domains(sender[0], 4))
    order = ""
    while begun := desk.begin():
        order += "".join(unit.sender[0] for unit in begun)
        desk.end(*begun)
    assert order == "aebwaebwaebwaebw"


def test_a_destination_that_all_write_to_is_shared() -> None:
    desk = Desk(concurrency=2)
    for sender in "abc":
        desk.add(f"{sender}@example.test", *["far.test"] * 100)
    sent: Counter[str] = Counter()
    for _ in range(60):
        begun = desk.begin()
        assert len(begun) == 2
        sent.update(unit.sender for unit in begun)
        desk.end(*begun)
    assert set(sent.values()) == {40}


def test_who_has_enough_does_not_stand_in_the_way_at_a_destination() -> None:
    """far.test offers its room to one who may not use it any more: then somebody else gets it."""
    desk = Desk(connections=20, concurrency=1)
    desk.add("a@example.test", "far.test", "far.test")
    (first,) = desk.begin()
    desk.add("b@example.test", "far.test")
    assert desk.begin() == []
    desk.add("a@example.test", *domains("slow", 30))
    desk.begin()
    desk.add("c@example.test", *domains("tar", 30))
    desk.begin()
    assert desk.counted["a@example.test"] >= 20 - len(desk.running) + 1
    desk.end(first)
    assert "b@example.test" in [unit.sender for unit in desk.begin()]


def test_mailboxes_of_ours_need_no_share() -> None:
    desk = Desk(connections=2)
    desk.add("", *domains("evil", 10), *["local"] * 15)
    assert len([unit for unit in desk.begin() if unit.lane and unit.lane.destination.local]) == 15
    assert len(desk.running) == 16


def allowed(desk: Desk, connections: int) -> list[tuple[str, str]]:
    """Who could begin an attempt where, looked at one by one."""
    left = connections - len(desk.running)
    counted = desk.counted
    strangers = sum(number for sender, number in counted.items() if "@" not in sender)
    found = []
    for lane in desk.schedule.lanes():
        for sender, line in lane.lines.items():
            assert line.units
            bound: float = math.inf if left > max(1, connections // 8) else left
            if "@" not in sender.name:
                bound = min(connections // 2 - strangers, left if strangers < left else 0)
            if lane.room > 0 and counted[sender.name] < bound and left > 0:
                found.append((sender.name, lane.destination.name))
    return found


def check(desk: Desk) -> None:
    """What the parts say of themselves is so."""
    lanes: list[Lane] = list(desk.schedule.lanes())
    for lane in lanes:
        assert lane.waiting == sum(len(line.units) for line in lane.lines.values())
        assert lane.running == sum(unit.lane is lane for unit in desk.running)
        for sender, line in lane.lines.items():
            assert (line in lane.parked[sender.group.index]) == line.parked == (line not in sender.lines)
    for group in desk.schedule._remote._groups:
        assert group.running == sum(sender.running for sender in group.senders.values())
        for sender in group.senders.values():
            assert sender.all_lines == sum(sender in lane.lines for lane in lanes)
            assert sender.all_lines or sender.running, "nobody is remembered for nothing"
            assert (sender in group.rings.get(sender.running, {})) == bool(sender.lines)


@pytest.mark.parametrize("seed", range(12))
def test_nobody_waits_who_could_begin(seed: int) -> None:
    """Whatever happens: when no attempt begins, no sender has a share left and a destination with room."""
    chance = random.Random(seed)
    connections = chance.choice([1, 2, 7, 20])
    desk = Desk(connections=connections, concurrency=chance.choice([1, 3, 20]))
    senders = [f"user{n}@example.test" for n in range(chance.choice([1, 3, 12]))] + ["", "evil.test", "worse.test"]
    places = domains("d", chance.choice([1, 4, 30]))
    for _ in range(400):
        step = chance.randrange(10)
        if step < 4:
            desk.add(chance.choice(senders), *chance.choices(places, k=chance.randrange(1, 8)))
        elif step < 7 and desk.running:
            feedback = chance.choice([Feedback.FINE] * 6 + [Feedback.BUSY, Feedback.UNREACHABLE])
            desk.end(chance.choice(desk.running), feedback=feedback)
        elif step < 8:
            waiting = [u for lane in desk.schedule.lanes() for line in lane.lines.values() for u in line.units]
            for unit in chance.sample(waiting, min(3, len(waiting))):
                desk.schedule.forget(unit.queue_id)
        elif step < 9:
            desk.now += chance.choice([1, 100, 2000])
            desk.schedule.advance(desk.now)
        before = len(desk.running)
        begun = desk.begin()
        assert len(desk.running) == before + len(begun) <= connections
        strangers = sum(number for sender, number in desk.counted.items() if "@" not in sender)
        assert strangers <= max(1, connections // 2)
        if connections > 1:
            assert allowed(desk, connections) == []
        check(desk)
    for unit in list(desk.running):
        desk.end(unit)
        desk.begin()
    while desk.running or (due := desk.schedule.next_time()) is not None:
        desk.end(*desk.running)
        if not desk.begin() and (due := desk.schedule.next_time()) is not None:
            desk.now = max(desk.now, due)
            desk.schedule.advance(desk.now)
            desk.begin()
    assert len(desk.schedule) == 0 and list(desk.schedule.lanes()) == []
    assert not any(group.senders or group.rings for group in desk.schedule._remote._groups)


@pytest.mark.parametrize("kind", ["strangers", "one account", "accounts", "one destination"])
def test_the_work_for_a_message_does_not_depend_on_who_waits(kind: str) -> None:
    """Many senders that have enough, many destinations without room: none of them is looked at again and again."""

    def calls(waiting: int) -> float:
        desk = Desk(connections=40, concurrency=5)
        for number in range(waiting):
            sender = {"strangers": f"evil{number}.test", "accounts": f"user{number}@example.test"}.get(kind, "x@test")
            desk.add(sender, "dead.test" if kind == "one destination" else f"slow{number}.test", "dead.test")
        desk.begin()
        dead = [unit for unit in desk.running if unit.lane and unit.lane.destination.name == "dead.test"]
        desk.end(*dead, feedback=Feedback.UNREACHABLE)
        desk.begin()
        counted: Counter[str] = Counter()

        def profile(frame: FrameType, event: str, argument: object) -> None:
            counted[event] += 1

        sys.setprofile(profile)
        try:
            for number in range(100):
                desk.add(f"new{number % 3}@example.test", f"far{number % 7}.test")
                desk.end(*desk.begin())
        finally:
            sys.setprofile(None)
        return counted["call"] + counted["c_call"]

    assert calls(5000) <= calls(300) * 1.05


def test_held_and_dropped_ones_leave_their_lines() -> None:
    desk = Desk(concurrency=1)
    desk.add("a@example.test", "far.test", "far.test", "far.test")
    desk.add("b@example.test", "far.test")
    (first,) = desk.begin()
    desk.schedule.hold(QueueId(f"{1:016d}"))
    desk.schedule.forget(QueueId(f"{3:016d}"))
    check(desk)
    desk.end(first)
    (second,) = desk.begin()
    assert second.queue_id == f"{2:016d}"
    desk.schedule.release(QueueId(f"{1:016d}"), 0)
    assert [unit.stage for unit in desk.schedule.units(QueueId(f"{1:016d}"))] == [Stage.WAITING]


def test_destinations_that_are_gone_are_forgotten_while_there_is_always_somebody_else() -> None:
    """Nobody gets to look at what has room while senders with fewer attempts keep all of them in hand."""
    desk = Desk(connections=1, concurrency=1)
    for number in range(10):
        domain = f"dead{number}"
        first = len(desk.schedule)
        desk.add("first@here", domain)
        (probe,) = desk.begin()
        for sender in ("second@here", "third@here", "fourth@here"):
            desk.add(sender, domain)
        desk.end(probe, feedback=Feedback.UNREACHABLE)
        assert not desk.begin() and first == 0
        (lane,) = desk.schedule.lanes()
        assert lane.waiting == 3
        # Somebody else waits from before its pause ends to when it is gone.
        desk.add("other@here", "far", "farther")
        (other,) = desk.begin()
        desk.now += 1000.0
        desk.schedule.advance(desk.now)
        for unit in [unit for line in lane.lines.values() for unit in line.units]:
            desk.schedule.forget(unit.queue_id)
        desk.end(other)
        (other,) = desk.begin()
        assert not any(group.with_room for group in desk.schedule._remote._groups)
        desk.end(other)
