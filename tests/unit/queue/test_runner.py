"""From a message in the queue to its end: attempts, retries, expiry, reports; and what a restart finds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailserver.model.delivery import Destination, Feedback, Outcome, Result, Success
from mailserver.model.envelope import Notify
from mailserver.model.errors import StorageFailure
from mailserver.model.ids import QueueId, new_queue_id
from mailserver.queue.disk import DiskQueue
from mailserver.queue.record import Record
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.queue import DEFERRED, FAILED, MESSAGE, OK, QueueHarness, envelope_for, quiet, recipient, result
from tests.helpers.waiting import soon

ANNA = "anna@example.test"
HOUR, DAY = 3600.0, 86400.0


def content() -> BytesContent:
    return BytesContent(MESSAGE)


def sent(queue: QueueHarness) -> int:
    """Messages that went to others than their sender."""
    return len([one for one in queue.deliverer.delivered if one[1] != ANNA])


async def test_a_message_is_sent_at_once_and_leaves_the_queue(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue_id = await queue.inject("bob@remote.test")
        assert queue.deliverer.delivered == [(queue_id, "bob@remote.test")]
        assert len(queue.queue) == 0 and len(queue.runner.schedule) == 0
        (event,) = queue.attempted
        assert (event.result, event.attempt, event.destination, event.next_attempt) == (OK, 1, "remote.test", None)
    assert list((tmp_path / "items").iterdir()) == []


async def test_one_transaction_for_all_recipients_of_a_destination(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        await queue.inject("a@x.test", "b@y.test", "c@x.test")
        jobs = {job.destination.name: [str(r.address) for r in job.envelope.recipients] for job in queue.deliverer.jobs}
        assert jobs == {"x.test": ["a@x.test", "c@x.test"], "y.test": ["b@y.test"]}


async def test_what_is_deferred_is_tried_by_the_timetable_until_it_expires(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.answers["bob@remote.test"] = [DEFERRED]
        await queue.inject("bob@remote.test")
        (listed,) = await queue.queue.list()
        assert 270 <= listed.next_attempt - queue.clock.time() <= 330
        await queue.advance(269)
        assert len(queue.deliverer.jobs) == 1
        await queue.advance(62)
        assert [job.attempt for job in queue.deliverer.jobs] == [1, 2]
        for _ in range(5 * 24 * 4):
            await queue.advance(900)
        attempts = len([job for job in queue.deliverer.jobs if job.destination.name == "remote.test"])
        assert 30 <= attempts <= 40
        report = next(
            content for queue_id, content in queue.deliverer.contents.items() if b"Action: failed" in content
        )
        assert b"Status: 4.4.7" in report and b"450 4.7.1 come again" in report and b"5 days" in report
        assert len(queue.queue) == 0
        last = [event for event in queue.attempted if event.recipient == "bob@remote.test"][-1]
        assert last.result.outcome is Outcome.FAILED


async def test_the_delay_is_told_once(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.answers["bob@remote.test"] = [DEFERRED]
        await queue.inject("bob@remote.test")
        for _ in range(15):
            await queue.advance(900)
        assert queue.deliverer.to(ANNA) == []
        await queue.advance(900)
        assert b"Action: delayed" in queue.report_to()
        for _ in range(100):
            await queue.advance(900)
        assert [event.action for event in queue.reported] == ["delayed"]


async def test_no_delay_is_told_when_that_is_off(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path, delay_notice="0s").running() as queue:
        queue.deliverer.answers["bob@remote.test"] = [DEFERRED]
        await queue.inject("bob@remote.test")
        for _ in range(50):
            await queue.advance(HOUR)
        assert queue.reported == []


async def test_one_report_names_all_that_failed(tmp_path: Path) -> None:
    """ATTACKS F05: a thousand recipients, one report."""
    async with QueueHarness(tmp_path).running() as queue:
        people = [f"p{number}@d{number % 7}.test" for number in range(60)]
        for address in people[:50]:
            queue.deliverer.answers[address] = [FAILED]
        queue.deliverer.answers[people[55]] = [DEFERRED]
        await queue.inject(*people)
        report = queue.report_to()
        assert report.count(b"Action: failed") == 50 and len(report) < 50_000
        assert [len(event.recipients) for event in queue.reported] == [50]
        await queue.advance(400)
        assert len(queue.deliverer.to(ANNA)) == 1


async def test_a_destination_rests_for_what_was_said_of_it(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.answers["bad@x.test"] = [FAILED]
        queue.deliverer.answers["b@x.test"] = [DEFERRED]
        queue.deliverer.feedback["x.test"] = Feedback.BLOCKED
        await queue.inject("bad@x.test", "b@x.test")
        (lane,) = [lane for lane in queue.runner.schedule.lanes() if lane.destination.name == "x.test"]
        assert lane.paused_until is not None and lane.reason == DEFERRED.reply != FAILED.reply


async def test_a_failure_does_not_wait_for_ever_for_the_others(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.answers["bad@x.test"] = [FAILED]
        slow = asyncio.Event()
        deliver = queue.deliverer.deliver

        async def delayed(job):  # type: ignore[no-untyped-def]
            if job.destination.name == "slow.test":
                await slow.wait()
            return await deliver(job)

        queue.deliverer.deliver = delayed  # type: ignore[method-assign]
        await queue.queue.inject(QueueId("0" * 16), envelope_for("bad@x.test", "b@slow.test"), content())
        await asyncio.sleep(0.05)
        assert queue.reported == []
        assert isinstance(queue.clock, FakeClock)
        queue.clock.advance(301)
        queue.runner.wake()
        await soon(lambda: queue.reported)
        assert [event.action for event in queue.reported] == ["failed"]
        slow.set()
        await quiet(queue.runner)
        assert len(queue.deliverer.to(ANNA)) == 1 and len(queue.queue) == 0


async def test_a_report_that_fails_is_dropped_and_logged(tmp_path: Path) -> None:
    """ATTACKS F03."""
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.answers = {"bob@remote.test": [FAILED], ANNA: [FAILED]}
        with capture_logs() as logs:
            await queue.inject("bob@remote.test")
        assert [log["event"] for log in logs if log["log_level"] == "warning"] == ["double bounce dropped"]
        assert len(queue.queue) == 0 and len(queue.reported) == 1
        with capture_logs() as logs:
            await queue.inject("bob@remote.test", sender=None)
        assert "double bounce dropped" in [log["event"] for log in logs]
        assert len(queue.queue) == 0 and len(queue.reported) == 1


async def test_success_is_told_by_who_was_asked(tmp_path: Path) -> None:
    """RFC 3461 §5.2."""
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.answers = {
            "knows@x.test": [replace(OK, success=Success.PASSED_ON)],
            "ben@example.test": [replace(OK, success=Success.DELIVERED)],
        }
        people = ("knows@x.test", "relayed@x.test", "ben@example.test")
        await queue.inject(*(recipient(address, Notify.SUCCESS) for address in people), "silent@x.test")
        report = queue.report_to()
        assert b"Action: relayed" in report and b"Action: delivered" in report
        assert b"knows@x.test" not in report and b"silent@x.test" not in report
        assert len(queue.queue) == 0


async def test_never_means_never(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.answers["bob@remote.test"] = [FAILED]
        await queue.inject(recipient("bob@remote.test", Notify.NEVER))
        assert queue.reported == [] and len(queue.queue) == 0


async def test_a_restart_keeps_the_times(tmp_path: Path) -> None:
    clock = FakeClock()
    async with QueueHarness(tmp_path, clock=clock).running() as queue:
        queue.deliverer.answers["later@x.test"] = [DEFERRED]
        await queue.inject("later@x.test", "now@y.test")
        assert sent(queue) == 1
    async with QueueHarness(tmp_path, clock=clock).running() as queue:
        assert queue.deliverer.jobs == []
        await queue.advance(331)
        (job,) = queue.deliverer.jobs
        assert [str(r.address) for r in job.envelope.recipients] == ["later@x.test"] and job.attempt == 2
        assert len(queue.queue) == 0


async def test_no_reply_to_the_final_dot_is_a_possible_duplicate(tmp_path: Path) -> None:
    """ATTACKS G03, RFC 1047."""
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.answers["bob@remote.test"] = [result(Outcome.DEFERRED, "4.4.2", "connection lost"), OK]
        queue_id = await queue.inject("bob@remote.test")
        assert queue.queue.item(queue_id).recipients[0].doubtful
        await queue.advance(400)
        assert [job.doubtful for job in queue.deliverer.jobs] == [False, True]


async def test_killed_at_the_final_dot(tmp_path: Path) -> None:
    clock = FakeClock()
    first = QueueHarness(tmp_path, clock=clock)
    async with first.queue:
        task = asyncio.create_task(first.runner.run(lambda: None, first.stopping))
        reached = asyncio.Event()

        async def deliver(job):  # type: ignore[no-untyped-def]
            await job.about_to_end([0])
            reached.set()
            await asyncio.Event().wait()

        first.deliverer.deliver = deliver  # type: ignore[method-assign]
        await first.queue.inject(QueueId("1" * 16), envelope_for("bob@remote.test"), content())
        await asyncio.wait_for(reached.wait(), 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with QueueHarness(tmp_path, clock=clock).running() as queue:
        assert queue.deliverer.jobs == [], "it is not repeated at once"
        await queue.advance(400)
        assert [job.doubtful for job in queue.deliverer.jobs] == [True]
        assert len(queue.queue) == 0


async def test_a_fault_of_ours_defers(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.error = RuntimeError("bug")
        with capture_logs() as logs:
            await queue.inject("bob@remote.test")
        assert "queue.fault" in [log["event"] for log in logs]
        queue.deliverer.error = None
        await queue.advance(400)
        assert sent(queue) == 1


async def test_too_few_results_defer_the_rest(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        deliver = queue.deliverer.deliver

        async def short(job):  # type: ignore[no-untyped-def]
            report = await deliver(job)
            return replace(report, results=report.results[:1])

        queue.deliverer.deliver = short  # type: ignore[method-assign]
        await queue.inject("a@x.test", "b@x.test")
        assert [event.result.outcome for event in queue.attempted] == [Outcome.DELIVERED, Outcome.DEFERRED]
        assert len(queue.queue) == 1


async def test_the_route_may_be_the_result(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.routes = {"never.test": FAILED, "later.test": DEFERRED}
        await queue.inject("a@never.test", "b@later.test", "c@fine.test")
        assert sent(queue) == 1
        assert queue.report_to().count(b"Action: failed") == 1
        del queue.deliverer.routes["later.test"]
        await queue.advance(400)
        assert sent(queue) == 2 and len(queue.queue) == 0


class _Refusing(DiskQueue):
    """Its disk refuses to write records while `broken`."""

    broken = False

    async def record(self, queue_id: QueueId, *records: Record, durable: bool = True) -> None:
        await super().record(queue_id, *records, durable=durable)
        if self.broken and durable:
            raise StorageFailure("no")

    async def finish(self, queue_id: QueueId, *records: Record) -> None:
        if self.broken:
            self._mirror.apply(queue_id, records)
            raise StorageFailure("no")
        await super().finish(queue_id, *records)


async def test_what_cannot_be_written_down_is_not_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailserver.queue.settling.DISK_AGAIN", 0.01)
    async with QueueHarness(tmp_path, queue=_Refusing, delay_notice="0s").running() as queue:
        assert isinstance(queue.queue, _Refusing)
        queue.queue.broken = True
        queue.deliverer.answers["later@y.test"] = [DEFERRED, OK]
        for address in ("now@x.test", "later@y.test"):
            await queue.queue.inject(new_queue_id(), envelope_for(address), content())
        await soon(lambda: len(queue.deliverer.jobs) == 2)
        await asyncio.sleep(0.1)
        assert isinstance(queue.clock, FakeClock)
        queue.clock.advance(DAY)
        queue.runner.wake()
        await asyncio.sleep(0.05)
        assert len(queue.deliverer.jobs) == 2
        queue.queue.broken = False
        await quiet(queue.runner)
        # What was deferred was due long ago.
        assert len(queue.deliverer.jobs) == 3 and sent(queue) == 2 and len(queue.queue) == 0


async def test_at_the_end_attempts_in_hand_are_finished_and_no_new_ones_begin(tmp_path: Path) -> None:
    queue = QueueHarness(tmp_path)
    async with queue.queue:
        task = asyncio.create_task(queue.runner.run(lambda: None, queue.stopping))
        queue.deliverer.gate.clear()
        first = await queue.inject("a@x.test")
        queue.stopping.set()
        await asyncio.sleep(0)
        second = await queue.inject("b@x.test")
        assert not task.done()
        queue.deliverer.gate.set()
        await asyncio.wait_for(task, 5)
        assert [job.queue_id for job in queue.deliverer.jobs] == [first]
        assert [item.queue_id for item in queue.queue.items()] == [second]


async def test_local_and_remote_are_told_apart(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        await queue.inject("ben@example.test", "bob@remote.test")
        assert {job.destination for job in queue.deliverer.jobs} == {
            Destination(name="example.test", local=True), Destination(name="remote.test"),
        }  # fmt: skip


async def test_a_silent_result_is_kept_whole(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        answer = Result(
            outcome=Outcome.DEFERRED, status="4.2.2", reply="452 full", code=452, remote="mx.x.test",
            address="192.0.2.1", tls="TLSv1.3", policy="dane",
        )  # fmt: skip
        queue.deliverer.answers["a@x.test"] = [answer]
        queue_id = await queue.inject("a@x.test")
        assert queue.queue.item(queue_id).recipients[0].result == answer


async def test_short_waits_are_short_for_a_dead_destination_too(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path, retry=["2s"]).running() as queue:
        queue.deliverer.feedback["dead.test"] = Feedback.UNREACHABLE
        queue.deliverer.answers["a@dead.test"] = [DEFERRED]
        await queue.inject("a@dead.test")
        await queue.advance(2.3)
        assert len(queue.deliverer.jobs) == 2


async def test_f04_strangers_get_so_many_reports_in_an_hour(tmp_path: Path) -> None:
    """Each address, and all of them together; users get all. What is dropped is not made up for later."""
    async with QueueHarness(tmp_path, stranger_reports=2, stranger_reports_in_all=5).running() as queue:
        queue.deliverer.answers["bob@remote.test"] = [FAILED]

        async def fail(sender: str, times: int) -> int:
            before = len(queue.reported)
            for _ in range(times):
                await queue.inject("bob@remote.test", sender=sender)
            await queue.advance(1)
            return len(queue.reported) - before

        assert await fail("x@far.test", 4) == 2
        assert await fail("X+tag@far.test", 1) == 0
        assert await fail("y@far.test", 4) == 2
        assert await fail("z@far.test", 4) == 1
        assert await fail(ANNA, 7) == 7
        await queue.advance(2 * HOUR)
        assert await fail("x@far.test", 4) == 2
        assert len(queue.queue) == 0
