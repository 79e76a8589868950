"""Databases: those that nothing depends on are begun anew rather than in the way, the others are left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mailserver.model.errors import StorageFailure
from mailserver.net.databases import open_kept_database, open_side_database, transaction

SCHEMA = ("CREATE TABLE one (value INTEGER)",)


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "below" / "side.db"
    for expected in ([], [(1,)]):
        with closing(open_side_database(path, 1, SCHEMA)) as db:
            assert db.execute("SELECT value FROM one").fetchall() == expected
            if not expected:
                db.execute("INSERT INTO one VALUES (1)")
    assert path.stat().st_mode & 0o077 == 0


def test_another_version_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "side.db"
    open_side_database(path, 2, SCHEMA).close()
    open_side_database(path, 1, SCHEMA).close()
    with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(tmp_path / "side.db.damaged")) as old:
        versions = [one.execute("PRAGMA user_version").fetchone()[0] for one in (db, old)]
    assert versions == [1, 2]


def test_a_directory_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "side.db").mkdir()
    with pytest.raises(OSError, match="directory"):
        open_side_database(tmp_path / "side.db", 1, SCHEMA)


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    with closing(open_side_database(tmp_path / "side.db", 1, SCHEMA)) as db:
        with pytest.raises(ZeroDivisionError), transaction(db):
            db.execute("INSERT INTO one VALUES (1)")
            _ = 1 / 0
        with transaction(db):
            db.execute("INSERT INTO one VALUES (2)")
        assert db.execute("SELECT value FROM one").fetchall() == [(2,)]


def test_a_kept_one_is_made_once_with_its_first_rows(tmp_path: Path) -> None:
    path = tmp_path / "below" / "kept.db"
    for number in (1, 2):
        with closing(open_kept_database(path, 1, SCHEMA, [("INSERT INTO one VALUES (?)", (number,))])) as db:
            assert db.execute("SELECT value FROM one").fetchall() == [(1,)]
            assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert path.stat().st_mode & 0o077 == 0


def test_a_kept_one_takes_every_step_from_its_version_or_none(tmp_path: Path) -> None:
    path = tmp_path / "kept.db"
    steps = {1: ("CREATE TABLE never (value INTEGER)",), 2: ("CREATE TABLE two (value INTEGER)",), 3: ("nonsense",)}
    open_kept_database(path, 2, SCHEMA).close()
    with pytest.raises(sqlite3.OperationalError, match="nonsense"):
        open_kept_database(path, 4, SCHEMA, steps=steps)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
    with closing(open_kept_database(path, 3, SCHEMA, [("INSERT INTO one VALUES (1)", ())], steps=steps)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
        assert db.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall() == [("one",), ("two",)]
        assert db.execute("SELECT value FROM one").fetchall() == []


@pytest.mark.parametrize("damage", ["newer", "garbage"])
def test_a_kept_one_that_cannot_be_used_is_left_alone(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "kept.db"
    if damage == "newer":
        open_kept_database(path, 9, SCHEMA).close()
    else:
        path.write_bytes(b"no database " * 100)
    before = path.read_bytes()
    with pytest.raises((StorageFailure, sqlite3.DatabaseError), match=r"newer version|not a database"):
        open_kept_database(path, 1, SCHEMA)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.damaged"))
