"""A database and its thread: the order of the work, what failures are called, and that it is closed in the end."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import threading
from pathlib import Path

import pytest

from mailserver.model.errors import StorageFailure
from mailserver.net.database_thread import database_thread
from mailserver.net.databases import open_side_database

SCHEMA = ("CREATE TABLE one (value INTEGER)",)


def made(path: Path) -> sqlite3.Connection:
    return open_side_database(path, 1, SCHEMA)


def add(db: sqlite3.Connection, value: int) -> str:
    db.execute("INSERT INTO one VALUES (?)", (value,))
    return threading.current_thread().name


def values(db: sqlite3.Connection) -> list[int]:
    return [value for (value,) in db.execute("SELECT value FROM one ORDER BY rowid")]


async def test_work_is_done_in_its_thread_in_order(tmp_path: Path) -> None:
    async with database_thread(tmp_path / "some.db", made) as db:
        names = await asyncio.gather(*(db.run(add, number) for number in range(5)), db.aside(lambda: "beside"))
        assert names == ["some-0"] * 5 + ["beside"]
        assert await db.run(values) == [0, 1, 2, 3, 4]


async def test_a_caller_that_goes_away_stops_nothing(tmp_path: Path) -> None:
    let = threading.Event()
    async with database_thread(tmp_path / "some.db", made) as db:
        waiting = asyncio.create_task(db.run(lambda _: let.wait(10)))
        adding = asyncio.create_task(db.run(add, value=1))
        await asyncio.sleep(0)
        waiting.cancel()
        adding.cancel()
        await asyncio.gather(waiting, adding, return_exceptions=True)
        let.set()
    async with database_thread(tmp_path / "some.db", made) as db:
        assert await db.run(values) == [1]


async def test_what_the_disk_refuses_is_a_storage_failure_and_a_mistake_is_itself(tmp_path: Path) -> None:
    async with database_thread(tmp_path / "some.db", made) as db:
        with pytest.raises(StorageFailure, match=r"some\.db cannot be used") as caught:
            await db.run(lambda db: db.execute("SELECT absent FROM one"))
        assert "no such column" in caught.value.for_operator
        with pytest.raises(ZeroDivisionError):
            await db.run(lambda _: 1 // 0)
        await db.run(add, 1)


async def test_one_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "some.db").mkdir()
    before = threading.active_count()
    with pytest.raises(StorageFailure, match=r"some\.db cannot be opened"):
        async with database_thread(tmp_path / "some.db", made):
            raise AssertionError
    assert threading.active_count() == before


async def test_it_is_closed_by_its_thread_also_when_its_user_fails(tmp_path: Path) -> None:
    kept: list[sqlite3.Connection] = []

    def kept_one(path: Path) -> sqlite3.Connection:
        kept.append(sqlite3.connect(path, check_same_thread=False))
        return kept[0]

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        async with database_thread(tmp_path / "some.db", kept_one):
            raise ZeroDivisionError
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        kept[0].execute("SELECT 1")
    assert threading.active_count() == before


@pytest.fixture
def few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))


@pytest.mark.usefixtures("few_files")
async def test_where_files_are_few_it_is_open_only_while_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    async with database_thread(path, made) as db, database_thread(path, made) as other:
        beside = [path.with_name("some.db-wal"), path.with_name("some.db-shm")]
        assert not [one for one in beside if one.exists()]
        await db.run(add, 1)
        assert not [one for one in beside if one.exists()]
        # What is there is seen by all, and who has not written it knows that it is new.
        before = await other.run(other.version)
        assert await other.run(values) == [1]
        assert await other.run(other.version) == before
        await db.run(add, 2)
        assert await other.run(other.version) == before + 1
        with pytest.raises(StorageFailure):
            await db.run(lambda one: one.execute("SELECT absent FROM one"))
        assert await other.run(values) == [1, 2]
    async with database_thread(path, made) as db:
        assert await db.run(values) == [1, 2]
