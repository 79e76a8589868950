"""A database beside the mail together with its thread: see `net.databases`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from mailserver.model.errors import StorageFailure
from mailserver.net.workers import Workers

__all__ = ["DatabaseThread", "database_thread"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class DatabaseThread:
    """Work on the database is done in the order of the calls. A cancelled caller does not stop it."""

    def __init__(self, db: sqlite3.Connection, workers: Workers, name: str) -> None:
        self._db = db
        self._workers = workers
        self._name = name

    async def run(
        self, work: Callable[Concatenate[sqlite3.Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """The result of `work(db, …)`. Raises StorageFailure for sqlite3.Error and OSError, and what else it raises."""
        try:
            return await self._workers.run(lambda: work(self._db, *args, **kwargs))
        except (sqlite3.Error, OSError) as error:
            raise StorageFailure(f"{self._name} cannot be used", detail=str(error)) from error

    async def aside(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The result of `work(…)`, which needs no database but takes time."""
        return await self._workers.run(lambda: work(*args, **kwargs))


@asynccontextmanager
async def database_thread(
    path: Path, open_database: Callable[[Path], sqlite3.Connection]
) -> AsyncIterator[DatabaseThread]:
    """Leaving it closes the database when all work is done. Raises StorageFailure: it cannot be opened."""
    workers = Workers(asyncio.get_running_loop(), path.stem, 1)
    try:
        try:
            db = await workers.run(open_database, path)
        except (sqlite3.Error, OSError) as error:
            raise StorageFailure(f"{path} cannot be opened: {error}") from error
        try:
            yield DatabaseThread(db, workers, path.name)
        finally:
            with suppress(sqlite3.Error):
                await workers.run(db.close)
    finally:
        workers.close()
