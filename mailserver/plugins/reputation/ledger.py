"""What is known of senders, on disk. Reading is asked for each message; writing is done a batch at a time.

Mail never waits for what is learned: what does not fit is left out, and so is what the disk refuses.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from mailserver import api
from mailserver.plugins.reputation import database
from mailserver.plugins.reputation.correspondents import Correspondents
from mailserver.plugins.reputation.database import Filing, Seen
from mailserver.plugins.reputation.identities import Identities
from mailserver.plugins.reputation.judging import History, wanted_keys
from mailserver.plugins.reputation.settings import ReputationSettings

__all__ = ["Ledger", "open_ledger"]

_log = structlog.get_logger()
#: Seconds between an event and its row.
_PAUSE = 1.0
_MOST_WAITING = 20_000
_PRUNE = 600.0


class Ledger:
    """For one database."""

    def __init__(self, db: api.DatabaseThread, clock: api.Clock, settings: ReputationSettings) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._correspondents = Correspondents()
        self._waiting: list[Seen | Filing] = []
        self._batches = api.Batches(
            self._write, lambda: bool(self._waiting), pause=_PAUSE, name="reputation",
            missing="nothing is learned of senders",
        )  # fmt: skip
        self._pruned = -_PRUNE

    async def recall(self, account: api.AccountId, who: Identities) -> History:
        """What an account knows of those who stand behind a message. Raises StorageFailure."""
        return await self._db.run(
            database.recall, self._correspondents, account, wanted_keys(who), who.domain, self._clock.time(),
            self._settings.half_life,
        )  # fmt: skip

    def note(self, event: Seen | Filing) -> None:
        """To be written soon."""
        if len(self._waiting) >= _MOST_WAITING:
            self._batches.lose(1, "too much happens at once")
            return
        self._waiting.append(event)
        self._batches.soon()

    @property
    def lost(self) -> int:
        """Events from which nothing was learned."""
        return self._batches.lost

    async def flush(self) -> None:
        """Everything that was noted until now is written, or lost."""
        await self._batches.flush()

    async def _write(self) -> None:
        events, self._waiting = self._waiting, []
        try:
            await self._db.run(self._write_rows, events)
        except api.StorageFailure as error:
            self._batches.lose(len(events), error.for_operator)

    def _write_rows(self, db: sqlite3.Connection, events: list[Seen | Filing]) -> None:
        database.write(db, self._correspondents, events, self._settings.half_life)
        now = self._clock.monotonic()
        if now - self._pruned >= _PRUNE:
            self._pruned = now
            database.prune(db, self._clock.time() - self._settings.forget, self._settings.max_size)


@asynccontextmanager
async def open_ledger(path: Path, clock: api.Clock, settings: ReputationSettings) -> AsyncIterator[Ledger]:
    """Raises StorageFailure."""
    async with api.database_thread(path, database.open_database) as db:
        ledger = Ledger(db, clock, settings)
        try:
            yield ledger
        finally:
            await ledger.flush()
