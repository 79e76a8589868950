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
from mailserver.ports.delivery import DeliveryReport, Job
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


class Operators:
    """Four people at work on one queue, each with messages of their own that nobody else holds, releases or drops."""

    def __init__(self, queue: QueueHarness, chance: random.Random) -> None:
        self._queue = queue
        self._chance = chance
        self.messages: dict[QueueId, tuple[str, ...]] = {}
        self.held: set[QueueId] = set()
        self.dropped: set[QueueId] = set()
        self.wrong: list[str] = []
        self._deliver = queue.deliverer.deliver
        queue.deliverer.deliver = self._slowly  # type: ignore[method-assign]

    async def _slowly(self, job: Job) -> DeliveryReport:
        if job.queue_id in self.held | self.dropped:
            self.wrong.append(f"{job.queue_id} is tried although it was held or dropped")
        for _ in range(self._chance.randrange(20)):
            await asyncio.sleep(0)
        return await self._deliver(job)

    async def send(self) -> QueueId:
        """A message for two destinations, which are not ready for it at first."""
        number = len(self.messages)
        queue_id, to = QueueId(f"{number:016d}"), (f"p{number}@d{number % 3}.test", f"q{number}@e{number % 2}.test")
        self.messages[queue_id] = to
        for address in to:
            self._queue.deliverer.answers[address] = [DEFERRED] * self._chance.randrange(8) + [OK]
        await self._queue.queue.inject(queue_id, envelope_for(*to), content())
        return queue_id

    async def work(self, operations: int) -> None:
        """One of them."""
        own: list[QueueId] = []
        chance, control, clock = self._chance, self._queue.control, self._queue.clock
        for _ in range(operations):
            own = [queue_id for queue_id in own if queue_id not in self.dropped and queue_id in self._queue.queue.ids()]
            while len(own) < 6:
                own.append(await self.send())
            some, what = chance.sample(own, 2), chance.randrange(100)
            if what < 35:
                await control.retry(chance.sample(list(self.messages), 2))
            elif what < 55:
                self.held.update(await control.hold(some, clock.time() + 50 if what % 2 else None))
            elif what < 75:
                self.held.difference_update(some)
                await control.release(some)
            elif what < 90:
                await control.reschedule(chance.sample(list(self.messages), 2), clock.time() + chance.randrange(100))
            else:
                self.dropped.update(await control.drop(some[:1]))


async def test_g18_a_thousand_operations_while_mail_is_delivered(tmp_path: Path) -> None:
    """Nothing is lost, nothing comes twice, whatever is asked for meanwhile; what is held or dropped is left alone."""
    async with QueueHarness(tmp_path, delay_notice="0s").running() as queue:
        operators = Operators(queue, random.Random(18))
        await asyncio.gather(*(operators.work(250) for _ in range(4)))
        assert operators.wrong == []
        operators.held.clear()
        for _ in range(12):
            await queue.control.release(operators.messages)
            await queue.advance(86_400 / 4)
        assert len(queue.queue) == 0 and len(queue.runner.schedule) == 0 and queue.runner.attempts == 0
        assert not queue.runner.dropped and operators.wrong == []
        delivered = queue.deliverer.delivered
        assert len(delivered) == len(set(delivered)), "twice"
        wanted = {(queue_id, address) for queue_id, to in operators.messages.items() for address in to}
        assert {queue_id for queue_id, _ in wanted - set(delivered)} <= operators.dropped, "lost"
        assert len(operators.dropped) > 20 and len(delivered) > 100
        assert queue.reported == []
