"""`index.db`: what an account's folders hold, so that nobody has to list directories or parse messages twice.

It may be deleted after a clean stop, and is made anew when SQLite or a value in it says that it is damaged. For one
second it knows more than the directories: flags that are not yet in the names (`dirty`), and removed messages whose
files are not yet unlinked (`unlinks`).

One connection for an account, used by any thread under its lock. Open databases are kept by an `IndexPool`, the least
recently used one is closed. A message's key is `folder number << 32 | UID`, so a folder is a range.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog

from mailserver.model.errors import StorageFailure
from mailserver.model.mailbox import Rendered
from mailserver.net import files

__all__ = ["INDEX_FILE", "SCHEMA_VERSION", "AccountIndex", "IndexLost", "IndexPool", "key_range"]

_T = TypeVar("_T")
_log = structlog.get_logger()
INDEX_FILE = "index.db"
SCHEMA_VERSION = 5
_PIECES = ", ".join(f"{piece.value} BLOB" for piece in Rendered)
_SCHEMA = f"""
CREATE TABLE folders (
    number INTEGER PRIMARY KEY AUTOINCREMENT, mailbox_id TEXT NOT NULL UNIQUE, uid_validity INTEGER NOT NULL,
    uid_seen INTEGER NOT NULL DEFAULT 1, modseq INTEGER NOT NULL DEFAULT 1, forgotten INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0, entries INTEGER NOT NULL DEFAULT 0,
    new_mtime INTEGER NOT NULL DEFAULT -1, cur_mtime INTEGER NOT NULL DEFAULT -1);
CREATE TABLE messages (
    key INTEGER PRIMARY KEY, flags INTEGER NOT NULL, modseq INTEGER NOT NULL, size INTEGER NOT NULL,
    wire INTEGER NOT NULL, date INTEGER NOT NULL, saved INTEGER NOT NULL, in_new INTEGER NOT NULL,
    dirty INTEGER NOT NULL, base BLOB NOT NULL, info BLOB NOT NULL);
CREATE INDEX dirty_messages ON messages (key) WHERE dirty;
CREATE INDEX new_messages ON messages (key) WHERE in_new;
CREATE TABLE rendered (key INTEGER PRIMARY KEY, crc INTEGER NOT NULL, {_PIECES});
CREATE TABLE tombstones (key INTEGER PRIMARY KEY, modseq INTEGER NOT NULL);
CREATE TABLE unlinks (key INTEGER PRIMARY KEY, in_new INTEGER NOT NULL, base BLOB NOT NULL, info BLOB NOT NULL);
CREATE TABLE flag_sets (number INTEGER PRIMARY KEY, flags TEXT NOT NULL UNIQUE);
"""
#: The disk's troubles; every other error of SQLite means that the file is not what we wrote.
_DISK = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT,
})  # fmt: skip


class IndexLost(Exception):
    """The database was damaged and is empty now: whatever was known must be learnt again from the directories."""


def key_range(number: int) -> tuple[int, int]:
    """The first and last key of a folder."""
    return number << 32, number << 32 | 0xFFFFFFFF


class AccountIndex:
    """The index of one account."""

    def __init__(self, pool: IndexPool, account: str) -> None:
        self._pool = pool
        self.path = f"{account}/{INDEX_FILE}"
        self.lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        #: Grows by one whenever the database began anew.
        self.generation = 0
        self._flag_numbers: dict[frozenset[str], int] = {}
        self._flag_sets: dict[int, frozenset[str]] = {}

    # -- access ------------------------------------------------------------------------------------------------------

    def run(self, work: Callable[[sqlite3.Connection], _T], *, durable: bool = False) -> _T:
        """`work(connection)` in one transaction; `durable` survives power loss. In a thread; must be repeatable.

        Raises:
            IndexLost: the database was damaged.
            StorageFailure: the disk refuses.
        """
        with self.lock:
            try:
                db = self._open()
                if durable:
                    db.execute("PRAGMA synchronous = FULL")
                try:
                    db.execute("BEGIN IMMEDIATE")
                    result = work(db)
                    db.execute("COMMIT")
                    return result
                except BaseException:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    # Numbers of flag sets may have been given in what was rolled back.
                    self._read_flag_sets(db)
                    raise
                finally:
                    if durable:
                        db.execute("PRAGMA synchronous = NORMAL")
            except sqlite3.Error as error:
                raise self._failed(error) from error
            except (TypeError, ValueError, KeyError, OverflowError) as error:
                _log.warning("index.value_damaged", path=self.path, error=repr(error))
                raise self._lost() from error

    def _failed(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _DISK:
            return StorageFailure("the mailbox index cannot be used now, try again later", detail=str(error))
        _log.warning("index.damaged", path=self.path, error=str(error))
        return self._lost()

    def _lost(self) -> IndexLost:
        self._close()
        for suffix in ("", "-wal", "-shm"):
            files.remove_file(self.path + suffix)
        self.generation += 1
        return IndexLost(self.path)

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            # Made by us, so that its mode is ours.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=64)
            try:
                self._prepare(db)
            except BaseException:
                db.close()
                raise
            self._db = db
        self._pool.used(self)
        return self._db

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -1024")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            db.execute("BEGIN IMMEDIATE")
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                if not name.startswith("sqlite_"):
                    db.execute(f'DROP TABLE "{name}"')
            for statement in _SCHEMA.split(";"):
                if statement.strip():
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.execute("COMMIT")
        self._read_flag_sets(db)

    def close(self) -> None:
        """Close the database until it is used again."""
        with self.lock:
            self._close()

    def _close(self) -> None:
        if self._db is not None:
            db, self._db = self._db, None
            self._pool.closed(self)
            db.close()

    # -- flag sets: one number for each combination, account-wide ------------------------------------------------------

    def _read_flag_sets(self, db: sqlite3.Connection) -> None:
        rows = db.execute("SELECT number, flags FROM flag_sets").fetchall()
        self._flag_sets = {number: frozenset(flags.split()) for number, flags in rows}
        self._flag_numbers = {flags: number for number, flags in self._flag_sets.items()}

    def flag_number(self, db: sqlite3.Connection, flags: frozenset[str]) -> int:
        """The number of a set of flags, within a transaction."""
        number = self._flag_numbers.get(flags)
        if number is None:
            text = " ".join(sorted(flags))
            number = db.execute("INSERT INTO flag_sets (flags) VALUES (?) RETURNING number", (text,)).fetchone()[0]
            self._flag_numbers[flags], self._flag_sets[number] = number, flags
        return number

    def flag_set(self, number: int) -> frozenset[str]:
        """The set of a number. Raises KeyError (a damaged value)."""
        return self._flag_sets[number]


class IndexPool:
    """Keeps at most `limit` databases open."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: OrderedDict[AccountIndex, None] = OrderedDict()
        self._lock = threading.Lock()

    def used(self, index: AccountIndex) -> None:
        """It is open and was used just now; called under its lock."""
        with self._lock:
            self._open[index] = None
            self._open.move_to_end(index)
            surplus = len(self._open) - self._limit
            others = list(self._open)[:-1] if surplus > 0 else []
        for oldest in others:
            # One that is in use now has better things to do than to be closed.
            if surplus > 0 and oldest.lock.acquire(blocking=False):
                try:
                    oldest._close()
                finally:
                    oldest.lock.release()
                surplus -= 1

    def closed(self, index: AccountIndex) -> None:
        """It is closed."""
        with self._lock:
            self._open.pop(index, None)

    @contextmanager
    def all_closed(self) -> Iterator[None]:
        """Close everything at the end of the block."""
        try:
            yield
        finally:
            for index in list(self._open):
                index.close()
