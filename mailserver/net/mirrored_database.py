"""A database beside the mail that is in memory as well, as a whole: looking up costs nothing, changes are on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Concatenate, Generic, ParamSpec, TypeVar

from mailserver.net.database_thread import DatabaseThread

__all__ = ["MirroredDatabase"]

_C = TypeVar("_C")
_P = ParamSpec("_P")
_T = TypeVar("_T")


class MirroredDatabase(Generic[_C]):
    """`contents` is what `read` makes of the database, once there was a `refresh`.

    Who changes the database changes `contents` accordingly. While a plugin is loaded anew there are two of them for a
    moment: what one writes, the other sees with the next thing that it does.
    """

    def __init__(self, db: DatabaseThread, read: Callable[[sqlite3.Connection], _C], empty: _C) -> None:
        self._db = db
        self._read = read
        self._version: int | None = None
        self.contents = empty

    async def run(
        self, work: Callable[Concatenate[sqlite3.Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """As `DatabaseThread.run`."""
        known = self._version

        def perform(db: sqlite3.Connection) -> tuple[_T, int, _C | None]:
            result = work(db, *args, **kwargs)
            version = self._db.version(db)
            return result, version, self._read(db) if version != known else None

        result, version, contents = await self._db.run(perform)
        if contents is not None:
            self._version, self.contents = version, contents
        return result

    async def refresh(self) -> None:
        """See what somebody else has written."""
        await self.run(lambda _: None)

    async def reload(self) -> None:
        """Read it all anew: what was forgotten on disk is forgotten in memory."""
        self._version = None
        await self.refresh()
