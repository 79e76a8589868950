"""SQLite files beside the mail. Each has a thread of its own, by which it is opened, used and closed.

Two kinds. What was said to be done stands in a *kept* database: a commit is durable, and a file that cannot be used is
left alone for somebody to look at. Nothing that was acknowledged depends on a *side* database (history, counters,
caches): a commit costs no sync, power loss may take the last seconds, and a damaged file is put aside for a new one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from mailserver.model.errors import StorageFailure
from mailserver.net.files import fsync_dir

__all__ = ["Statement", "open_kept_database", "open_side_database", "put_aside", "transaction"]

_log = structlog.get_logger()
_BUSY_SECONDS = 5.0
#: SQL with its arguments.
Statement = tuple[str, tuple[Any, ...]]


def open_kept_database(
    path: Path, version: int, schema: Sequence[str], first: Sequence[Statement] = (),
    *, steps: Mapping[int, Sequence[str]] | None = None,
) -> sqlite3.Connection:  # fmt: skip
    """Open it, or make it, durably, by the statements of `schema` and then those of `first`.

    `steps`: for each earlier version what makes it the next one.

    Raises sqlite3.Error, OSError, StorageFailure (written by a newer version).
    """
    db = _connect(path)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        found = _version(db)
        if found > version:
            raise StorageFailure(f"{path} was written by a newer version of this program")
        if found == 0:
            with transaction(db):
                _make(db, version, schema)
                for sql, arguments in first:
                    db.execute(sql, arguments)
            fsync_dir(str(path.parent))
        elif found < version:
            with transaction(db):
                _make(db, version, [one for step in range(found, version) for one in (steps or {})[step]])
        return db
    except BaseException:
        db.close()
        raise


def open_side_database(path: Path, version: int, schema: Sequence[str]) -> sqlite3.Connection:
    """Open it, or make it by the statements of `schema`; one of another `version`, or damaged, becomes `….damaged`.

    Raises sqlite3.Error, OSError.
    """
    try:
        return _open_side(path, version, schema)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        put_aside(path, error)
    return _open_side(path, version, schema)


def put_aside(path: Path, error: sqlite3.Error) -> None:
    """It becomes `….damaged`, with what belongs to it; nobody has it open. Raises OSError."""
    _log.error("a damaged file is put aside", file=str(path), error=str(error))
    for end in ("-wal", "-shm", ""):
        damaged = path.with_name(path.name + end)
        if damaged.exists():
            damaged.replace(damaged.with_name(f"{damaged.name}.damaged"))


def _open_side(path: Path, version: int, schema: Sequence[str]) -> sqlite3.Connection:
    db = _connect(path)
    try:
        found = _version(db)
        if found not in (0, version):
            raise sqlite3.DatabaseError("written by another version")
        if found == 0:
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        if found == 0:
            with transaction(db):
                _make(db, version, schema)
        db.execute("SELECT name FROM sqlite_master").fetchall()
        return db
    except BaseException:
        db.close()
        raise


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Made here, so that it is never readable for others, not for a moment; SQLite gives its other files the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    return sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)


def _version(db: sqlite3.Connection) -> int:
    (found,) = db.execute("PRAGMA user_version").fetchone()
    return int(found)


def _make(db: sqlite3.Connection, version: int, schema: Sequence[str]) -> None:
    for statement in schema:
        db.execute(statement)
    db.execute(f"PRAGMA user_version={version}")


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
