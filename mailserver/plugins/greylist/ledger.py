"""Who is known, on disk. Only mail that looks bad is looked up; what is learned is written a batch at a time."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from mailserver import api
from mailserver.plugins.greylist import database
from mailserver.plugins.greylist.database import Answer, Meeting
from mailserver.plugins.greylist.settings import GreylistSettings

__all__ = ["Ledger", "open_ledger"]

_log = structlog.get_logger()
_PAUSE = 1.0
_PRUNE = 600.0
_MOST_WAITING = 10_000
#: What was noted within a day is not noted again; so many of them are known by heart.
_MOST_FRESH, _DAY = 10_000, 86_400.0


class Ledger:
    """For one database."""

    def __init__(self, db: api.DatabaseThread, clock: api.Clock, settings: GreylistSettings) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._known: dict[tuple[str, str], float] = {}
        self._written: dict[str, float] = {}
        self._fresh: OrderedDict[object, float] = OrderedDict()
        self._batches = api.Batches(
            self._write, lambda: bool(self._known or self._written), pause=_PAUSE, name="greylist"
        )
        self._pruned = -_PRUNE

    async def meet(self, meeting: Meeting) -> Answer:
        """What is known of a sender whose mail looks bad. Raises StorageFailure."""
        await self._batches.flush()
        settings = self._settings
        return await self._db.run(
            self._meet, meeting, self._clock.time(), settings.delay, settings.window, settings.remember
        )

    def _meet(
        self, db: sqlite3.Connection, meeting: Meeting, now: float, delay: float, window: float, remember: float
    ) -> Answer:
        answer = database.meet(db, meeting, now, delay=delay, window=window, remember=remember)
        self._prune(db)
        return answer

    def note_known(self, source: str, domain: str) -> None:
        """Mail of this domain came from there, and went to an inbox."""
        if self._is_new((source, domain), len(self._known)):
            self._known[source, domain] = self._clock.time()
            self._batches.soon()

    def note_written(self, address: str) -> None:
        """One of our users wrote to it (a key)."""
        if self._is_new(address, len(self._written)):
            self._written[address] = self._clock.time()
            self._batches.soon()

    def _is_new(self, key: object, waiting: int) -> bool:
        now = self._clock.time()
        if now - self._fresh.get(key, float("-inf")) < _DAY or waiting >= _MOST_WAITING:
            return False
        self._fresh[key] = now
        self._fresh.move_to_end(key)
        if len(self._fresh) > _MOST_FRESH:
            self._fresh.popitem(last=False)
        return True

    async def flush(self) -> None:
        """What was noted until now is written, or lost."""
        await self._batches.flush()

    async def _write(self) -> None:
        known, self._known = self._known, {}
        written, self._written = self._written, {}
        try:
            await self._db.run(self._note, known, written)
        except api.StorageFailure as error:
            _log.warning("greylist: not noted", error=error.for_operator)

    def _note(self, db: sqlite3.Connection, known: dict[tuple[str, str], float], written: dict[str, float]) -> None:
        database.note(db, known, written)
        self._prune(db)

    def _prune(self, db: sqlite3.Connection) -> None:
        now = self._clock.monotonic()
        if now - self._pruned >= _PRUNE:
            self._pruned = now
            wall = self._clock.time()
            database.prune(
                db, waiting_since=wall - self._settings.window, known_since=wall - self._settings.remember
            )


@asynccontextmanager
async def open_ledger(path: Path, clock: api.Clock, settings: GreylistSettings) -> AsyncIterator[Ledger]:
    """Raises StorageFailure."""
    async with api.database_thread(path, database.open_database) as db:
        ledger = Ledger(db, clock, settings)
        try:
            yield ledger
        finally:
            await ledger.flush()
