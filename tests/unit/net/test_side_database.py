"""Databases that nothing depends on: begun anew rather than in the way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mailserver.net.side_database import open_side_database, transaction

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
