from __future__ import annotations

import asyncio
import math
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mailserver.model.errors import AlreadyExists, LimitReached, NotFound, StorageFailure
from mailserver.model.ids import AccountId, new_queue_id
from mailserver.ports.queue import MailQueue
from mailserver.queue.disk import DiskQueue
from mailserver.queue.record import Done, Dot, Hold, Try
from mailserver.queue.settings import QueueSettings
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.spool import ID, LATER, MESSAGE, SENT, content_of, envelope


async def reopened(root: Path) -> list[str]:
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        assert await queue.verify() == ()
        return [item.queue_id for item in await queue.list()]


async def test_it_is_the_queue_of_the_port(queue: DiskQueue) -> None:
    port: MailQueue = queue
    assert await port.list() == []


async def test_what_was_injected_is_listed_and_survives_a_restart(root: Path, clock: FakeClock) -> None:
    one, two = new_queue_id(), new_queue_id()
    async with DiskQueue(root, QueueSettings(), clock) as queue:
        await queue.inject(two, envelope("a@x.test", "b@x.test"), BytesContent(MESSAGE), b"Received: us\r\n")
        clock.advance(-5)
        await queue.inject(one, envelope(sender=None), BytesContent(MESSAGE))
        first = await queue.list()
    async with DiskQueue(root, QueueSettings(), clock) as queue:
        again = await queue.list()
        assert await queue.verify() == ()
    assert again == first
    assert [item.queue_id for item in again] == [one, two]
    assert again[0].sender == ""
    assert again[1].recipients == ("a@x.test", "b@x.test")
    assert again[1].size == len(MESSAGE) + len(b"Received: us\r\n")
    assert (again[1].arrived, again[1].next_attempt, again[1].attempts) == (1.8e9, 1.8e9, 0)
    assert content_of(root / "items" / two) == b"Received: us\r\n" + MESSAGE


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 7])
async def test_large_content_is_streamed(root: Path, queue: DiskQueue, size: int) -> None:
    body = os.urandom(size)
    queue_id = new_queue_id()
    await queue.inject(queue_id, envelope(), BytesContent(body), b"H: 1\r\n")
    assert content_of(root / "items" / queue_id) == b"H: 1\r\n" + body
    assert await queue.verify() == ()
    assert os.listdir(root / "tmp") == []


async def test_h13_modes_shut_others_out(root: Path, queue: DiskQueue) -> None:
    queue_id = new_queue_id()
    await queue.inject(queue_id, envelope(), BytesContent(MESSAGE))
    assert stat.S_IMODE((root / "items" / queue_id).stat().st_mode) == 0o600
    for directory in (root, root / "items", root / "tmp", root / "aside"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


async def test_one_id_is_one_message(root: Path, queue: DiskQueue) -> None:
    queue_id = new_queue_id()
    await queue.inject(queue_id, envelope(), BytesContent(MESSAGE))
    with pytest.raises(AlreadyExists):
        await queue.inject(queue_id, envelope(), BytesContent(b"other"))
    assert content_of(root / "items" / queue_id) == MESSAGE
    assert os.listdir(root / "tmp") == []


async def test_a_full_queue_refuses_for_the_time_being(root: Path, clock: FakeClock) -> None:
    async with DiskQueue(root, QueueSettings(max_items=2), clock) as queue:
        results = await asyncio.gather(
            *(queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE)) for _ in range(4)), return_exceptions=True
        )
        refused = [r for r in results if r is not None]
        assert len(await queue.list()) == 2
        assert [type(r) for r in refused] == [LimitReached, LimitReached]
        assert all(isinstance(r, LimitReached) and r.temporary and r.status.startswith("4.") for r in refused)


_OTHER = """
import asyncio, sys
from pathlib import Path
from mailserver.model.errors import StorageFailure
from mailserver.ports.clock import SystemClock
from mailserver.queue.disk import DiskQueue
from mailserver.queue.settings import QueueSettings

async def main():
    try:
        async with DiskQueue(Path(sys.argv[1]), QueueSettings(), SystemClock()) as queue:
            print("opened", len(await queue.list()), flush=True)
            sys.stdin.read()
    except StorageFailure as failure:
        print(failure.text)

asyncio.run(main())
"""


async def test_g07_a_second_process_is_refused_until_the_first_has_ended(root: Path, queue: DiskQueue) -> None:
    await queue.inject(ID, envelope(), BytesContent(MESSAGE))

    async def other() -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(sys.executable, "-c", _OTHER, str(root), stdin=pipe, stdout=pipe)

    second = await other()
    assert (await second.communicate())[0] == b"the queue is in use by another process\n"
    with pytest.raises(StorageFailure, match="another process"):
        async with DiskQueue(root, QueueSettings(), FakeClock()):
            pass
    await queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE))
    await queue.__aexit__(None, None, None)
    second = await other()
    assert second.stdout is not None
    assert await second.stdout.readline() == b"opened 2\n"
    second.kill()
    await second.communicate()
    await queue.__aenter__()
    assert len(await queue.list()) == 2, "the lock went with the process that was killed"


async def test_a_cancelled_sender_leaves_all_or_nothing(root: Path, queue: DiskQueue) -> None:
    for turns in range(12):
        for size in (10, 3 << 20):
            task = asyncio.ensure_future(queue.inject(new_queue_id(), envelope(), BytesContent(b"x" * size)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await queue.__aexit__(None, None, None)
    kept = sorted(item.queue_id for item in queue.items())
    assert sorted(os.listdir(root / "items")) == kept
    assert os.listdir(root / "tmp") == []
    await queue.__aenter__()
    assert sorted(item.queue_id for item in await queue.list()) == kept
    assert await queue.verify() == ()


async def test_nothing_is_taken_after_the_end(root: Path, queue: DiskQueue) -> None:
    await queue.__aexit__(None, None, None)
    with pytest.raises(StorageFailure):
        await queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE))
    await queue.__aenter__()


async def test_what_is_recorded_is_seen_at_once_and_after_a_restart(root: Path, queue: DiskQueue) -> None:
    await queue.inject(ID, envelope("a@x.test", "b@x.test"), BytesContent(MESSAGE))
    one = queue.record(ID, Dot(at=1.0, recipients=(0, 1)), durable=False)
    two = queue.record(ID, Done(at=2.0, recipients=(0,), result=SENT))
    three = queue.record(ID, Try(at=2.0, recipients=(1,), next_attempt=1.9e9, result=LATER), Hold(at=2.0))
    await asyncio.gather(one, two, three)
    item = queue.item(ID)
    assert item.waiting == (1,)
    assert (item.recipients[1].due, item.recipients[1].attempts) == (math.inf, 1)
    await queue.__aexit__(None, None, None)
    await queue.__aenter__()
    await queue.recovered()
    assert queue.item(ID) == item
    assert list(queue.items()) == [item]


async def test_messages_for_later_are_counted_by_account(root: Path, queue: DiskQueue, clock: FakeClock) -> None:
    anna = AccountId("anna@example.test")
    later = replace(envelope(), account=anna, hold_until=9e9, hold_request="for;60")
    one, two = new_queue_id(), new_queue_id()
    await queue.inject(ID, replace(later, hold_until=None), BytesContent(MESSAGE))
    assert queue.held_for(anna) == 0
    for queue_id in (one, two):
        await queue.inject(queue_id, later, BytesContent(MESSAGE))
    assert queue.held_for(anna) == 2
    await queue.finish(one)
    assert (queue.held_for(anna), queue.held_for(AccountId("ben@example.test"))) == (1, 0)
    await queue.__aexit__(None, None, None)
    async with DiskQueue(root, QueueSettings(), clock) as again:
        await again.recovered()
        assert again.held_for(anna) == 1
        assert again.item(two).envelope == later
        await again.quarantine(two, "?")
        assert again.held_for(anna) == 0
    await queue.__aenter__()


async def test_what_is_finished_is_gone(root: Path, queue: DiskQueue) -> None:
    await queue.inject(ID, envelope(), BytesContent(MESSAGE))
    await queue.record(ID, Dot(at=1.0, recipients=(0,)), durable=False)
    await queue.finish(ID, Done(at=2.0, recipients=(0,), result=SENT))
    assert os.listdir(root / "items") == []
    assert len(queue) == 0
    for refused in (queue.finish(ID), queue.record(ID, Hold(at=1.0)), queue.quarantine(ID, "?")):
        with pytest.raises(NotFound):
            await refused
    with pytest.raises(NotFound):
        queue.item(ID)


async def test_who_watches_is_told_of_every_item(root: Path, queue: DiskQueue) -> None:
    await queue.inject(ID, envelope(), BytesContent(MESSAGE))
    await queue.__aexit__(None, None, None)
    await queue.__aenter__()
    await queue.recovered()
    seen: list[str] = []
    undo = queue.watch(lambda item: seen.append(item.queue_id), lambda: seen.append("all"))
    second, third = new_queue_id(), new_queue_id()
    await queue.inject(second, envelope(), BytesContent(MESSAGE))
    assert seen == [ID, "all", second]
    undo()
    await queue.inject(third, envelope(), BytesContent(MESSAGE))
    assert seen == [ID, "all", second]
