"""G08, G17, G18: a clock that jumps, users and destinations that take more than their share, operators in a hurry.

G03 is in tests/unit/queue/test_runner.py, the schedule's part of G17 without a disk in test_schedule.py.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from mailserver.model.delivery import Feedback, Outcome
from mailserver.model.ids import QueueId
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.queue import DEFERRED, MESSAGE, OK, QueueHarness, envelope_for, quiet, result

ANNA = "anna@example.test"
DAY = 86400.0


def content() -> BytesContent:
    return BytesContent(MESSAGE)


def sent(queue: QueueHarness) -> int:
    """Messages that went to others than their sender."""
    return len([one for one in queue.deliverer.delivered if one[1] != ANNA])


@pytest.mark.parametrize("jump", [DAY, -DAY, 400 * DAY, -400 * DAY])
async def test_g08_the_clock_jumps(tmp_path: Path, jump: float) -> None:
    """No early expiry, no storm, no standstill."""
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.answers["bob@remote.test"] = [DEFERRED]
        await queue.inject("bob@remote.test")
        assert isinstance(queue.clock, FakeClock)
        queue.clock.set_wall(queue.clock.time() + jump)
        await queue.advance(10)
        assert len(queue.deliverer.jobs) == 1
        await queue.advance(321)
        assert len(queue.deliverer.jobs) == 2
        await queue.advance(1000)
        assert len(queue.deliverer.jobs) == 3
        assert queue.reported == [] and len(queue.queue) == 1


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_g08_the_clock_jumps_while_we_are_down(tmp_path: Path, jump: float) -> None:
    clock = FakeClock()
    async with QueueHarness(tmp_path, clock=clock).running() as queue:
        queue.deliverer.answers["bob@remote.test"] = [DEFERRED]
        await queue.inject("bob@remote.test")
    clock.set_wall(clock.time() + jump)
    async with QueueHarness(tmp_path, clock=clock).running() as queue:
        await queue.advance(331)
        assert queue.deliverer.to("bob@remote.test")


async def test_g17_a_dead_destination_costs_few_attempts_and_expires_with_its_words(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path, max_age="2h", delay_notice="0s").running() as queue:
        queue.deliverer.feedback["dead.test"] = Feedback.UNREACHABLE
        nothing = result(Outcome.DEFERRED, "4.4.1", "connection refused")
        for number in range(60):
            queue.deliverer.answers[f"p{number}@dead.test"] = [nothing]
        queue.deliverer.gate.clear()
        for number in range(60):
            await queue.queue.inject(
                QueueId(f"{number:016d}"), envelope_for(f"p{number}@dead.test"), content()
            )
        queue.deliverer.gate.set()
        await quiet(queue.runner)
        assert len(queue.deliverer.jobs) == 5
        assert sent(queue) == 0
        await queue.inject("fine@alive.test")
        assert sent(queue) == 1
        for _ in range(16):
            await queue.advance(500)
        dead = [job for job in queue.deliverer.jobs if job.destination.name == "dead.test"]
        assert len(dead) < 15
        assert len(queue.deliverer.to(ANNA)) == 60 and len(queue.queue) == 0
        assert all(b"connection refused" in queue.deliverer.contents[one] for one in queue.deliverer.to(ANNA))


async def test_g17_one_user_sends_much_and_another_little(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path, concurrency=2).running() as queue:
        queue.deliverer.gate.clear()
        for number in range(300):
            await queue.queue.inject(
                QueueId(f"{number:016d}"), envelope_for("x@far.test", sender="much@one.test"), content()
            )
        for number in range(10):
            await queue.queue.inject(
                QueueId(f"{number:015d}z"), envelope_for("y@far.test", sender="little@two.test"), content()
            )
        queue.deliverer.gate.set()
        await quiet(queue.runner)
        order = [address for _, address in queue.deliverer.delivered]
        assert len(order) == 310
        assert max(place for place, address in enumerate(order) if address == "y@far.test") < 30


async def test_g18_a_thousand_operations_while_mail_is_delivered(tmp_path: Path) -> None:
    """Nothing is lost, nothing comes twice, whatever is asked for meanwhile."""
    chance = random.Random(18)
    async with QueueHarness(tmp_path, delay_notice="0s").running() as queue:
        deliver = queue.deliverer.deliver

        async def slowly(job):  # type: ignore[no-untyped-def]
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
            return await deliver(job)

        queue.deliverer.deliver = slowly  # type: ignore[method-assign]
        ids = [QueueId(f"{number:016d}") for number in range(40)]
        for number, queue_id in enumerate(ids):
            address = f"p{number}@d{number % 3}.test"
            queue.deliverer.answers[address] = [DEFERRED] * chance.randrange(8) + [OK]
            await queue.queue.inject(queue_id, envelope_for(address), BytesContent(MESSAGE))
        dropped: set[QueueId] = set()
        control = queue.control
        for _ in range(1000):
            some = chance.sample(ids, 2)
            what = chance.randrange(100)
            if what < 40:
                await control.retry(some)
            elif what < 60:
                await control.hold(some, queue.clock.time() + 50 if what % 2 else None)
            elif what < 80:
                await control.release(some)
            elif what < 98:
                await control.reschedule(some, queue.clock.time() + chance.randrange(100))
            elif len(dropped) < 8:
                dropped.update(await control.drop(some[:1]))
        for _ in range(12):
            await control.release(ids)
            await queue.advance(86_400 / 4)
        assert len(queue.queue) == 0 and len(queue.runner.schedule) == 0 and queue.runner.attempts == 0
        delivered = [queue_id for queue_id, _ in queue.deliverer.delivered]
        assert len(delivered) == len(set(delivered)), "twice"
        assert set(ids) - set(delivered) <= dropped, "lost"
        assert queue.reported == []
