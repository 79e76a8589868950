"""Senders whose address is too long to be written into a return address: kept here, under a short name."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from mailserver import api

__all__ = ["LongNames"]

T = TypeVar("T")
_REMEMBER = 30 * 86400.0
#: About 20 MB. The oldest go first: a bounce of them does not find back, and nothing else is lost.
_MOST = 100_000
_VERSION = 1
# There are files that say nothing of their version.
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS sender (name TEXT PRIMARY KEY, address TEXT NOT NULL, seen REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS seen ON sender (seen)",
)


class LongNames:
    """The table; one thread of its own does what touches the disk. Every method may raise StorageFailure."""

    def __init__(self, path: Path, clock: api.Clock) -> None:
        self._path = path
        self._clock = clock
        self._db: sqlite3.Connection | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="srs")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.submit(self._close)
        self._pool.shutdown(wait=True)

    async def keep(self, address: str) -> str:
        """The name of an address: always the same one, 20 letters and digits."""
        name = base64.b32encode(hashlib.sha256(address.encode()).digest()).decode("ascii").lower()[:20]
        now = self._clock.time()

        def write(db: sqlite3.Connection) -> None:
            with api.transaction(db):
                db.execute("INSERT OR REPLACE INTO sender VALUES (?, ?, ?)", (name, address, now))
                db.execute("DELETE FROM sender WHERE seen < ?", (now - _REMEMBER,))
                db.execute(
                    "DELETE FROM sender WHERE name IN (SELECT name FROM sender ORDER BY seen DESC LIMIT -1 OFFSET ?)",
                    (_MOST,),
                )

        await self._run(write)
        return name

    async def find(self, name: str) -> str | None:
        """The address of a name."""

        def read(db: sqlite3.Connection) -> str | None:
            row = db.execute("SELECT address FROM sender WHERE name = ?", (name.lower(),)).fetchone()
            return None if row is None else str(row[0])

        return await self._run(read)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(self._open()))
        except (OSError, sqlite3.Error) as error:
            raise api.StorageFailure("the return address cannot be kept, try again later", detail=str(error)) from error

    def _open(self) -> sqlite3.Connection:
        """Only few have use for it, so it is made at the first need."""
        if self._db is None:
            db = api.open_side_database(self._path, _VERSION, _SCHEMA)
            # The mail with the short name in its return address outlives a loss of power.
            db.execute("PRAGMA synchronous=FULL")
            self._db = db
        return self._db

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
