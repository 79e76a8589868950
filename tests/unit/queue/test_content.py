from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from mailserver.model.errors import NotFound, StorageFailure
from mailserver.model.ids import QueueId
from mailserver.queue import content as contents
from mailserver.queue.disk import DiskQueue
from mailserver.queue.record import Done
from tests.helpers.content import BytesContent
from tests.helpers.spool import ID, MESSAGE, SENT, envelope

LARGE = (3 << 20) + 7


async def reopen(queue: DiskQueue) -> None:
    """Nothing that was just taken in is at hand any more."""
    await queue.__aexit__(None, None, None)
    await queue.__aenter__()
    await queue.recovered()


@pytest.mark.parametrize("size", [0, 1, 5000, 1 << 20, (1 << 20) + 1, LARGE])
@pytest.mark.parametrize("again", [False, True])
async def test_it_is_read_by_several_at_once(queue: DiskQueue, size: int, *, again: bool) -> None:
    body = os.urandom(size)
    await queue.inject(ID, envelope(), BytesContent(body), b"H: 1\r\n")
    if again:
        await reopen(queue)
    whole = b"H: 1\r\n" + body
    async with queue.content(ID) as one, queue.content(ID) as two:
        assert (one.size, two.head()) == (len(whole), whole[: 1 << 20])
        step, parts = 700_000, []
        for start in range(0, len(whole), step):
            parts.append(await one.read(start, step))
            assert await two.read(max(0, len(whole) - start - 9), 9) == whole[max(0, len(whole) - start - 9) :][:9]
        assert b"".join(parts) == whole
        assert await one.read(len(whole), 5) == b""


def damage(root: Path, at: int) -> None:
    """Another octet, so far from the end of the file."""
    path = root / "items" / ID
    data = bytearray(path.read_bytes())
    data[-at] ^= 1
    path.write_bytes(data)


async def test_damage_is_found_before_the_first_octet(root: Path, queue: DiskQueue) -> None:
    await queue.inject(ID, envelope(), BytesContent(MESSAGE))
    await reopen(queue)
    damage(root, 3)
    with pytest.raises(StorageFailure, match="damaged"):
        async with queue.content(ID):
            pytest.fail("it was handed out")
    assert [(thing.name, thing.reason) for thing in queue.set_aside] == [(f"items/{ID}", "the content is damaged")]
    assert (len(queue), os.listdir(root / "items")) == (0, [])
    with pytest.raises(NotFound):
        queue.content(ID)


async def test_damage_in_a_long_message_is_found_before_the_last_octet(root: Path, queue: DiskQueue) -> None:
    await queue.inject(ID, envelope(), BytesContent(os.urandom(LARGE)))
    await reopen(queue)
    damage(root, LARGE - 5)
    async with queue.content(ID) as one, queue.content(ID) as other:
        assert len(await one.read(0, 2 << 20)) == 2 << 20
        assert len(await one.read(2 << 20, 1 << 20)) == 1 << 20
        with pytest.raises(StorageFailure, match="damaged"):
            await one.read(3 << 20, 1 << 20)
        assert len(queue) == 1, "somebody is still reading it"
        assert len(await other.read(0, 10)) == 10
    assert (len(queue), len(queue.set_aside)) == (0, 1)


@pytest.mark.parametrize("size", [len(MESSAGE), LARGE])
async def test_a_file_that_became_shorter_is_damaged(root: Path, queue: DiskQueue, size: int) -> None:
    await queue.inject(ID, envelope(), BytesContent(os.urandom(size)))
    await reopen(queue)
    path = root / "items" / ID
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(StorageFailure, match="damaged"):
        async with queue.content(ID) as content:
            for start in range(0, size, 1 << 20):
                await content.read(start, 1 << 20)
    assert len(queue.set_aside) == 1


async def test_who_reads_may_go_on_when_the_message_has_left(root: Path, queue: DiskQueue) -> None:
    body = os.urandom(LARGE)
    await queue.inject(ID, envelope(), BytesContent(body))
    async with queue.content(ID) as content:
        await queue.finish(ID, Done(at=1.0, recipients=(0,), result=SENT))
        assert os.listdir(root / "items") == []
        assert await content.read(2 << 20, 100) == body[2 << 20 :][:100]


async def test_one_read_serves_all_who_come_meanwhile(queue: DiskQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    await queue.inject(ID, envelope(), BytesContent(MESSAGE))
    await reopen(queue)
    reads = []
    real = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        reads.append(size)
        return real(fd, size, offset)

    monkeypatch.setattr(os, "pread", counted)

    async def head() -> bytes:
        async with queue.content(ID) as content:
            return content.head()

    assert await asyncio.gather(*(head() for _ in range(50))) == [MESSAGE] * 50
    assert len(reads) == 1


async def test_what_was_just_taken_in_is_not_read(queue: DiskQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    await queue.inject(ID, envelope(), BytesContent(MESSAGE))
    monkeypatch.setattr(os, "pread", None)
    async with queue.content(ID) as content:
        assert content.head() == MESSAGE


async def test_what_is_kept_for_the_first_attempt_is_bounded(queue: DiskQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_RECENT_ALL", 1000)
    ids = [f"1{number:015d}" for number in range(30)]
    for queue_id in ids:
        await queue.inject(QueueId(queue_id), envelope(), BytesContent(b"x" * 100))
    kept = queue._contents._recent
    assert list(kept) == ids[-10:]
    await queue.finish(QueueId(ids[-1]))
    assert list(kept) == ids[-10:-1]
    assert queue._contents._recent_size == 900


async def test_a_reader_that_was_cancelled_leaves_nothing_open(queue: DiskQueue) -> None:
    await queue.inject(ID, envelope(), BytesContent(os.urandom(LARGE)))
    await reopen(queue)

    async def read() -> None:
        async with queue.content(ID) as content:
            await content.read(0, 2 << 20)

    before = len(os.listdir("/proc/self/fd"))
    for turns in range(12):
        task = asyncio.ensure_future(read())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await queue._quick.drain()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not queue._contents._shared
