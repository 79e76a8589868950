"""Delivery over many targets, on disks that cannot link, lie or fail."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailserver.model.errors import MailError, StorageFailure
from mailserver.model.flags import SEEN
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import Stored
from mailserver.net import files
from mailserver.ports.store import Target
from mailserver.storage.maildir import placing
from mailserver.storage.maildir.account import MaildirAccount
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.clock import FakeClock

PEOPLE = [AccountId(f"p{number}@example.test") for number in range(4)]
MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MaildirStore]:
    async with MaildirStore(tmp_path, StorageSettings(), "mx.example.test", FakeClock()) as store:
        for person in PEOPLE:
            await store.open_account(person)
        yield store


async def deliver(
    store: MaildirStore, *targets: Target, data: bytes = MESSAGE, header: bytes = b""
) -> list[Stored | MailError]:
    async with store.begin() as content:
        await content.write(data)
        return await store.commit(content, targets, header)


def message_files(root: Path) -> list[Path]:
    return sorted(path for sub in ("new", "cur") for path in root.glob(f"*/*/{sub}/*"))


def nothing_temporary(root: Path) -> bool:
    return not list(root.glob("*/*/tmp/*")) and not list((root / ".server" / "spool").iterdir())


async def test_one_file_for_all_recipients(store: MaildirStore, tmp_path: Path) -> None:
    results = await deliver(store, *(Target(account=person) for person in PEOPLE), header=b"Received: x\r\n")
    assert all(isinstance(result, Stored) for result in results)
    found = message_files(tmp_path)
    assert len(found) == 4 and len({path.stat().st_ino for path in found}) == 1
    assert found[0].read_bytes() == b"Received: x\r\n" + MESSAGE
    assert nothing_temporary(tmp_path)


async def test_a_group_for_each_date(store: MaildirStore, tmp_path: Path) -> None:
    dates = [1_000_000_000, None, 1_000_000_000]
    await deliver(store, *(Target(account=person, date=date) for person, date in zip(PEOPLE, dates, strict=False)))
    by_inode = Counter(path.stat().st_ino for path in message_files(tmp_path))
    assert sorted(by_inode.values()) == [1, 2]
    assert sorted(int(path.stat().st_mtime) == 1_000_000_000 for path in message_files(tmp_path)) == [False, True, True]


async def test_where_there_can_be_no_link_there_is_a_copy(
    store: MaildirStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*arguments: object, **keywords: object) -> None:
        raise OSError(errno.EMLINK, "too many")

    monkeypatch.setattr(os, "link", link)
    results = await deliver(store, *(Target(account=person, date=1_000_000_000) for person in PEOPLE))
    assert all(isinstance(result, Stored) for result in results)
    found = message_files(tmp_path)
    assert {path.read_bytes() for path in found} == {MESSAGE} and len({path.stat().st_ino for path in found}) == 4
    assert {int(path.stat().st_mtime) for path in found} == {1_000_000_000}


async def test_one_broken_recipient_does_not_harm_the_others(store: MaildirStore, tmp_path: Path) -> None:
    (tmp_path / "example.test" / "p0" / "tmp").rmdir()
    (tmp_path / "example.test" / "p2" / "new").rmdir()
    results = await deliver(store, *(Target(account=person) for person in PEOPLE))
    assert [isinstance(result, Stored) for result in results] == [False, True, False, True]
    assert all(isinstance(results[at], StorageFailure) for at in (0, 2)) and nothing_temporary(tmp_path)
    account = await store.open_account(PEOPLE[2])
    assert (await account.quota()).messages == 0


async def test_messages_of_one_turn_share_a_sync_of_the_directory(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches: many messages in a row need few syncs of a directory, and every message its own."""
    directories: Counter[str] = Counter()
    real = files.fsync_dir
    lock = threading.Lock()

    def fsync_dir(path: str) -> None:
        with lock:
            directories[path] += 1
        real(path)

    monkeypatch.setattr(files, "fsync_dir", fsync_dir)
    await asyncio.gather(*(deliver(store, Target(account=PEOPLE[0])) for _ in range(200)))
    new = next(count for path, count in directories.items() if path.endswith("/new"))
    assert new < 60


async def test_the_second_io_error_within_a_minute_breaks_the_store(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    store.faults.on_broken = lambda: told.append(True)
    real = os.fsync

    def fsync(fd: int) -> None:
        raise OSError(errno.EIO, "broken")

    clock = store.context.clock
    assert isinstance(clock, FakeClock)
    for wait in (0, 100, 30):
        clock.advance(wait)
        monkeypatch.setattr(os, "fsync", fsync)
        (result,) = await deliver(store, Target(account=PEOPLE[0]))
        monkeypatch.setattr(os, "fsync", real)
        assert isinstance(result, StorageFailure)
        if wait != 30:
            assert not told and isinstance((await deliver(store, Target(account=PEOPLE[0])))[0], Stored)
    assert told == [True]
    with pytest.raises(StorageFailure):
        await deliver(store, Target(account=PEOPLE[0]))


async def test_a_cancelled_delivery_is_kept_whole_or_not_at_all(store: MaildirStore, tmp_path: Path) -> None:
    task = asyncio.create_task(deliver(store, Target(account=PEOPLE[0]), data=MESSAGE * 100_000))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance((await deliver(store, Target(account=PEOPLE[0])))[0], Stored)
    assert {path.read_bytes() for path in message_files(tmp_path)} <= {MESSAGE, MESSAGE * 100_000}
    account = await store.open_account(PEOPLE[0])
    assert (await account.status("INBOX")).messages == len(message_files(tmp_path))


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 3 << 20])
async def test_large_messages(store: MaildirStore, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    header = b"Received: x\r\n"
    async with store.begin() as content:
        for start in range(0, size, 50_000):
            await content.write(data[start : start + 50_000])
        results = await store.commit(content, [Target(account=PEOPLE[0]), Target(account=PEOPLE[1])], header)
    assert all(isinstance(result, Stored) for result in results)
    first, second = message_files(tmp_path)
    assert first.read_bytes() == header + data and first.samefile(second)
    assert f",S={size + len(header)}" in first.name


async def test_all_or_none_takes_back_what_was_placed(
    store: MaildirStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = os.rename, 0

    def rename(old: str, new: str) -> None:
        nonlocal count
        if "/cur/" in new:
            count += 1
            if count == 2:
                raise OSError(errno.ENOSPC, "no room")
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)
    async with store.begin() as one, store.begin() as two, store.begin() as three:
        for content in (one, two, three):
            await content.write(MESSAGE)
        target = Target(account=PEOPLE[0], into_new=False, flags=frozenset({SEEN}))
        with pytest.raises(StorageFailure):
            await store.commit_all(PEOPLE[0], [(one, target), (two, target), (three, target)])
    assert message_files(tmp_path) == [] and nothing_temporary(tmp_path)
    (result,) = await deliver(store, Target(account=PEOPLE[0]))
    assert isinstance(result, Stored)
    account = await store.open_account(PEOPLE[0])
    status = await account.status("INBOX")
    assert (status.messages, status.uid_next) == (1, result.uid + 1)


async def test_a_stop_waits_for_commits_and_its_numbers_are_exact(tmp_path: Path) -> None:
    async with MaildirStore(tmp_path, StorageSettings(), "mx.example.test", FakeClock()) as store:
        await deliver(store, Target(account=PEOPLE[0]))
        tasks = [asyncio.create_task(deliver(store, Target(account=PEOPLE[0]))) for _ in range(50)]
        await asyncio.sleep(0)
    results = [(await task)[0] for task in tasks]
    assert all(isinstance(result, Stored) for result in results)
    async with MaildirStore(tmp_path, StorageSettings(), "mx.example.test", FakeClock()) as store:
        account = await store.open_account(PEOPLE[0])
        assert (await account.status("INBOX")).uid_next == 52
        assert (await account.quota()).messages == 51
        (result,) = await deliver(store, Target(account=PEOPLE[0]))
        assert isinstance(result, Stored) and result.uid == 52


async def test_nobody_with_a_place_waits_for_a_place(store: MaildirStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is deleted while somebody takes places for two messages: neither waits for the other for ever."""
    person = PEOPLE[0]
    account = await store.open_account(person)
    await account.create("side")
    deleting: list[asyncio.Task[None]] = []
    admit = placing._admit

    async def late(
        account: MaildirAccount, folder: Folder, target: Target
    ) -> tuple[frozenset[str], str, frozenset[str]]:
        if folder.jobs and not deleting:
            deleting.append(asyncio.create_task(account.delete("side")))
            while account.moving is None:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
        return await admit(account, folder, target)

    monkeypatch.setattr(placing, "_admit", late)
    target = Target(account=person, into_new=False)
    async with asyncio.timeout(60), store.begin() as one, store.begin() as two:
        await one.write(MESSAGE)
        await two.write(MESSAGE)
        stored = await store.commit_all(person, [(one, target), (two, target)])
        await deleting[0]
    assert [one.uid for one in stored] == [1, 2]
    assert (await account.quota()).messages == 2
