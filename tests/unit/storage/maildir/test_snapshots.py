"""A large table comes back from one value after a stop, and never from one that is out of date."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.flags import FLAGGED, SEEN, FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, MessageTable
from mailserver.ports.store import Target
from mailserver.storage.maildir import upkeep
from mailserver.storage.maildir.mailbox import MaildirMailbox
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.clock import FakeClock

ANNA = AccountId("anna@example.test")


@pytest.fixture(autouse=True)
def every_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "WORTHWHILE", 1)


def open_store(root: Path) -> MaildirStore:
    settings = StorageSettings(flush_delay=10.0, fill_delay=10.0, watch_interval=60.0)
    return MaildirStore(root, settings, "mx.example.test", FakeClock())


async def put(store: MaildirStore, **target: Any) -> None:
    async with store.begin() as content:
        await content.write(b"Subject: x\r\n\r\nbody\r\n")
        await store.commit(content, [Target(account=ANNA, **target)])


def query(root: Path, statement: str) -> list[Any]:
    db = sqlite3.connect(root / "example.test" / "anna" / "index.db", isolation_level=None)
    try:
        return db.execute(statement).fetchall()
    finally:
        db.close()


def shown(box: MaildirMailbox) -> list[tuple[Any, ...]]:
    flags = [box.flag_table.sets[number] for number in box.table.flags]
    uids, _, *columns = box.table.columns()
    return list(zip(uids, flags, *columns, strict=True))


async def filled(root: Path) -> list[tuple[Any, ...]]:
    """Four messages with flags, one removed; as they were when the store was left."""
    async with open_store(root) as store:
        account = await store.open_account(ANNA)
        for _ in range(4):
            await put(store)
        async with account.open(INBOX) as box:
            await box.set_flags([1, 3], FlagChange.ADD, frozenset({SEEN, "$Work"}))
            await box.set_flags([2], FlagChange.ADD, frozenset({FLAGGED}))
            await box.expunge([4])
            return shown(box)


async def look(root: Path) -> tuple[list[tuple[Any, ...]], int]:
    """What is shown, and STATUS's number of octets, after a start."""
    async with open_store(root) as store:
        account = await store.open_account(ANNA)
        async with account.open(INBOX) as box:
            found = shown(box)
        status = await account.status(INBOX)
        # A message more may be where one was moved to.
        assert status.messages == len(found) <= account.messages and status.size <= account.octets
        return found, status.size


async def test_a_table_comes_back_from_its_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await filled(tmp_path)
    assert query(tmp_path, "SELECT entries FROM snapshots") == [(3,)]
    appended: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(MessageTable, "append", lambda self, *row: appended.append(row[0]))
        patch.setattr("mailserver.storage.maildir.rows._PIECE", 0)  # Rows would come for ever, none at a time.
        found, octets = await look(tmp_path)
    assert found == before and not appended
    # And from the rows, if the snapshot is damaged or gone.
    for harm in ("UPDATE snapshots SET columns = X'00'", "UPDATE snapshots SET crc = 1", "DELETE FROM snapshots"):
        query(tmp_path, harm)
        assert await look(tmp_path) == (before, octets)


Change = Callable[[MaildirStore, MaildirMailbox], Awaitable[Any]]
CHANGES: dict[str, Change] = {
    "flags": lambda store, box: box.set_flags([2], FlagChange.REMOVE, frozenset({FLAGGED})),
    "removal": lambda store, box: box.expunge([1]),
    "arrival": lambda store, box: put(store),
    "append": lambda store, box: put(store, into_new=False, flags=frozenset({SEEN})),
    "copy": lambda store, box: box.copy([1, 2], INBOX),
    "move": lambda store, box: box.move([1], "Archive"),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_no_change_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    await filled(tmp_path)
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        async with account.open(INBOX) as box:
            await CHANGES[name](store, box)
            await box.refresh()
            expected = shown(box)
        # No new snapshot: the old one must not be taken for it.
        monkeypatch.setattr(upkeep, "WORTHWHILE", 1_000)
    assert (await look(tmp_path))[0] == expected


async def test_a_change_by_another_program_is_not_forgotten(tmp_path: Path) -> None:
    await filled(tmp_path)
    (path,) = (tmp_path / "example.test" / "anna" / "cur").glob("*,U=2,*")
    path.rename(path.with_name(path.name.partition(":")[0] + ":2,S"))
    found, _ = await look(tmp_path)
    assert [flags for uid, flags, *_ in found if uid == 2] == [{SEEN}]
    assert (await look(tmp_path))[0] == found
