"""`index.db` outlives our own mistakes and other versions, and what only it knew outlives its damage."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.errors import StorageFailure
from mailserver.model.flags import FLAGGED, SEEN, FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, Rendered
from mailserver.ports.store import Target
from mailserver.storage.maildir import reading, salvage, schema
from mailserver.storage.maildir.mailbox import MaildirMailbox
from mailserver.storage.maildir.repair.rebuild import rebuild_account
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.clock import FakeClock

ANNA = AccountId("anna@example.test")
KEYWORDS = frozenset({f"$k{number}" for number in range(30)})


def open_store(root: Path) -> MaildirStore:
    settings = StorageSettings(flush_delay=10.0, fill_delay=10.0, watch_interval=60.0)
    return MaildirStore(root, settings, "mx.example.test", FakeClock())


def account_path(root: Path) -> Path:
    return root / "example.test" / "anna"


def query(root: Path, statement: str) -> list[Any]:
    db = sqlite3.connect(account_path(root) / "index.db", isolation_level=None)
    try:
        return db.execute(statement).fetchall()
    finally:
        db.close()


async def put(store: MaildirStore, name: str, mailbox: str = INBOX) -> None:
    async with store.begin() as content:
        await content.write(f"Subject: {name}\r\n\r\nbody\r\n".encode())
        await store.commit(content, [Target(account=ANNA, mailbox=mailbox)])


def shown(box: MaildirMailbox) -> dict[int, frozenset[str]]:
    return {uid: box.flag_table.sets[number] for uid, number in zip(box.table.uids, box.table.flags, strict=True)}


@pytest.fixture
async def killed(tmp_path: Path) -> Path:
    """A store that was killed when it had answered flags and a removal, and had put neither into the directory."""
    async with open_store(tmp_path / "alive") as store:
        account = await store.open_account(ANNA)
        for name in ("one", "two", "three", "four"):
            await put(store, name)
        async with account.open(INBOX) as box:
            await box.rendered([1, 2, 3, 4], list(Rendered))
            await box.set_flags([1], FlagChange.ADD, frozenset({FLAGGED}))
            await box.set_flags([2], FlagChange.ADD, KEYWORDS)
            await box.expunge([3])
        shutil.copytree(tmp_path / "alive", tmp_path / "killed")
    return tmp_path / "killed"


async def check(root: Path, *, modseqs: bool) -> None:
    async with open_store(root) as store:
        account = await store.open_account(ANNA)
        async with account.open(INBOX) as box:
            assert shown(box) == {1: {FLAGGED}, 2: KEYWORDS, 4: frozenset()}
            assert (list(box.table.modseqs)[:2] == [6, 7]) or not modseqs
            changes = await box.changes_since(7)
            assert list(changes.vanished) == [3] or not changes.vanished_complete
            assert changes.vanished_complete or not modseqs
            assert len(await box.rendered([1, 2, 4], list(Rendered))) == 3
    # Everything was flushed at that stop, so that the index is only a saving again.
    for path in account_path(root).glob("index.db*"):
        path.unlink()
    async with open_store(root) as store:
        account = await store.open_account(ANNA)
        async with account.open(INBOX) as box:
            assert shown(box) == {1: {FLAGGED}, 2: KEYWORDS, 4: frozenset()}


async def test_a_mistake_of_ours_undoes_its_transaction_and_nothing_else(tmp_path: Path) -> None:
    def wrong(db: sqlite3.Connection, number: int) -> None:
        db.execute("DELETE FROM unlinks")
        raise TypeError("a mistake")

    def misspelt(db: sqlite3.Connection, number: int) -> None:
        db.execute("DELETE FROM unlinks")
        db.execute("SELECT nothing FROM messages")

    def misused(db: sqlite3.Connection, number: int) -> None:
        db.execute("SELECT ?, ?", (1,))

    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        await put(store, "one")
        async with account.open(INBOX) as box:
            await box.expunge([1])
            for work, error in ((wrong, TypeError), (misspelt, sqlite3.OperationalError),
                                (misused, sqlite3.ProgrammingError)):  # fmt: skip
                with pytest.raises(error):
                    await account.upkeep.operate(functools.partial(account.upkeep.transact, box.folder, work))
            assert account.upkeep.index.generation == 0
            assert query(tmp_path, "SELECT count(*) FROM unlinks") == [(1,)]


OLD_CACHE = "DROP TABLE rendered_body; CREATE TABLE rendered (key INTEGER PRIMARY KEY, other BLOB); "


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(OLD_CACHE + "PRAGMA user_version = 3", id="before there were two versions"),
        pytest.param(OLD_CACHE + f"PRAGMA user_version = {schema.STATE_VERSION << 24}", id="another cache"),
        pytest.param(
            OLD_CACHE + "ALTER TABLE messages ADD COLUMN later TEXT; ALTER TABLE folders DROP COLUMN modseq;"
            "CREATE TABLE another (x); PRAGMA user_version = 1660944384",
            id="another state",
        ),
    ],
)
async def test_another_version_keeps_what_is_not_in_the_files(killed: Path, statements: str) -> None:
    for statement in statements.split(";"):
        query(killed, statement)
    await check(killed, modseqs=True)


def damage_value(root: Path) -> None:
    query(root, "UPDATE messages SET wire = 'many' WHERE key & 0xFFFFFFFF = 4")


def damage_null(root: Path) -> None:
    # SQLite itself notices only when the row is copied.
    query(root, "PRAGMA ignore_check_constraints = 1")
    query(root, "UPDATE messages SET base = CAST('text' AS TEXT) WHERE key & 0xFFFFFFFF = 4")


def damage_page(root: Path) -> None:
    """SQLite stumbles over the last message."""
    query(root, "PRAGMA wal_checkpoint(TRUNCATE)")
    ((page,),) = query(root, "SELECT rootpage FROM sqlite_master WHERE name = 'messages'")
    ((size,),) = query(root, "PRAGMA page_size")
    path = account_path(root) / "index.db"
    octets = bytearray(path.read_bytes())
    # The cell of the last message points to nowhere.
    octets[(page - 1) * size + 8 + 2 * 2 : (page - 1) * size + 8 + 2 * 3] = b"\xff\xff"
    path.write_bytes(octets)


def no_table(root: Path) -> None:
    query(root, "DROP TABLE tombstones")


@pytest.mark.parametrize("damage", [damage_value, damage_null, damage_page, no_table])
async def test_what_only_a_damaged_index_knew_is_kept(killed: Path, damage: Callable[[Path], None]) -> None:
    damage(killed)
    await check(killed, modseqs=False)


async def test_rebuild_takes_what_only_a_damaged_index_knew(killed: Path) -> None:
    damage_page(killed)
    rebuild_account(os.fspath(account_path(killed)), 1_800_000_000.0)
    await check(killed, modseqs=False)


async def test_damage_under_an_open_mailbox_loses_nothing(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        for name in ("one", "two", "three"):
            await put(store, name)
        async with account.open(INBOX) as box:
            await box.set_flags([1], FlagChange.ADD, frozenset({FLAGGED}))
            await box.expunge([3])
            query(tmp_path, "UPDATE messages SET base = X'00' WHERE key & 0xFFFFFFFF = 2")
            assert [uid async for batch in box.read_many([1, 2]) for uid, _ in batch] == [1, 2]
            assert account.upkeep.index.generation == 1
            await box.set_flags([2], FlagChange.ADD, frozenset({SEEN}))
            assert shown(box) == {1: {FLAGGED}, 2: {SEEN}}
        await account.upkeep.flush()
        names = [path.name for path in (account_path(tmp_path) / "cur").iterdir()]
        assert sorted(name.partition(":")[2] for name in names) == ["2,F", "2,S"]


@pytest.mark.parametrize("salvaged", [False, True])
async def test_numbers_of_a_lost_index_mean_nothing_in_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, salvaged: bool
) -> None:
    """Who still has the number of a folder when the index is lost does not read another folder's pieces."""
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        await account.create("New")
        async with account.open(INBOX) as inbox, account.open("Archive") as archive:
            await put(store, "one")
            await put(store, "one", "Archive")
            await inbox.refresh()
            await archive.refresh()
            if salvaged:
                await inbox.set_flags([1], FlagChange.ADD, frozenset({FLAGGED}))
                highest = "(SELECT max(number) FROM folders)"
                query(tmp_path, f"UPDATE folders SET uid_validity = 'x' WHERE number = {highest}")
            # The folder whose number the successor would give to the next one that is looked at.
            box = archive if salvaged else inbox

            async def lose() -> None:
                with account.upkeep.index.lock:
                    account.upkeep.index._lost()
                await put(store, "other", "New")
                async with account.open("New") as other:
                    await other.rendered([1], list(Rendered))

            loop, read = asyncio.get_running_loop(), reading.read_rendered

            def late(*arguments: Any) -> Any:
                monkeypatch.undo()
                asyncio.run_coroutine_threadsafe(lose(), loop).result()
                return read(*arguments)

            monkeypatch.setattr(reading, "read_rendered", late)
            pieces = await box.rendered([1], [Rendered.ENVELOPE])
            assert not pieces or b"one" in pieces[1][0]
            pieces = await box.rendered([1], [Rendered.ENVELOPE])
            assert b"one" in pieces[1][0]


async def test_a_uid_that_is_gone_is_not_given_back_to_a_file(killed: Path) -> None:
    async with open_store(killed) as store:
        account = await store.open_account(ANNA)
        (three,) = [path for sub in ("new", "cur") for path in (account_path(killed) / sub).iterdir()
                    if ",U=3," in path.name]  # fmt: skip
        kept = three.read_bytes()
        await account.refresh(account.folders[INBOX])
    three.write_bytes(kept)
    damage_value(killed)
    async with open_store(killed) as store:
        account = await store.open_account(ANNA)
        async with account.open(INBOX) as box:
            assert sorted(box.table.uids)[:3] == [1, 2, 4] and len(box.table) == 4


async def test_killed_between_the_old_index_and_the_salvaged_one(
    killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = account_path(killed) / "index.db"
    damage_value(killed)

    def killed_here(path: str) -> None:
        if os.path.lexists(path + salvage.SALVAGED):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(salvage, "finish_salvage", killed_here)
        with pytest.raises(KeyboardInterrupt):
            salvage.salvage(os.fspath(path), lambda error: False)
    assert path.exists() and path.with_name(path.name + salvage.SALVAGED).exists()
    await check(killed, modseqs=False)


async def test_a_full_disk_leaves_the_damaged_index_for_later(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage_value(killed)

    def full(path: str, found: Any) -> None:
        raise OSError(errno.ENOSPC, "no room")

    async with open_store(killed) as store:
        await store.recovered()
        account = await store.open_account(ANNA)
        with monkeypatch.context() as patch:
            patch.setattr(salvage, "_write", full)
            with pytest.raises(StorageFailure):
                async with account.open(INBOX):
                    pass
    await check(killed, modseqs=False)


COLUMNS = [
    (table, part.split()[0])
    for table, columns in schema.STATE_TABLES.items()
    for part in columns.split(",")
    if "PRIMARY" not in part
]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
async def test_whatever_stands_in_a_column_every_message_is_there(killed: Path, table: str, column: str) -> None:
    for at, value in enumerate(("'text'", "X'FF2F00'", "-1", "1 << 62", "0.5")):
        root = killed.with_name(f"copy{at}")
        shutil.copytree(killed, root)
        query(root, f"UPDATE OR IGNORE {table} SET {column} = {value}")
        async with open_store(root) as store:
            await store.recovered()
            account = await store.open_account(ANNA)
            await account.status(INBOX)
            async with account.open(INBOX) as box:
                assert {1, 2, 4} <= set(box.table.uids) or len(box.table) >= 3, value
                assert len([uid async for batch in box.read_many(list(box.table.uids)) for uid, _ in batch]) >= 3
                await box.changes_since(2)
                await box.set_flags(list(box.table.uids), FlagChange.ADD, frozenset({SEEN}))
                await account.upkeep.flush()
