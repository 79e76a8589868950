from __future__ import annotations

import asyncio
import errno
import gc
import math
import os
import stat
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Outcome, Result
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.errors import AlreadyExists, LimitReached, NotFound, StorageFailure
from mailserver.model.ids import AccountId, QueueId, new_queue_id
from mailserver.ports.queue import MailQueue
from mailserver.queue.codec import encode, read_new
from mailserver.queue.disk import DiskQueue
from mailserver.queue.record import Done, Dot, Fail, Hold, Record, Try
from mailserver.queue.settings import QueueSettings
from mailserver.queue.spool import GroupSync, Spool
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


def envelope(*recipients: str, sender: str | None = "s@example.test") -> Envelope:
    return Envelope(
        sender=None if sender is None else EmailAddress.parse(sender),
        recipients=tuple(Recipient(address=EmailAddress.parse(r)) for r in recipients or ("r@other.test",)),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".server" / "queue"


@pytest.fixture
async def queue(root: Path, clock: FakeClock) -> AsyncIterator[DiskQueue]:
    async with DiskQueue(root, QueueSettings(), clock) as queue:
        yield queue


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def reopened(root: Path) -> list[str]:
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        assert await queue.verify() == ()
        return [item.queue_id for item in await queue.list()]


def content_of(path: Path) -> bytes:
    data = path.read_bytes()
    new, start = read_new(data, whole=True)
    return data[start : start + new.size]


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


async def test_an_item_that_appeared_on_the_disk_is_not_overwritten(root: Path, queue: DiskQueue) -> None:
    queue_id = new_queue_id()
    (root / "items" / queue_id).write_bytes(b"theirs")
    with pytest.raises(AlreadyExists):
        await queue.inject(queue_id, envelope(), BytesContent(MESSAGE))
    assert (root / "items" / queue_id).read_bytes() == b"theirs"


async def test_a_full_queue_refuses_for_the_time_being(root: Path, clock: FakeClock) -> None:
    async with DiskQueue(root, QueueSettings(max_items=2), clock) as queue:
        results = await asyncio.gather(
            *(queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE)) for _ in range(4)), return_exceptions=True
        )
        refused = [r for r in results if r is not None]
        assert len(await queue.list()) == 2
        assert [type(r) for r in refused] == [LimitReached, LimitReached]
        assert all(isinstance(r, LimitReached) and r.temporary and r.status.startswith("4.") for r in refused)


async def test_g07_a_second_process_is_refused(root: Path, queue: DiskQueue) -> None:
    with pytest.raises(StorageFailure, match="another process"):
        async with DiskQueue(root, QueueSettings(), FakeClock()):
            pass
    assert await queue.list() == []


async def test_a_cancelled_sender_leaves_all_or_nothing(root: Path, queue: DiskQueue) -> None:
    for turns in range(12):
        for size in (10, 3 << 20):
            task = asyncio.ensure_future(queue.inject(new_queue_id(), envelope(), BytesContent(b"x" * size)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await queue.__aexit__(None, None, None)
    listed = sorted(item.queue_id for item in await queue.list())
    assert sorted(os.listdir(root / "items")) == listed
    assert os.listdir(root / "tmp") == []
    await queue.__aenter__()
    assert sorted(item.queue_id for item in await queue.list()) == listed
    assert await queue.verify() == ()


def always(*_: object) -> bool:
    return True


def failing(call: str, error: int, monkeypatch: pytest.MonkeyPatch, when: Callable[..., bool] = always) -> None:
    real = getattr(os, call)

    def fail(*args: object, **named: object) -> object:
        if when(*args):
            raise OSError(error, os.strerror(error))
        return real(*args, **named)

    monkeypatch.setattr(os, call, fail)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.EIO])
@pytest.mark.parametrize("call", ["open", "pwrite", "fsync", "rename", "stat"])
async def test_g05_every_failing_call_refuses_and_keeps_nothing(
    root: Path, queue: DiskQueue, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    for size in (10, 2 << 20):
        with monkeypatch.context() as patch:
            failing(call, error, patch)
            with pytest.raises(StorageFailure) as failure:
                await queue.inject(new_queue_id(), envelope(), BytesContent(b"x" * size))
        assert failure.value.temporary
        assert os.strerror(error) not in failure.value.text
    assert await queue.list() == []
    await queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE))
    await queue.__aexit__(None, None, None)
    await queue.__aenter__()
    assert len(await queue.list()) == 1
    assert os.listdir(root / "tmp") == []


async def test_g04_a_failed_sync_of_the_directory_is_never_tried_again(
    root: Path, queue: DiskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing("fsync", errno.EIO, patch, lambda fd: stat.S_ISDIR(os.fstat(fd).st_mode))
        with pytest.raises(StorageFailure):
            await queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE))
    assert os.listdir(root / "items") == []
    with pytest.raises(StorageFailure):
        await queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE))
    assert await queue.list() == []
    assert os.listdir(root / "items") == []
    await queue.__aexit__(None, None, None)
    await queue.__aenter__()
    await queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE))
    assert len(await queue.list()) == 1


def test_one_sync_serves_all_who_came_before_it_began() -> None:
    entered, go = threading.Event(), threading.Event()
    syncs = []

    def sync() -> None:
        syncs.append(1)
        if len(syncs) == 1:
            entered.set()
            assert go.wait(10)

    group = GroupSync(sync)
    threads = [threading.Thread(target=group) for _ in range(8)]
    threads[0].start()
    assert entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(group._condition._waiters) < 7:  # type: ignore[attr-defined]
        threading.Event().wait(0.001)
    go.set()
    for thread in threads:
        thread.join(10)
    # The seven came while the first sync ran: it may have missed their renames, so one more, for all of them.
    assert len(syncs) == 2


async def test_memory_is_below_one_kilobyte_an_item(queue: DiskQueue) -> None:
    for _ in range(20):
        await queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for start in range(0, 400, 50):
        await asyncio.gather(
            *(
                queue.inject(
                    new_queue_id(),
                    envelope(f"some.recipient{start + i}@destination{i}.test", sender=f"some.sender{i}@example.test"),
                    BytesContent(MESSAGE),
                )
                for i in range(50)
            )
        )
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used / 400 < 1024


@pytest.fixture
def item_with_records(tmp_path: Path) -> bytes:
    return asyncio.run(make_item(tmp_path / "made"))


ID = QueueId("0123456789abcdef")
LATER = Result(outcome=Outcome.DEFERRED, status="4.2.1", reply="450 4.2.1 later")
NO = Result(outcome=Outcome.FAILED, status="5.1.1", reply="550 no")
RECORDS: list[Record] = [
    Try(at=1.0, recipients=(0, 1), next_attempt=1.9e9, result=LATER),
    Fail(at=2.0, recipients=(1,), result=NO),
    Dot(at=3.0, recipients=(0,)),
]


async def make_item(root: Path) -> bytes:
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        await queue.inject(ID, envelope("a@x.test", "b@x.test"), BytesContent(MESSAGE))
    return (root / "items" / ID).read_bytes() + b"".join(map(encode, RECORDS))


async def test_records_are_added_up_at_start(root: Path, item_with_records: bytes) -> None:
    (root / "items").mkdir(parents=True)
    (root / "items" / ID).write_bytes(item_with_records)
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        (item,) = await queue.list()
    assert item.recipients == ("a@x.test",)
    assert (item.attempts, item.next_attempt, item.last_error) == (1, 1.9e9, "550 no")


async def test_g06_cut_at_every_octet(root: Path, item_with_records: bytes) -> None:
    """The item is whole with the records before the cut, or it is set aside; its neighbour never notices."""
    neighbour = new_queue_id()
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        await queue.inject(neighbour, envelope(), BytesContent(MESSAGE))
    content_end = len(item_with_records) - sum(len(encode(r)) for r in RECORDS)
    spool = Spool(root)
    try:
        for cut in range(len(item_with_records)):
            (root / "items" / ID).write_bytes(item_with_records[:cut])
            found, aside = spool.recover()
            items = {one.item.queue_id: one for one in found}
            assert items.pop(QueueId(neighbour)).cut == 0
            if cut < content_end:
                assert items == {}
                assert [thing.name for thing in aside] == [f"items/{ID}"]
                continue
            sound = (root / "items" / ID).read_bytes()
            assert item_with_records.startswith(sound)
            assert items[ID].cut == cut - len(sound)
            again = {one.item.queue_id: one for one in spool.recover()[0]}
            assert (again[ID].item, again[ID].cut) == (items[ID].item, 0)
    finally:
        spool.close()


@given(data=st.data())
@hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_g06_a_flipped_bit_anywhere(tmp_path: Path, item_with_records: bytes, data: st.DataObject) -> None:
    root = tmp_path / "flip"
    spool = Spool(root)
    try:
        at = data.draw(st.integers(0, len(item_with_records) - 1))
        flipped = bytearray(item_with_records)
        flipped[at] ^= 1 << data.draw(st.integers(0, 7))
        (root / "items" / ID).write_bytes(flipped)
        tail = sum(len(encode(r)) for r in RECORDS)
        start = len(item_with_records) - tail - len(MESSAGE)
        found, aside = spool.recover()
        if start <= at < start + len(MESSAGE):
            assert (len(found), aside) == (1, [])
            assert [wrong.reason for wrong in spool.verify()] == ["the content is damaged"]
        elif at >= len(item_with_records) - len(encode(RECORDS[-1])):
            assert [item.cut for item in found] == [len(encode(RECORDS[-1]))]
        else:
            assert found == []
            assert [thing.name for thing in aside] == [f"items/{ID}"]
        for name in os.listdir(root / "items"):
            (root / "items" / name).unlink()
    finally:
        spool.close()


async def test_g06_foreign_things_are_set_aside_and_others_run(root: Path) -> None:
    ours = new_queue_id()
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        await queue.inject(ours, envelope(), BytesContent(MESSAGE))
    secret = root.parent / "secret"
    secret.write_bytes(b"not mail")
    items = root / "items"
    (items / "README").write_bytes(b"hello")
    (items / new_queue_id()).mkdir()
    (items / new_queue_id()).symlink_to(secret)
    os.mkfifo(items / new_queue_id())
    (items / new_queue_id()).write_bytes(b"")
    (items / ("n" * 255)).write_bytes(b"")
    (root / "tmp" / new_queue_id()).write_bytes(b"half a mess")
    (root / "tmp" / "strange\n").write_bytes(b"?")
    (items / os.fsdecode(b"\xff\xfe")).write_bytes(b"x")
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        assert [item.queue_id for item in await queue.list()] == [ours]
        assert len(queue.set_aside) == 8
        assert all("\n" not in thing.name for thing in queue.set_aside)
    assert os.listdir(items) == [ours]
    assert os.listdir(root / "tmp") == []
    assert len(os.listdir(root / "aside")) == 8
    assert secret.read_bytes() == b"not mail"
    assert await reopened(root) == [ours]


async def test_the_name_must_be_the_id_in_the_record(root: Path) -> None:
    await make_item(root)
    os.rename(root / "items" / ID, root / "items" / "0123456789abcdeg")
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        assert await queue.list() == []
        assert "do not agree" in queue.set_aside[0].reason


async def test_nothing_is_taken_after_the_end(root: Path, queue: DiskQueue) -> None:
    await queue.__aexit__(None, None, None)
    with pytest.raises(StorageFailure):
        await queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE))
    await queue.__aenter__()


SENT = Result(outcome=Outcome.DELIVERED, status="2.0.0", reply="250 2.0.0 ok")


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


@pytest.mark.parametrize("size", [0, 1, 5000, 1 << 20, (1 << 20) + 1, (3 << 20) + 7])
async def test_content_is_read_by_several_at_once(queue: DiskQueue, size: int) -> None:
    body = os.urandom(size)
    await queue.inject(ID, envelope(), BytesContent(body), b"H: 1\r\n")
    whole = b"H: 1\r\n" + body
    async with queue.content(ID) as one, queue.content(ID) as two:
        assert (one.size, two.head()) == (len(whole), whole[: 1 << 20])
        step, parts = 700_000, []
        for start in range(0, len(whole), step):
            parts.append(await one.read(start, step))
            assert await two.read(max(0, len(whole) - start - 9), 9) == whole[max(0, len(whole) - start - 9) :][:9]
        assert b"".join(parts) == whole
        assert await one.read(len(whole), 5) == b""


async def test_who_watches_is_told_of_every_item(root: Path, queue: DiskQueue) -> None:
    await queue.inject(ID, envelope(), BytesContent(MESSAGE))
    await queue.__aexit__(None, None, None)
    await queue.__aenter__()
    seen: list[str] = []
    undo = queue.watch(lambda item: seen.append(item.queue_id), lambda: seen.append("all"))
    second, third = new_queue_id(), new_queue_id()
    await queue.inject(second, envelope(), BytesContent(MESSAGE))
    assert seen == [ID, "all", second]
    undo()
    await queue.inject(third, envelope(), BytesContent(MESSAGE))
    assert seen == [ID, "all", second]
