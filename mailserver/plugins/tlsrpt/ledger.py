"""The database and the thread that works on it; what takes long is done there, too."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from mailserver import api
from mailserver.plugins.tlsrpt import database

__all__ = ["Ledger", "open_ledger"]

_T = TypeVar("_T")


class Ledger:
    """For one database."""

    def __init__(self, db: sqlite3.Connection, workers: api.Workers) -> None:
        self._db = db
        self._workers = workers

    async def run(self, work: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        """`work(db, …)` in the thread. Raises StorageFailure."""
        try:
            return await self._workers.run(lambda: work(self._db, *arguments, **named))
        except (sqlite3.Error, OSError) as error:
            raise api.StorageFailure("tlsrpt.db cannot be used", detail=str(error)) from error

    async def aside(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """`work(…)`, which needs no database, in the thread."""
        return await self._workers.run(work, *arguments)


@asynccontextmanager
async def open_ledger(path: Path) -> AsyncIterator[Ledger]:
    """Raises StorageFailure."""
    workers = api.Workers(asyncio.get_running_loop(), "tlsrpt", 1)
    try:
        try:
            db = await workers.run(database.open_database, path)
        except (sqlite3.Error, OSError) as error:
            raise api.StorageFailure(f"{path} cannot be opened: {error}") from error
        try:
            yield Ledger(db, workers)
        finally:
            await workers.run(db.close)
    finally:
        workers.close()
