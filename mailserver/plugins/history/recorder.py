"""Takes events on the event loop, and writes them in a thread of its own, a batch twice a second.

Mail never waits for it: what does not fit is left out and counted, and so is what the disk refuses. A crash costs what
was not written yet, half a second as a rule.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from mailserver import api
from mailserver.plugins.history import database
from mailserver.plugins.history.rows import KNOWN, Rows, rows_of

__all__ = ["Recorder", "open_recorder"]

_log = structlog.get_logger()
#: Seconds between an event and its row.
_PAUSE = 0.5
#: Events in memory: a few seconds of the fastest server, some 20 MB.
_MOST_WAITING = 20_000
#: Seconds between two looks at what is too old.
_PRUNE = 300.0
_SEARCH_SECONDS = 10.0
#: What text that is no Unicode and numbers of more than 64 bits lead to.
_ODD = (ValueError, TypeError, OverflowError)
#: Refusals within an hour that are kept, of all clients and of one network: 50 MB in two weeks at most.
_MOST_REFUSED, _REFUSED_WINDOW, _MOST_NETWORKS = (500, 20), 3600.0, 10_000


class Recorder:
    """For one database. `observe` is the event sink."""

    def __init__(
        self, db: api.DatabaseThread, clock: api.Clock, *, keep: float, max_size: int
    ) -> None:
        self._db = db
        self._clock = clock
        self._keep = keep
        self._max_size = max_size
        self._waiting: list[tuple[float, api.Event]] = []
        self._batches = api.Batches(
            self._write, lambda: bool(self._waiting), pause=_PAUSE, name="history",
            missing="events are missing in the history",
        )  # fmt: skip
        self._pruned = -_PRUNE
        self._refusals = api.SlidingCounter(_REFUSED_WINDOW, clock, _MOST_NETWORKS)

    def observe(self, event: api.Event) -> None:
        """One event; the kinds that concern no message are passed over."""
        if type(event) not in KNOWN or (isinstance(event, api.Refused) and not self._worth(event)):
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._batches.lose(1, "too much happens at once")
            return
        self._waiting.append((self._clock.time(), event))
        self._batches.soon()

    async def find(self, where: str, values: list[Any], limit: int) -> list[dict[str, Any]]:
        """Events, the newest first. Raises StorageFailure, LimitReached."""
        await self.flush()
        return await self._db.run(database.find, where, values, limit, _SEARCH_SECONDS)

    async def related(self, name: str) -> list[dict[str, Any]]:
        """A message's story; see `database.related`. Raises StorageFailure."""
        await self.flush()
        return await self._db.run(database.related, name)

    @property
    def lost(self) -> int:
        """Events that are not in the history."""
        return self._batches.lost

    async def flush(self) -> None:
        """Everything that was observed until now is written, or lost."""
        await self._batches.flush()

    async def _write(self) -> None:
        events, self._waiting = self._waiting, []
        try:
            odd = await self._db.run(self._write_rows, events)
        except api.StorageFailure as error:
            self._batches.lose(len(events), error.for_operator)
        else:
            if odd:
                self._batches.lose(odd, "what they say cannot be written")

    def _write_rows(self, db: sqlite3.Connection, events: Sequence[tuple[float, api.Event]]) -> int:
        """How many are left out: one that cannot be written must not take others with it."""
        odd = 0
        try:
            _write_together(db, events)
        except _ODD:
            for one in events:
                try:
                    _write_together(db, (one,))
                except _ODD as error:
                    odd += 1
                    _log.error("history.fault", kind=type(one[1]).__name__, error=type(error).__name__)
        self._prune(db)
        return odd

    def _prune(self, db: sqlite3.Connection) -> None:
        now = self._clock.monotonic()
        if now - self._pruned >= _PRUNE:
            self._pruned = now
            database.prune(db, self._clock.time() - self._keep, self._max_size)

    def _worth(self, event: api.Refused) -> bool:
        """Who knocks all day must not drive everything else out of the history."""
        keys = ("", next(iter(api.network_keys(event.peer)), event.peer))
        if any(self._refusals.count(key) >= most for key, most in zip(keys, _MOST_REFUSED, strict=True)):
            return False
        for key in keys:
            self._refusals.add(key)
        return True


def _write_together(db: sqlite3.Connection, events: Sequence[tuple[float, api.Event]]) -> None:
    rows = Rows()
    for at, event in events:
        rows_of(at, event, rows)
    database.write(db, rows)


@asynccontextmanager
async def open_recorder(path: Path, clock: api.Clock, *, keep: float, max_size: int) -> AsyncIterator[Recorder]:
    """Raises StorageFailure."""
    async with api.database_thread(path, database.open_database) as db:
        recorder = Recorder(db, clock, keep=keep, max_size=max_size)
        try:
            yield recorder
        finally:
            await recorder.flush()
