"""What is asked for, or goes wrong, between two steps of a message: nothing is lost, stuck, or told twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.errors import LimitReached, NotFound
from mailserver.model.ids import QueueId
from mailserver.queue import reading, recovery
from mailserver.queue.control import Status
from mailserver.queue.disk import DiskQueue
from mailserver.queue.record import Done, Fail, Record, Told, Try
from mailserver.queue.spool import Spool
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.queue import DEFERRED, FAILED, MESSAGE, OK, QueueHarness, envelope_for, quiet
from tests.helpers.waiting import soon

ID = QueueId("0000000000000001")
LATER, ANNA = "later@x.test", "anna@example.test"


class _Slow(DiskQueue):
    """Records of a kind are written when the test says so."""

    kind: type[Record] | None = None
    reached: asyncio.Event
    going: asyncio.Event

    async def record(self, queue_id: QueueId, *records: Record, durable: bool = True) -> None:
        if self.kind is not None and any(isinstance(record, self.kind) for record in records):
            # In memory it counts at once, as in the real one.
            self._mirror.apply(queue_id, records)
            self.reached.set()
            await self.going.wait()
            records = ()
        await super().record(queue_id, *records, durable=durable)

    def slow(self, kind: type[Record]) -> None:
        self.kind, self.reached, self.going = kind, asyncio.Event(), asyncio.Event()


def slow_queue(harness: QueueHarness, kind: type[Record]) -> _Slow:
    assert isinstance(harness.queue, _Slow)
    harness.queue.slow(kind)
    return harness.queue


async def put(harness: QueueHarness, *to: str, queue_id: QueueId = ID) -> None:
    await harness.queue.inject(queue_id, envelope_for(*to), BytesContent(MESSAGE))


async def test_dropped_while_its_result_is_written_down(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path, queue=_Slow).running() as queue:
        queue.deliverer.answers[LATER] = [DEFERRED, OK]
        disk = slow_queue(queue, Try)
        await put(queue, LATER)
        await asyncio.wait_for(disk.reached.wait(), 5)
        assert await queue.control.drop([ID]) == [ID]
        disk.going.set()
        await quiet(queue.runner)
        assert len(queue.queue) == 0 and len(queue.runner.schedule) == 0 and not queue.runner.dropped
        await queue.advance(86_400)
        assert queue.deliverer.delivered == [] and queue.reported == []


async def test_dropped_while_the_result_of_another_recipient_is_written_down(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path, queue=_Slow).running() as queue:
        queue.deliverer.answers |= {LATER: [DEFERRED], "second@y.test": [DEFERRED, OK]}
        await put(queue, LATER, "second@y.test")
        await quiet(queue.runner)
        disk = slow_queue(queue, Done)
        await queue.control.retry([ID])
        await asyncio.wait_for(disk.reached.wait(), 5)
        await soon(lambda: len(queue.deliverer.jobs) == 4 and len(queue.runner._tasks) == 1)
        assert await queue.control.drop([ID]) == [ID]
        disk.going.set()
        await quiet(queue.runner)
        assert len(queue.queue) == 0 and not queue.runner.dropped and queue.reported == []


async def test_dropped_while_a_plugin_looks_for_its_way(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        asked, going = asyncio.Event(), asyncio.Event()
        destination = queue.deliverer.destination

        async def slow(*arguments: Any) -> Any:
            asked.set()
            await going.wait()
            return await destination(*arguments)

        queue.deliverer.destination = slow  # type: ignore[method-assign,assignment]
        await put(queue, LATER)
        await asyncio.wait_for(asked.wait(), 5)
        assert await queue.control.drop([ID]) == [ID]
        going.set()
        await quiet(queue.runner)
        assert queue.deliverer.jobs == [] and len(queue.queue) == 0 and not queue.runner.dropped


async def test_held_while_a_release_is_written_down(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        queue.deliverer.answers[LATER] = [DEFERRED, OK]
        await put(queue, LATER)
        await quiet(queue.runner)
        await queue.control.hold([ID])
        await asyncio.gather(queue.control.release([ID]), queue.control.hold([ID]))
        await quiet(queue.runner)
        assert queue.control.status(ID) is Status.HELD
        assert queue.queue.item(ID).recipients[0].held_until > queue.clock.time()
        await queue.advance(86_400)
        assert queue.deliverer.delivered == []


async def test_a_full_queue_still_has_room_for_reports(tmp_path: Path) -> None:
    """Otherwise nothing would leave it, and nothing could come in."""
    async with QueueHarness(tmp_path, max_items=2).running() as queue:
        queue.deliverer.gate.clear()
        queue.deliverer.answers |= {"a@x.test": [FAILED], "b@y.test": [FAILED]}
        for number, address in enumerate(("a@x.test", "b@y.test")):
            await put(queue, address, queue_id=QueueId(f"{number:016d}"))
        with pytest.raises(LimitReached):
            await put(queue, "c@z.test", queue_id=QueueId("f" * 16))
        queue.deliverer.gate.set()
        await quiet(queue.runner)
        assert len(queue.deliverer.to(ANNA)) == 2 and len(queue.queue) == 0


async def test_a_message_without_results_is_tried_again(tmp_path: Path) -> None:
    async with QueueHarness(tmp_path).running() as queue:
        deliver = queue.deliverer.deliver

        async def nothing(job: Any) -> Any:
            raise NotFound("an account, perhaps")

        queue.deliverer.deliver = nothing  # type: ignore[method-assign]
        await put(queue, LATER)
        await quiet(queue.runner)
        assert len(queue.runner.schedule) == 1
        queue.deliverer.deliver = deliver  # type: ignore[method-assign]
        await queue.advance(400)
        assert queue.deliverer.to(LATER) == [ID]


def held_back(monkeypatch: pytest.MonkeyPatch, wanted: Callable[[str], bool]) -> threading.Event:
    """The start reads those files only when the event says so."""
    go = threading.Event()

    def read(spool: Spool, names: Sequence[str]) -> Any:
        if any(map(wanted, names)):
            assert go.wait(20)
        return reading.read_items(spool, names)

    monkeypatch.setattr(recovery, "_SLICE", 1)
    monkeypatch.setattr(recovery, "read_items", read)
    return go


async def cut_off_before_told(root: Path, clock: FakeClock) -> None:
    """A report is in the queue, and its message does not know it; another recipient of it waits."""
    queue = QueueHarness(root, clock=clock, queue=_Slow)
    queue.deliverer.answers |= {"bad@x.test": [FAILED], LATER: [DEFERRED]}
    async with queue.queue:
        task = asyncio.create_task(queue.runner.run(lambda: None, queue.stopping))
        disk = slow_queue(queue, Told)
        await put(queue, "bad@x.test", LATER)
        await asyncio.wait_for(disk.reached.wait(), 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(list((root / "items").iterdir())) == 2


async def test_nothing_new_is_reported_before_all_reports_on_the_disk_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    await cut_off_before_told(tmp_path, clock)
    go = held_back(monkeypatch, lambda name: name != ID)
    queue = QueueHarness(tmp_path, clock=clock)
    queue.deliverer.answers[LATER] = [FAILED]
    async with queue.running():
        await queue.advance(400)
        assert [str(one.address) for job in queue.deliverer.jobs for one in job.envelope.recipients] == [LATER]
        go.set()
        await queue.queue.recovered()
        await quiet(queue.runner)
        reports = [queue.deliverer.contents[report] for report in queue.deliverer.to(ANNA)]
        for address in (b"bad@x.test", LATER.encode()):
            assert sum(b"Final-Recipient: rfc822; " + address in report for report in reports) == 1
        assert len(queue.queue) == 0


async def test_what_is_read_late_is_finished_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it has its results, and the disk refused to read it when the process began."""
    async with DiskQueue(tmp_path, QueueHarness(tmp_path).settings, FakeClock()) as disk:
        await disk.inject(ID, envelope_for("bad@x.test"), BytesContent(MESSAGE))
        await disk.record(ID, Fail(at=2.0, recipients=(0,), result=FAILED))
    monkeypatch.setattr(recovery, "_AGAIN", 0.01)
    refused = [True]

    def read(spool: Spool, names: Sequence[str]) -> Any:
        if refused[0]:
            return [(name, reading.Unreadable(name=name, error=OSError(24, "no"))) for name in names]
        return reading.read_items(spool, names)

    monkeypatch.setattr(recovery, "read_items", read)
    queue = QueueHarness(tmp_path)
    async with queue.running():
        await queue.queue.recovered()
        refused[0] = False
        await soon(lambda: queue.deliverer.to(ANNA))
        assert len(queue.deliverer.to(ANNA)) == 1
        await quiet(queue.runner)
        assert len(queue.queue) == 0

