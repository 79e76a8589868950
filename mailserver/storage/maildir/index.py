"""`index.db`: what an account's folders hold, so that nobody has to list directories or parse messages twice.

It may be deleted after a clean stop, and is made anew when SQLite or a value in it says that it is damaged. For one
second it knows more than the directories: flags that are not yet in the names (`dirty`), and removed messages whose
files are not yet unlinked (`unlinks`); these are taken out of a damaged one first (salvage.py). A mistake of this
program is no damage: it undoes one transaction, and nothing else.

One connection for an account, used by any thread under its lock. Open databases are kept by an `IndexPool`, the least
recently used one is closed. Its tables: schema.py, keys.py.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog

from mailserver.model.errors import InvalidInput, StorageFailure
from mailserver.model.flags import normalize_flag
from mailserver.net.faults import Faults
from mailserver.storage.maildir.salvage import UNREADABLE, finish_salvage, salvage
from mailserver.storage.maildir.schema import is_ours, prepare

__all__ = ["INDEX_FILE", "AccountIndex", "BadValue", "IndexLost", "IndexPool", "Unsure", "decoding"]

_T = TypeVar("_T")
_log = structlog.get_logger()
INDEX_FILE = "index.db"
#: The disk's troubles.
_DISK = frozenset({
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT,
})  # fmt: skip


#: The file is not what we wrote; whatever else SQLite says is said of our statements.
_DAMAGE = frozenset({
    sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_SCHEMA,
})  # fmt: skip
#: Where the versions of the format stand in a file, one for writing and one for reading.
_VERSIONS = 18
#: The file or our statement; it depends.
_EITHER = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT})


class IndexLost(Exception):
    """The database was damaged and is a new one now: what was known must be learnt again from the directories."""


class Unsure(StorageFailure):
    """The disk refused while a transaction was being committed: it may stand, or not, when the log is read again."""


class BadValue(Exception):
    """A value in the database is none that we wrote there."""


@contextmanager
def decoding() -> Iterator[None]:
    """What goes wrong in this block goes wrong for the values that it reads. Raises BadValue."""
    try:
        yield
    except (TypeError, ValueError, KeyError, OverflowError, AttributeError) as error:
        raise BadValue(repr(error)) from error


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
            StorageFailure: the disk refuses. Unsure: at the very end.
            Anything else that `work` raises, which then has changed nothing.
        """
        with self.lock:
            committing = False
            try:
                db = self._open()
                if durable:
                    db.execute("PRAGMA synchronous = FULL")
                try:
                    db.execute("BEGIN IMMEDIATE")
                    result = work(db)
                    committing = True
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
                raise self._failed(error, committing=committing) from error
            except (BadValue, UnicodeDecodeError) as error:
                _log.warning("index.value_damaged", path=self.path, error=str(error))
                raise self._lost() from error

    def _failed(self, error: sqlite3.Error, *, committing: bool) -> Exception:
        if _is_of_the_disk(error) and not self._only_says_so(error):
            # On a full disk the last frame, which makes a transaction stand, is never written.
            full = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL
            self._pool.note(error)
            return _refused(error, Unsure if committing and not full else StorageFailure)
        if not self._is_damage(error):
            return error
        _log.warning("index.damaged", path=self.path, error=str(error))
        return self._lost()

    def _only_says_so(self, error: sqlite3.Error) -> bool:
        """Is it the file that says nobody may write to it, by versions of its format that SQLite does not write?"""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_READONLY:
            return False
        try:
            with open(self.path, "rb") as file:
                file.seek(_VERSIONS)
                return file.read(2) not in (b"\1\1", b"\2\2")
        except OSError:
            return False

    def _is_damage(self, error: sqlite3.Error) -> bool:
        if self._only_says_so(error):
            return True
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            # The module's own words: of a statement that was misused, or of text that is none.
            return not isinstance(error, (sqlite3.ProgrammingError, sqlite3.InterfaceError))
        if code & 0xFF not in _EITHER:
            return code & 0xFF in _DAMAGE
        try:
            return self._db is None or not is_ours(self._db)
        except UNREADABLE:
            return True

    def _lost(self) -> Exception:
        self._close()
        try:
            salvage(self.path, _is_of_the_disk)
        except (OSError, *UNREADABLE) as error:
            # Better no answer now than one that forgets what was promised.
            return _refused(error)
        self.generation += 1
        return IndexLost(self.path)

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            finish_salvage(self.path)
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
        prepare(db)
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
        self._flag_sets = {number: _flags(words) for number, words in rows}
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
        """The set of a number. Raises BadValue."""
        with decoding():
            return self._flag_sets[number]


def _flags(words: object) -> frozenset[str]:
    if not isinstance(words, str):
        raise BadValue("a set of flags is no text")
    try:
        return frozenset(normalize_flag(word) for word in words.split())
    except InvalidInput as error:
        raise BadValue(error.text) from error


def _is_of_the_disk(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DISK


def _refused(error: Exception, kind: type[StorageFailure] = StorageFailure) -> StorageFailure:
    return kind("the mailbox index cannot be used now, try again later", detail=str(error))


class IndexPool:
    """Keeps at most `limit` databases open, and counts what the disk did to any."""

    def __init__(self, limit: int, faults: Faults) -> None:
        self._limit = limit
        self._faults = faults
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

    def note(self, error: sqlite3.Error) -> None:
        """The disk refused a database something."""
        code = error.sqlite_errorcode
        if code & 0xFF == sqlite3.SQLITE_IOERR and code != sqlite3.SQLITE_IOERR_NOMEM:
            self._faults.note(OSError(errno.EIO, str(error)))

    def closed(self, index: AccountIndex) -> None:
        """It is closed."""
        with self._lock:
            self._open.pop(index, None)
