"""What people do with waiting mail; ATTACKS G18."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.delivery import Feedback
from mailserver.model.ids import QueueId
from mailserver.queue.control import Filter, Status
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.queue import DEFERRED, FAILED, MESSAGE, OK, QueueHarness, envelope_for, quiet

LATER = "later@x.test"


async def deferred(queue: QueueHarness, *to: str) -> QueueId:
    """A message that waits."""
    for address in to or (LATER,):
        queue.deliverer.answers.setdefault(address, [DEFERRED, OK])
    return await queue.inject(*(to or (LATER,)))


async def test_retry_now(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue_id = await deferred(queue)
        assert await queue.control.retry([queue_id, QueueId("0" * 16)]) == [queue_id]
        await quiet(queue.runner)
        assert len(queue.deliverer.jobs) == 2 and len(queue.queue) == 0


async def test_hold_and_release_over_a_restart(tmp_path: Path) -> None:
    clock = FakeClock()
    async with QueueHarness(tmp_path, clock=clock).running() as queue:
        queue_id = await deferred(queue)
        assert await queue.control.hold([queue_id]) == [queue_id]
        assert queue.control.status(queue_id) is Status.HELD
        assert await queue.control.retry([queue_id]) == [], "it must be released first"
        await queue.advance(86_400)
        assert len(queue.deliverer.jobs) == 1
    async with QueueHarness(tmp_path, clock=clock).running() as queue:
        await queue.advance(86_400)
        assert queue.deliverer.jobs == [] and queue.reported == []
        assert await queue.control.select(Filter(status=Status.HELD)) == [queue_id]
        assert await queue.control.release([queue_id]) == [queue_id]
        await quiet(queue.runner)
        assert queue.deliverer.to(LATER) == [queue_id]


async def test_hold_until_a_time(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue_id = await deferred(queue)
        await queue.control.hold([queue_id], queue.clock.time() + 7200)
        await queue.advance(7199)
        assert len(queue.deliverer.jobs) == 1
        await queue.advance(1)
        assert queue.deliverer.to(LATER) == [queue_id]


DAY = 86_400.0


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("until", [None, 20 * DAY])
async def test_the_time_of_a_hold_does_not_count(tmp_path: Path, until: float | None, *, restart: bool) -> None:
    """After twenty days it is tried as long as a new one, and its sender is told that it is late as of a new one."""
    clock = FakeClock()
    begins = clock.time() + 20 * DAY
    harness = QueueHarness(tmp_path, clock=clock)
    async with harness.running() as queue:
        queue.deliverer.answers[LATER] = [DEFERRED]
        queue_id = await queue.inject(LATER)
        await queue.control.hold([queue_id], None if until is None else begins)
        for _ in range(20):
            await queue.advance(DAY)
        if until is None:
            assert len(queue.deliverer.jobs) == 1
            assert await queue.control.release([queue_id]) == [queue_id]
            await quiet(queue.runner)
        if not restart:
            await tried_for_five_days(queue, begins)
    if restart:
        async with QueueHarness(tmp_path, clock=clock).running() as queue:
            queue.deliverer.answers[LATER] = [DEFERRED]
            await tried_for_five_days(queue, begins)


async def tried_for_five_days(queue: QueueHarness, begins: float) -> None:
    assert queue.reported == []
    while queue.clock.time() < begins + 5 * DAY - 3600:
        await queue.advance(3600)
    assert [event.action for event in queue.reported] == ["delayed"] and len(queue.deliverer.to(LATER)) == 0
    assert {job.expires for job in queue.deliverer.jobs if job.arrived < job.expires - 6 * DAY} == {begins + 5 * DAY}
    for _ in range(3):
        await queue.advance(3600)
    assert [event.action for event in queue.reported] == ["delayed", "failed"] and len(queue.queue) == 0


async def test_what_waits_for_a_destination_that_is_left_alone_shows_its_time(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.feedback["dead.test"] = Feedback.UNREACHABLE
        for number in range(9):
            queue.deliverer.answers[f"p{number}@dead.test"] = [DEFERRED]
        queue.deliverer.gate.clear()
        ids = [QueueId(f"{number:016d}") for number in range(9)]
        for number, queue_id in enumerate(ids):
            await queue.queue.inject(queue_id, envelope_for(f"p{number}@dead.test"), BytesContent(MESSAGE))
        queue.deliverer.gate.set()
        await quiet(queue.runner)
        (lane,) = queue.runner.schedule.lanes()
        assert lane.paused_until is not None
        now = queue.clock.time()
        parked = [queue_id for queue_id in ids if queue.queue.item(queue_id).recipients[0].attempts == 0]
        assert len(parked) == 4
        ends = queue.runner.timetable.wall(lane.paused_until)
        for queue_id in parked:
            assert queue.control.status(queue_id) is Status.WAITING
            assert queue.control.next_attempt(queue.queue.item(queue_id)) == ends
        tried = queue.queue.item(next(queue_id for queue_id in ids if queue_id not in parked))
        assert queue.control.next_attempt(tried) == tried.recipients[0].next_attempt > now
        # While one of them is the probe, the others wait for what comes of it.
        queue.deliverer.gate.clear()
        await queue.advance(lane.paused_until - queue.clock.monotonic())
        rest = [queue_id for queue_id in parked if queue.control.status(queue_id) is Status.WAITING]
        assert len(rest) == 3
        assert {queue.control.next_attempt(queue.queue.item(queue_id)) for queue_id in rest} == {queue.clock.time()}


async def test_others_have_their_turn_while_all_messages_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.gate.clear()
        ids = [QueueId(f"{number:016d}") for number in range(500)]
        envelope = envelope_for("x@remote.test")
        await asyncio.gather(*(queue.queue.inject(one, envelope, BytesContent(MESSAGE)) for one in ids))
        longest = seen = 0
        looking = asyncio.create_task(queue.control.select(Filter(sender="*")))
        matches = queue.control._matches

        def counted(*arguments: Any) -> bool:
            nonlocal seen
            seen += 1
            return matches(*arguments)

        monkeypatch.setattr(queue.control, "_matches", counted)
        while not looking.done():
            before = seen
            await asyncio.sleep(0)
            longest = max(longest, seen - before)
        assert len(looking.result()) == seen == 500 and longest <= 100


async def test_another_time(tmp_path: Path) -> None:
    clock = FakeClock()
    async with QueueHarness(tmp_path, clock=clock).running() as queue:
        queue_id = await deferred(queue)
        await queue.control.reschedule([queue_id], clock.time() + 3000)
        await queue.advance(2000)
        assert len(queue.deliverer.jobs) == 1
    async with QueueHarness(tmp_path, clock=clock).running() as queue:
        await queue.advance(900)
        assert queue.deliverer.jobs == []
        await queue.advance(101)
        assert queue.deliverer.to(LATER) == [queue_id]


async def test_drop_tells_nobody(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue_id = await deferred(queue)
        assert await queue.control.drop([queue_id]) == [queue_id]
        await queue.advance(86_400)
        assert len(queue.queue) == 0 and queue.reported == [] and len(queue.deliverer.jobs) == 1


@pytest.mark.parametrize("end", [OK, DEFERRED, FAILED])
async def test_drop_while_an_attempt_is_in_hand(tmp_path: Path, end) -> None:  # type: ignore[no-untyped-def]
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.answers = {"busy@x.test": [end], LATER: [DEFERRED]}
        queue.deliverer.gate.clear()
        queue_id = await queue.inject("busy@x.test")
        assert queue.control.status(queue_id) is Status.ACTIVE
        await queue.control.drop([queue_id])
        queue.deliverer.gate.set()
        await quiet(queue.runner)
        await queue.advance(86_400)
        assert len(queue.queue) == 0 and len(queue.runner.schedule) == 0 and not queue.runner.dropped
        # A failure that is a fact is told; that it was dropped is not.
        assert len(queue.reported) == (end is FAILED)


async def test_drop_what_is_partly_under_way(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.answers[LATER] = [DEFERRED]
        queue_id = await queue.inject(LATER, "busy@y.test")
        assert await queue.control.select(Filter(recipient=LATER)) == [queue_id]
        queue.deliverer.gate.clear()
        other = await queue.inject(LATER)
        await queue.control.drop([queue_id, other])
        queue.deliverer.gate.set()
        await quiet(queue.runner)
        assert len(queue.queue) == 0 and queue.reported == []


async def test_flush_tries_what_was_left_alone(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        first = await deferred(queue)
        held = await deferred(queue, "held@x.test")
        await queue.control.hold([held])
        assert await queue.control.flush() == [first]
        await quiet(queue.runner)
        assert [item.queue_id for item in queue.queue.items()] == [held]


async def test_filters(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        first = await deferred(queue, "a@x.test", "b@y.test")
        queue.deliverer.answers["c@z.test"] = [DEFERRED]
        second = await queue.inject("c@z.test", sender=None)
        select = queue.control.select
        assert await select(Filter()) == [first, second]
        assert await select(Filter(sender="ANNA@*")) == [first]
        assert await select(Filter(sender="<>")) == [second]
        assert await select(Filter(recipient="?@y.test")) == [first]
        assert await select(Filter(domain="Z.test")) == [second]
        assert await select(Filter(domain="x.test", sender="<>")) == []
        assert await select(Filter(status=Status.WAITING)) == [first, second]
