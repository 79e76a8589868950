"""Pieces are made in the background, whoever put the messages into the index, the newest first, in small batches."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.mime.render import LISTED, SEARCHED, render
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, Rendered
from mailserver.ports.store import Target
from mailserver.storage.maildir import pieces, rendering
from mailserver.storage.maildir.account import MaildirAccount
from mailserver.storage.maildir.rendering import note_unrendered
from mailserver.storage.maildir.repair.verify import verify_account
from mailserver.storage.maildir.schema import PIECE_TABLES
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.clock import FakeClock

ANNA = AccountId("anna@example.test")
COUNT = 40


class Watched:
    """What was rendered, in order; `enough` is set when there are as many as are waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.subjects: list[int] = []
        self.enough = asyncio.Event()
        self.expected = COUNT
        self._loop = asyncio.get_running_loop()
        self._render = render
        monkeypatch.setattr(rendering, "render", self.render)

    def render(self, message: bytes) -> dict[Rendered, bytes]:
        self.subjects.append(int(message.split(b"\r\n")[0].removeprefix(b"Subject: ")))
        if len(self.subjects) >= self.expected:
            self._loop.call_soon_threadsafe(self.enough.set)
        return self._render(message)

    async def all(self) -> list[int]:
        await asyncio.wait_for(self.enough.wait(), 10)
        return self.subjects


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setattr(rendering, "_PAUSE", 0)
    return Watched(monkeypatch)


def open_store(root: Path, fill_delay: float = 10.0) -> MaildirStore:
    settings = StorageSettings(flush_delay=10.0, fill_delay=fill_delay, watch_interval=60.0)
    return MaildirStore(root, settings, "mx.example.test", FakeClock())


async def deliver(store: MaildirStore, count: int = COUNT) -> MaildirAccount:
    for number in range(1, count + 1):
        async with store.begin() as content:
            await content.write(f"Subject: {number}\r\n\r\nbody\r\n".encode())
            await store.commit(content, [Target(account=ANNA)])
    return await store.open_account(ANNA)


async def there(account: MaildirAccount) -> int:
    """How many messages have pieces without being asked for them."""
    async with account.open(INBOX) as inbox:
        return len(await inbox.rendered(inbox.table.uids, list(Rendered), make=False))


@pytest.fixture
async def account(tmp_path: Path) -> AsyncIterator[MaildirAccount]:
    """Messages that STATUS put into the index."""
    async with open_store(tmp_path) as store:
        account = await deliver(store)
        await account.status(INBOX)
        assert not account.folders[INBOX].unindexed
        yield account


async def fill(account: MaildirAccount) -> None:
    await account.upkeep.fill()
    await account.context.drain()


async def test_after_a_status(account: MaildirAccount, watched: Watched) -> None:
    """STATUS, NOOP and SELECT put messages into the index before their time; they are rendered all the same."""
    await fill(account)
    assert sorted(watched.subjects) == list(range(1, COUNT + 1)) and await there(account) == COUNT
    await fill(account)
    assert len(watched.subjects) == COUNT


@pytest.mark.parametrize("pieces", [LISTED, SEARCHED], ids=["list", "search"])
async def test_who_waits_for_a_list_or_a_search_gets_it_before_all_else_is_made(
    account: MaildirAccount, watched: Watched, pieces: frozenset[Rendered]
) -> None:
    async with account.open(INBOX) as inbox:
        uids, listed = list(inbox.table.uids), sorted(pieces, key=str)
        first = await inbox.rendered(uids, listed)
        assert len(first) == COUNT and not watched.subjects and await there(account) == 0
        assert await inbox.rendered(uids, listed, make=False) == first
        assert verify_account(account.path, live=True) == []
        await fill(account)
        assert len(watched.subjects) == await there(account) == COUNT
        assert await inbox.rendered(uids, listed, make=False) == first


async def test_the_newest_first_in_small_batches(
    account: MaildirAccount, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[int]] = []
    def stored(db: sqlite3.Connection, number: int, made: Any) -> None:
        batches.append([uid for uid, _ in made])
        pieces.store_pieces(db, number, made)

    monkeypatch.setattr(rendering, "store_pieces", stored)
    await fill(account)
    assert batches == [list(range(25, 41)), list(range(9, 25)), list(range(1, 9))]


async def test_large_messages_are_batches_of_their_own(
    account: MaildirAccount, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "_OCTETS", 30)
    monkeypatch.setattr(pieces, "_LOOKED_AT", 3)
    await fill(account)
    assert watched.subjects[:4] == [39, 40, 37, 38] and await there(account) == COUNT


async def test_by_the_timer_after_a_restart(tmp_path: Path, watched: Watched) -> None:
    async with open_store(tmp_path) as store:
        await deliver(store)
    assert not watched.subjects
    async with open_store(tmp_path, fill_delay=0.0) as store:
        account = await store.open_account(ANNA)
        await account.status(INBOX)
        assert sorted(await watched.all()) == list(range(1, COUNT + 1))


async def test_by_the_timer_after_an_upgrade(tmp_path: Path, watched: Watched) -> None:
    async with open_store(tmp_path, fill_delay=0.0) as store:
        await deliver(store)
        await watched.all()
    db = sqlite3.connect(tmp_path / "example.test/anna/index.db")
    db.execute(f"PRAGMA user_version = {1 << 24 | 1}")
    db.close()
    watched.enough.clear()
    watched.expected *= 2
    async with open_store(tmp_path, fill_delay=0.0) as store, (await store.open_account(ANNA)).open(INBOX):
        assert len(await watched.all()) == 2 * COUNT


async def test_it_makes_way(account: MaildirAccount, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """It pauses before each batch while mail comes in, or others need the processor."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def slept(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(rendering, "_PAUSE", 5.0)
    monkeypatch.setattr(rendering, "_SHORT_PAUSE", 3.0)
    monkeypatch.setattr(rendering, "_SHORT", 1e9)
    monkeypatch.setattr(asyncio, "sleep", slept)
    account.context.last_arrival = account.context.loop.time()
    await fill(account)
    assert pauses == [5.0] * 3
    account.context.last_arrival -= 100
    note_unrendered(account.folders[INBOX], 1, COUNT)
    await fill(account)
    assert pauses[3:] == [0]
    monkeypatch.setattr(rendering, "_SHORT", -1e9)
    for _ in range(2):
        note_unrendered(account.folders[INBOX], 1, COUNT)
        await fill(account)
    assert pauses[4:] == [0, 3.0]


async def test_it_ends_with_the_store(tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is for the next start."""
    async with open_store(tmp_path) as store:
        account = await deliver(store)
        await account.upkeep.fill()
        watched.expected = 1
        await watched.all()
    assert 1 <= len(watched.subjects) <= 2 * rendering._BATCH
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        await account.status(INBOX)
        await fill(account)
        assert len(watched.subjects) == COUNT and await there(account) == COUNT


def spoil(new: Path) -> None:
    """One file is gone, another one is a directory."""
    gone, odd, *_ = new.iterdir()
    gone.unlink()
    odd.unlink()
    odd.mkdir()


async def test_messages_that_cannot_be_rendered_keep_no_other_from_it(
    account: MaildirAccount, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(Path(account.folders[INBOX].new))
    await fill(account)
    assert len(watched.subjects) == COUNT - 2


async def test_a_fault_of_ours_keeps_no_other_folder_from_it(
    account: MaildirAccount, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with account.open(INBOX) as inbox:
        await inbox.copy([1], "Junk")

    def faulty(message: bytes) -> dict[Rendered, bytes]:
        if message.startswith(b"Subject: 40\r"):
            raise ZeroDivisionError
        return watched.render(message)

    monkeypatch.setattr(rendering, "render", faulty)
    await fill(account)
    async with account.open("Junk") as junk:
        assert len(await junk.rendered([1], list(Rendered), make=False)) == 1


def test_spans_are_few(account: MaildirAccount) -> None:
    folder = account.folders[INBOX]
    folder.unrendered.clear()
    for uid in range(1, 1_000, 2):
        note_unrendered(folder, uid, uid)
    assert len(folder.unrendered) <= 50 and folder.unrendered[-1] == (99, 999)
    note_unrendered(folder, 1_000, 1_005)
    assert folder.unrendered[-1] == (99, 1_005)


def test_pieces_tables_are_filled_together() -> None:
    """Which messages lack pieces is read from one table."""
    assert set(PIECE_TABLES) == set(render(b"Subject: x\r\n\r\n"))
