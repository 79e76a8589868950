"""G04, G05: every call of the queue that can fail does, with every error; see tests/crash for the same from outside."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from pathlib import Path

import pytest

from mailserver.model.errors import MailError, NotFound, StorageFailure
from mailserver.model.ids import new_queue_id
from mailserver.net.faults import Faults
from mailserver.queue.disk import DiskQueue
from mailserver.queue.record import Done, Dot, Hold, Try
from mailserver.queue.settings import QueueSettings
from mailserver.queue.state import Item
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.spool import ID, LATER, MESSAGE, SENT, content_of, envelope, failing

ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.EIO]


def is_directory(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


async def restarted(root: Path) -> dict[str, Item]:
    async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
        await queue.recovered()
        assert await queue.verify() == ()
        assert queue.set_aside == ()
        return {item.queue_id: item for item in queue.items()}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", ["open", "writev", "pwrite", "fdatasync", "fsync", "rename"])
async def test_g05_an_injection_is_refused_and_leaves_nothing(
    root: Path, queue: DiskQueue, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    size = 2 << 20 if call == "pwrite" else 10
    with monkeypatch.context() as patch:
        failing(call, error, patch)
        with pytest.raises(StorageFailure) as failure:
            await queue.inject(new_queue_id(), envelope(), BytesContent(b"x" * size))
    assert failure.value.temporary
    assert os.strerror(error) not in failure.value.text
    assert (await queue.list(), os.listdir(root / "items"), os.listdir(root / "tmp")) == ([], [], [])
    if call == "fsync":
        # The directory: nobody knows any more which names are on the disk.
        with pytest.raises(StorageFailure):
            await queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE))
        assert os.listdir(root / "items") == []
    else:
        await queue.inject(ID, envelope(), BytesContent(MESSAGE))
        await queue.__aexit__(None, None, None)
        assert [*await restarted(root)] == [ID]
        await queue.__aenter__()


async def test_g04_two_io_errors_within_a_minute_end_the_process(
    root: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, ended = Faults(clock), []
    faults.on_broken = lambda: ended.append(True)
    async with DiskQueue(root, QueueSettings(), clock, faults) as queue:
        failing("fdatasync", errno.EIO, monkeypatch)
        for expected in ([], [True]):
            with pytest.raises(StorageFailure):
                await queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE))
            assert ended == expected
        with pytest.raises(StorageFailure, match="the disk fails"):
            await queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE))


async def test_g04_a_failed_sync_of_the_directory_is_never_repeated(
    root: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, ended, syncs = Faults(clock), [], []
    faults.on_broken = lambda: ended.append(True)

    def fails(fd: int) -> bool:
        syncs.append(fd)
        return is_directory(fd)

    async with DiskQueue(root, QueueSettings(), clock, faults) as queue:
        await queue.inject(ID, envelope(), BytesContent(MESSAGE))
        failing("fsync", errno.EIO, monkeypatch, fails)
        first, *others = (queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE)) for _ in range(3))
        for refused in (first, queue.finish(ID), *others):
            with pytest.raises(StorageFailure):
                await refused
        assert len(syncs) == 1
        assert ended == [True], "a restart finds out what is on the disk"
        assert list(queue.items()) == []
        assert os.listdir(root / "items") == [], "what was removed is gone, if perhaps not for good"


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", ["open", "pwrite"])
async def test_g05_a_record_that_could_not_be_written_is_written_with_the_next(
    root: Path, queue: DiskQueue, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    await queue.inject(ID, envelope("a@x.test", "b@x.test"), BytesContent(MESSAGE))
    if call == "open":
        # Opened anew: as after a restart.
        await queue.__aexit__(None, None, None)
        await queue.__aenter__()
        await queue.recovered()
    with monkeypatch.context() as patch:
        failing(call, error, patch)
        with pytest.raises(StorageFailure):
            await queue.record(ID, Done(at=1.0, recipients=(0,), result=SENT))
    item = queue.item(ID)
    assert item.waiting == (1,), "what happened counts, written or not"
    await queue.record(ID, Try(at=2.0, recipients=(1,), next_attempt=9.0, result=LATER))
    now = queue.item(ID)
    await queue.__aexit__(None, None, None)
    assert (await restarted(root))[ID] == now
    assert now.waiting == (1,)
    await queue.__aenter__()


async def test_g05_a_record_that_was_cut_off_is_written_again_in_its_place(
    root: Path, queue: DiskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.inject(ID, envelope("a@x.test", "b@x.test"), BytesContent(MESSAGE))
    real, left = os.pwrite, [50, 0]

    def full(fd: int, data: bytes, offset: int) -> int:
        if not (room := left.pop(0) if left else len(data)):
            raise OSError(errno.ENOSPC, "no room")
        return real(fd, bytes(data)[:room], offset)

    monkeypatch.setattr(os, "pwrite", full)
    long = Try(at=2.0, recipients=(1,), next_attempt=9.0, result=LATER)
    with pytest.raises(StorageFailure):
        await queue.record(ID, Dot(at=1.0, recipients=(0, 1)), long)
    async with queue.content(ID) as content:
        assert content.head() == MESSAGE
    await queue.record(ID)
    await queue.record(ID, Hold(at=3.0))
    now = queue.item(ID)
    await queue.__aexit__(None, None, None)
    assert (await restarted(root))[ID] == now
    await queue.__aenter__()


async def test_g04_a_failed_sync_of_a_record_is_not_repeated(
    root: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults(clock)
    syncs: list[int] = []
    outcomes: list[str] = []
    faults.on_broken = lambda: outcomes.append("broken")

    def fails(fd: int) -> bool:
        syncs.append(fd)
        return True

    async with DiskQueue(root, QueueSettings(), clock, faults) as queue:
        await queue.inject(ID, envelope("a@x.test", "b@x.test"), BytesContent(MESSAGE))
        with monkeypatch.context() as patch:
            failing("fdatasync", errno.EIO, patch, fails)
            with pytest.raises(StorageFailure):
                await queue.record(ID, Done(at=1.0, recipients=(0,), result=SENT))
            await queue.record(ID, Dot(at=1.0, recipients=(1,)), durable=False)
            assert "broken" not in outcomes
            with pytest.raises(StorageFailure):
                await queue.record(ID)
        assert (len(syncs), outcomes) == (1, ["broken"])
        now = queue.item(ID)
    # The kernel was not asked again, and here it has all of it.
    assert (await restarted(root))[ID] == now


@pytest.mark.parametrize("error", ERRORS)
async def test_g05_what_cannot_be_removed_is_there_with_its_results(
    root: Path, queue: DiskQueue, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    await queue.inject(ID, envelope(), BytesContent(MESSAGE))
    with monkeypatch.context() as patch:
        failing("unlink", error, patch)
        with pytest.raises(StorageFailure):
            await queue.finish(ID, Done(at=1.0, recipients=(0,), result=SENT))
    assert queue.item(ID).waiting == ()
    await queue.__aexit__(None, None, None)
    assert (await restarted(root))[ID].waiting == (), "so it is not sent again"
    await queue.__aenter__()
    await queue.recovered()
    await queue.finish(ID)
    assert (len(queue), os.listdir(root / "items")) == (0, [])


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", ["open", "pread"])
async def test_g05_content_that_cannot_be_read_now_can_be_read_later(
    root: Path, queue: DiskQueue, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    await queue.inject(ID, envelope(), BytesContent(MESSAGE))
    await queue.__aexit__(None, None, None)
    await queue.__aenter__()
    await queue.recovered()
    with monkeypatch.context() as patch:
        failing(call, error, patch)
        with pytest.raises(StorageFailure):
            async with queue.content(ID):
                pass
    async with queue.content(ID) as content:
        assert content.head() == MESSAGE


async def test_g05_an_item_that_cannot_be_set_aside_stays(
    root: Path, queue: DiskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.inject(ID, envelope(), BytesContent(MESSAGE))
    with monkeypatch.context() as patch:
        failing("rename", errno.EROFS, patch)
        with pytest.raises(StorageFailure):
            await queue.quarantine(ID, "looks bad")
    assert (queue.item(ID).queue_id, queue.set_aside) == (ID, ())
    await queue.quarantine(ID, "looks bad")
    assert [(thing.name, thing.reason) for thing in queue.set_aside] == [(f"items/{ID}", "looks bad")]
    (aside,) = (root / "aside").iterdir()
    assert content_of(aside) == MESSAGE
    with pytest.raises(NotFound):
        queue.item(ID)


async def test_g05_too_many_open_files_closes_what_is_open_for_later(
    root: Path, queue: DiskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [new_queue_id() for _ in range(5)]
    for queue_id in ids:
        await queue.inject(queue_id, envelope(), BytesContent(MESSAGE))

    def open_items() -> int:
        found = 0
        for fd in os.listdir("/proc/self/fd"):
            # The listing has a descriptor of its own, which is gone.
            with contextlib.suppress(FileNotFoundError):
                found += os.path.dirname(os.readlink(f"/proc/self/fd/{fd}")) == str(root / "items")
        return found

    assert open_items() == 5
    with monkeypatch.context() as patch:
        failing("open", errno.EMFILE, patch)
        with pytest.raises(StorageFailure):
            await queue.inject(new_queue_id(), envelope(), BytesContent(MESSAGE))
    await queue.record(ids[0], Hold(at=1.0))
    assert open_items() == 1


async def test_a_file_that_somebody_took_away_is_not_waited_for(root: Path, queue: DiskQueue) -> None:
    await queue.inject(ID, envelope(), BytesContent(MESSAGE))
    await queue.__aexit__(None, None, None)
    await queue.__aenter__()
    await queue.recovered()
    (root / "items" / ID).unlink()
    with pytest.raises(NotFound):
        await queue.record(ID, Hold(at=1.0))
    with pytest.raises(NotFound):
        async with queue.content(ID):
            pass
    assert len(queue) == 0
    assert [thing.reason for thing in queue.set_aside] == ["the file is not there"]


async def test_waiters_that_were_cancelled_harm_nobody(root: Path, queue: DiskQueue) -> None:
    await queue.inject(ID, envelope("a@x.test", "b@x.test"), BytesContent(MESSAGE))
    for turns in range(8):
        works = [
            queue.record(ID, Dot(at=float(turns), recipients=(0,)), durable=False),
            queue.record(ID, Try(at=float(turns), recipients=(1,), next_attempt=9.0, result=LATER)),
        ]
        tasks = [asyncio.ensure_future(work) for work in works]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    now = queue.item(ID)
    task = asyncio.ensure_future(queue.finish(ID))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises((asyncio.CancelledError, MailError)):
        await task
    await queue.__aexit__(None, None, None)
    there = await restarted(root)
    assert there in ({}, {ID: now})
    assert len(queue) == len(there)
    await queue.__aenter__()


async def test_an_item_that_was_refused_and_could_not_be_removed_is_removed_later(
    root: Path, queue: DiskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing("fdatasync", errno.ENOSPC, patch)
        failing("unlink", errno.EROFS, patch)
        with pytest.raises(StorageFailure):
            await queue.inject(ID, envelope(), BytesContent(MESSAGE))
        assert os.listdir(root / "items") == [ID]
        with pytest.raises(StorageFailure, match="try again"):
            await queue.inject(ID, envelope(), BytesContent(MESSAGE))
    other = new_queue_id()
    await queue.inject(other, envelope(), BytesContent(MESSAGE))
    assert os.listdir(root / "items") == [other]
    await queue.inject(ID, envelope(), BytesContent(MESSAGE))
    await queue.finish(other)
    assert os.listdir(root / "items") == [ID], "what was promised under this name stays"
