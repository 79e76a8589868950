"""A database beside the mail together with its thread: see `net.databases`."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from mailserver.model.errors import StorageFailure
from mailserver.net.workers import Workers

__all__ = ["DatabaseThread", "database_thread"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


#: With fewer files than this a process cannot have all databases open, of which each has three.
_MANY_FILES = 256
#: Where files are few, one database is open at a time.
_ONE_OPEN = threading.Lock()


class DatabaseThread:
    """Work on the database is done in the order of the calls. A cancelled caller does not stop it.

    The database stays open. Only where the process may have few files it is opened for each work, and closed behind it.
    """

    def __init__(self, path: Path, open_database: Callable[[Path], sqlite3.Connection], workers: Workers) -> None:
        self._path = path
        self._open = open_database
        self._workers = workers
        self._db: sqlite3.Connection | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._changes = 0

    async def run(
        self, work: Callable[Concatenate[sqlite3.Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """The result of `work(db, …)`. Raises StorageFailure for sqlite3.Error and OSError, and what else it raises."""
        try:
            return await self._workers.run(lambda: self._perform(lambda db: work(db, *args, **kwargs)))
        except (sqlite3.Error, OSError) as error:
            raise StorageFailure(f"{self._path.name} cannot be used", detail=str(error)) from error

    def version(self, db: sqlite3.Connection) -> int:
        """Another number when somebody else has changed the file. To be called by work that runs."""
        if self._db is None:
            return self._changes
        (version,) = db.execute("PRAGMA data_version").fetchone()
        return int(version)

    def start(self) -> None:
        """In the thread: look whether it can be used. Raises sqlite3.Error, OSError, StorageFailure."""
        db = self._open(self._path)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY or soft >= _MANY_FILES:
            self._db = db
        else:
            db.close()
            self._stamp = _stamp(self._path)

    def close(self) -> None:
        """In the thread."""
        if self._db is not None:
            self._db.close()

    def _perform(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._db is not None:
            return work(self._db)
        with _ONE_OPEN:
            if _stamp(self._path) != self._stamp:
                self._changes += 1
            db = self._open(self._path)
            try:
                return work(db)
            finally:
                # This writes all of it into the one file that remains.
                db.close()
                self._stamp = _stamp(self._path)

    async def aside(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The result of `work(…)`, which needs no database but takes time."""
        return await self._workers.run(lambda: work(*args, **kwargs))


@asynccontextmanager
async def database_thread(
    path: Path, open_database: Callable[[Path], sqlite3.Connection]
) -> AsyncIterator[DatabaseThread]:
    """Leaving it closes the database when all work is done. Raises StorageFailure: it cannot be opened."""
    workers = Workers(asyncio.get_running_loop(), path.stem, 1)
    database = DatabaseThread(path, open_database, workers)
    try:
        try:
            await workers.run(database.start)
        except (sqlite3.Error, OSError) as error:
            raise StorageFailure(f"{path} cannot be opened: {error}") from error
        try:
            yield database
        finally:
            with suppress(sqlite3.Error):
                await workers.run(database.close)
    finally:
        workers.close()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
