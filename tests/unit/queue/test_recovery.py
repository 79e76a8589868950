"""What a start finds on the disk, and makes of it (G06)."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import random
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mailserver.model.errors import AlreadyExists, StorageFailure
from mailserver.model.ids import QueueId, new_queue_id
from mailserver.queue import mirror, recovery
from mailserver.queue.codec import encode, encode_new
from mailserver.queue.disk import DiskQueue
from mailserver.queue.reading import check_all
from mailserver.queue.record import New, Try
from mailserver.queue.settings import QueueSettings
from mailserver.queue.spool import Spool
from mailserver.queue.state import Item
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.spool import ID, LATER, MESSAGE, RECORDS, envelope, failing, make_item, recover


@pytest.fixture
def item_with_records(tmp_path: Path) -> bytes:
    return asyncio.run(make_item(tmp_path / "made"))


def fill(root: Path, count: int, *, tried: bool = False) -> list[QueueId]:
    """A queue of so many messages, without the cost of making them durable."""
    items = root / "items"
    items.mkdir(parents=True)
    ids = [QueueId(f"1{number:015d}") for number in range(count)]
    for number, queue_id in enumerate(ids):
        to = envelope(f"some.recipient{number}@destination{number % 50}.test", sender=f"s{number % 9}@example.test")
        new = New(queue_id=queue_id, arrived=1.7e9 + number, envelope=to, size=len(MESSAGE), crc=zlib.crc32(MESSAGE))
        tail = encode(Try(at=1.7e9, recipients=(0,), next_attempt=1.9e9, result=LATER)) if tried else b""
        (items / queue_id).write_bytes(encode_new(new) + MESSAGE + tail)
    return ids


async def test_records_are_added_up_at_start(root: Path, item_with_records: bytes) -> None:
    (root / "items").mkdir(parents=True)
    (root / "items" / ID).write_bytes(item_with_records)
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        (item,) = await queue.list()
    assert item.recipients == ("a@x.test",)
    assert (item.attempts, item.next_attempt, item.last_error) == (1, 1.9e9, LATER.reply)


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
            items, aside = recover(spool)
            assert items.pop(QueueId(neighbour)).cut == 0
            if cut < content_end:
                assert items == {}
                assert [thing.name for thing in aside] == [f"items/{ID}"]
                continue
            sound = (root / "items" / ID).read_bytes()
            assert item_with_records.startswith(sound)
            assert items[ID].cut == cut - len(sound)
            again, _ = recover(spool)
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
        found, aside = recover(spool)
        if start <= at < start + len(MESSAGE):
            assert (len(found), aside) == (1, [])
            assert [wrong.reason for wrong in check_all(spool)] == ["the content is damaged"]
        elif at >= len(item_with_records) - len(encode(RECORDS[-1])):
            assert [one.cut for one in found.values()] == [len(encode(RECORDS[-1]))]
        else:
            assert found == {}
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
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        assert [item.queue_id for item in await queue.list()] == [ours]
        assert queue.set_aside == ()


async def test_the_name_must_be_the_id_in_the_record(root: Path) -> None:
    await make_item(root)
    os.rename(root / "items" / ID, root / "items" / "0123456789abcdeg")
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        assert await queue.list() == []
        assert "do not agree" in queue.set_aside[0].reason


async def test_the_queue_is_in_use_while_it_is_read(
    root: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(root, 1000)
    monkeypatch.setattr(recovery, "_SLICE", 50)
    seen: list[str] = []
    ends: list[int] = []
    async with DiskQueue(root, QueueSettings(max_items=1001), clock) as queue:
        queue.watch(lambda item: seen.append(item.queue_id), lambda: ends.append(len(seen)))
        assert len(queue) == 1000
        assert list(queue.items()) == []
        with pytest.raises(AlreadyExists):
            await queue.inject(ids[-1], envelope(), BytesContent(MESSAGE))
        await queue.inject(ID, envelope(), BytesContent(MESSAGE))
        assert queue.item(ID).queue_id == ID
        assert len(await queue.list()) == 1001
    assert sorted(seen) == [ID, *ids], "each of them, and each once"
    assert ends == [1001]


async def test_no_turn_of_the_loop_takes_more_than_a_slice(
    root: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(root, 600)
    turns: list[int] = []
    counted = 0

    def count(item: Item) -> None:
        nonlocal counted
        if not counted:
            asyncio.get_running_loop().call_soon(turn)
        counted += 1

    def turn() -> None:
        nonlocal counted
        turns.append(counted)
        counted = 0

    async with DiskQueue(root, QueueSettings(), clock) as queue:
        queue.watch(count)
        await queue.recovered()
        queue.watch(count)
        await queue.list()
    assert sum(turns) == 1200
    assert max(turns) <= max(recovery._AT_ONCE * recovery._SLICE, mirror._SLICE), "what came at the same moment"


async def test_an_item_that_cannot_be_read_is_left_and_read_later(
    root: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(root, 5)
    monkeypatch.setattr(recovery, "_AGAIN", 0.001)
    with monkeypatch.context() as patch:
        failing("open", errno.EIO, patch, lambda path, *_: path == ids[2])
        async with DiskQueue(root, QueueSettings(), clock) as queue:
            assert [item.queue_id for item in await queue.list()] == ids[:2] + ids[3:]
            assert len(queue) == 5
            assert queue.set_aside == ()
            with pytest.raises(AlreadyExists):
                await queue.inject(ids[2], envelope(), BytesContent(MESSAGE))
            patch.undo()
            found = asyncio.Event()
            queue.watch(lambda item: found.set() if item.queue_id == ids[2] else None)
            await found.wait()
            assert len(list(queue.items())) == 5
    assert sorted(os.listdir(root / "items")) == ids


async def test_what_is_in_tmp_and_cannot_be_removed_stops_nobody(
    root: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(root, 1)
    (root / "tmp").mkdir()
    (root / "tmp" / ID).write_bytes(b"half")
    with monkeypatch.context() as patch:
        failing("unlink", errno.EIO, patch)
        async with DiskQueue(root, QueueSettings(), clock) as queue:
            assert [item.queue_id for item in await queue.list()] == ids
            patch.undo()
            await queue.inject(ID, envelope(), BytesContent(MESSAGE))
            assert await queue.verify() == ()
    assert os.listdir(root / "tmp") == []


async def test_stopping_does_not_wait_for_the_rest(root: Path, clock: FakeClock) -> None:
    fill(root, 500)
    async with DiskQueue(root, QueueSettings(), clock) as queue:
        pass
    assert len(os.listdir(root / "items")) == 500
    assert queue.set_aside == ()


@pytest.mark.parametrize("tried", [False, True])
async def test_memory_is_well_below_one_kilobyte_an_item(root: Path, clock: FakeClock, *, tried: bool) -> None:
    fill(root, 2000, tried=tried)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        async with DiskQueue(root, QueueSettings(), clock) as queue:
            await queue.recovered()
            gc.collect()
            used = tracemalloc.get_traced_memory()[0] - before
            assert len(list(queue.items())) == 2000
    finally:
        tracemalloc.stop()
    assert used / 2000 < (480 if tried else 360), "the scheduler needs the rest of a kilobyte"


@pytest.mark.parametrize("seed", range(30))
async def test_g06_random_octets_over_a_random_place(root: Path, clock: FakeClock, seed: int) -> None:
    """Whatever is done to one item, its neighbours are there, and it is whole, shorter by records, or aside."""
    chance = random.Random(seed)
    ids = fill(root, 3, tried=True)
    victim = root / "items" / ids[1]
    data = bytearray(victim.read_bytes())
    at = chance.randrange(len(data))
    wrong = chance.randbytes(chance.choice([1, 4, 60, 400]))
    data[at : at + chance.choice([0, len(wrong)])] = wrong
    victim.write_bytes(data)
    async with DiskQueue(root, QueueSettings(), clock) as queue:
        there = {message.queue_id for message in await queue.list()}
        assert there >= {ids[0], ids[2]}
        assert (ids[1] in there) != bool(queue.set_aside)
        if ids[1] in there:
            try:
                async with queue.content(ids[1]) as content:
                    assert await content.read(0, content.size) == MESSAGE
            except StorageFailure:
                assert [thing.reason for thing in queue.set_aside] == ["the content is damaged"]
                assert len(queue) == 2
    assert len(os.listdir(root / "items")) + len(os.listdir(root / "aside")) == 3
