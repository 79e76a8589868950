"""A database that is in memory as well: read when it is not known, and when somebody else has changed it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mailserver.net.database_thread import database_thread
from mailserver.net.databases import open_kept_database
from mailserver.net.mirrored_database import MirroredDatabase


def made(path: Path) -> sqlite3.Connection:
    return open_kept_database(path, 1, ("CREATE TABLE one (value INTEGER)",))


def add(db: sqlite3.Connection, value: int) -> int:
    db.execute("INSERT INTO one VALUES (?)", (value,))
    return value


class Reading:
    """All values, and how often they were read."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, db: sqlite3.Connection) -> list[int]:
        self.times += 1
        return [value for (value,) in db.execute("SELECT value FROM one ORDER BY value")]


async def test_our_own_changes_are_not_read_again_and_those_of_others_are(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    first, second = Reading(), Reading()
    async with database_thread(path, made) as one, database_thread(path, made) as other:
        ours = MirroredDatabase[list[int]](one, first, [])
        theirs = MirroredDatabase[list[int]](other, second, [])
        await ours.refresh()
        assert await ours.run(add, 1) == 1
        ours.contents.append(1)
        await ours.run(add, value=2)
        ours.contents.append(2)
        assert (ours.contents, first.times) == ([1, 2], 1)
        await theirs.run(add, 3)
        assert (theirs.contents, second.times) == ([1, 2, 3], 1)
        await ours.run(lambda _: None)
        assert (ours.contents, first.times) == ([1, 2, 3], 2)
        await ours.refresh()
        assert first.times == 2
        await ours.reload()
        assert first.times == 3


async def test_work_that_fails_changes_nothing(tmp_path: Path) -> None:
    async with database_thread(tmp_path / "some.db", made) as db:
        ours = MirroredDatabase(db, Reading(), [7])
        with pytest.raises(ZeroDivisionError):
            await ours.run(lambda _: 1 // 0)
        assert ours.contents == [7]
