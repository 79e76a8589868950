"""SQLite files beside the mail, which nothing that was acknowledged depends on: history, counters.

A commit in them costs no sync. Power loss may take the last seconds; a file that is damaged is put aside, and a new
one begins. For one thread of its own each.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

__all__ = ["open_side_database", "transaction"]

_log = structlog.get_logger()
_BUSY_SECONDS = 5.0


def open_side_database(path: Path, version: int, schema: Sequence[str]) -> sqlite3.Connection:
    """Open it, or make it by the statements of `schema`; one of another `version`, or damaged, becomes `….damaged`.

    Raises sqlite3.Error, OSError.
    """
    try:
        return _open(path, version, schema)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        _log.error("a damaged file is put aside", file=str(path), error=str(error))
    for end in ("-wal", "-shm", ""):
        damaged = path.with_name(path.name + end)
        if damaged.exists():
            damaged.replace(damaged.with_name(f"{damaged.name}.damaged"))
    return _open(path, version, schema)


def _open(path: Path, version: int, schema: Sequence[str]) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Made here, so that it is never readable for others; SQLite gives its other files the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
    try:
        (found,) = db.execute("PRAGMA user_version").fetchone()
        if found not in (0, version):
            raise sqlite3.DatabaseError("written by another version")
        if found == 0:
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        if found == 0:
            with transaction(db):
                for statement in schema:
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={version}")
        db.execute("SELECT name FROM sqlite_master").fetchall()
        return db
    except BaseException:
        db.close()
        raise


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
