from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailserver.model.errors import LimitReached, StorageFailure
from mailserver.net.workers import Workers
from mailserver.storage.maildir.content import ContentSpace, MaildirContent, bare_newlines


@pytest.fixture
async def space(tmp_path: Path) -> AsyncIterator[ContentSpace]:
    workers = Workers(asyncio.get_running_loop(), "content", 1)
    yield ContentSpace(tmp_path, workers, per_message=1000, memory=5000)
    workers.close()


async def test_small_content_stays_in_memory(space: ContentSpace) -> None:
    async with MaildirContent(space) as content:
        await content.write(b"a" * 600)
        await content.write(b"b" * 400)
        assert content.fd is None and space.used == 1000
        assert await content.read(599, 2) == b"ab" and content.head() == b"a" * 600 + b"b" * 400
    assert space.used == 0


async def test_large_content_goes_to_a_file_without_a_name(space: ContentSpace, tmp_path: Path) -> None:
    data = os.urandom(700_000)
    async with MaildirContent(space) as content:
        for start in range(0, len(data), 7000):
            await content.write(data[start : start + 7000])
        assert content.fd is not None and space.used == 0 and content.size == len(data)
        assert sum(map(len, content.parts)) < (256 << 10)
        assert await content.read(0, len(data)) == data
        assert await content.read(690_000, 50_000) == data[690_000:]
        assert content.head() == data
        assert os.listdir(tmp_path) == []


async def test_no_memory_left_means_a_file(space: ContentSpace) -> None:
    async with MaildirContent(space) as last:
        hoard = [MaildirContent(space) for _ in range(5)]
        for content in hoard:
            await content.write(b"x" * 1000)
        await last.write(b"y")
        assert last.fd is not None and last.head() == b"y"
        for content in hoard:
            content.close()
    assert space.used == 0


async def test_files_are_left_for_others(space: ContentSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """MULTIAPPEND by many sessions opens no more of them than a part (ATTACKS I17)."""
    monkeypatch.setattr(ContentSpace, "most_files", 3)
    held = [MaildirContent(space) for _ in range(4)]
    for content in held[:3]:
        await content.write(b"x" * 2000)
        await content.write(b"x" * 300_000)
    with pytest.raises(LimitReached) as refused:
        await held[3].write(b"x" * 2000)
    assert refused.value.temporary and space.files == 3
    held[0].close()
    async with MaildirContent(space) as content:
        await content.write(b"x" * 2000)
    for content in (*held, *held):
        content.close()
    assert space.files == 0


async def test_a_full_disk_is_told(space: ContentSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError(28, "no room")

    monkeypatch.setattr(space, "open_file", refuse)
    async with MaildirContent(space) as content:
        with pytest.raises(StorageFailure) as caught:
            await content.write(b"x" * 2000)
        assert caught.value.temporary and caught.value.status == "4.3.1"


async def test_a_place_without_unnamed_files(
    tmp_path: Path, space: ContentSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "O_TMPFILE", 0, raising=False)
    fd = space.open_file()
    assert os.listdir(tmp_path) == [] and os.fstat(fd).st_mode & 0o777 == 0o600
    os.close(fd)


async def test_a_cancelled_writer_leaves_no_descriptor(space: ContentSpace) -> None:
    before = len(os.listdir("/proc/self/fd"))
    content = MaildirContent(space)
    task = asyncio.create_task(content.write(b"x" * 5000))
    await asyncio.sleep(0)
    task.cancel()
    content.close()
    await space.workers.run(lambda: None)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(os.listdir("/proc/self/fd")) == before and space.used == 0


@pytest.mark.parametrize(
    ("chunks", "bare"),
    [
        ([b"a\r\nb\nc\r\n"], 1),
        ([b"a\r", b"\nb"], 0),
        ([b"a", b"\nb"], 1),
        ([b"\n\n"], 2),
        ([b"\r\r\n\n"], 1),
        ([b"\n"], 1),
    ],
)
def test_bare_newlines_over_chunks(chunks: list[bytes], bare: int) -> None:
    last, count = -1, 0
    for chunk in chunks:
        count += bare_newlines(chunk, last)
        last = chunk[-1]
    assert count == bare
