"""Counts what happens, by UTC day and domain (RFC 8460 §4, RFC 9990 §3.1). Mail never waits for it.

Rows are added up in memory and written every few seconds; a crash loses the last ones, and nothing else.
"""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime, timedelta

from mailserver import api
from mailserver.plugins.aggregate_reports import database
from mailserver.plugins.aggregate_reports.database import Batch
from mailserver.plugins.aggregate_reports.kind import Kind

__all__ = ["Collector"]

#: Seconds between an event and its row.
_PAUSE = 5.0
#: Kinds of rows in memory: a few MB. What is left of those beyond (`Kind.coarser`) may be as many again.
_MOST_KINDS = 10_000


class Collector:
    """`observe` is an event sink. `spread`: seconds after midnight within which reports are sent."""

    def __init__(self, kind: Kind, db: api.DatabaseThread, clock: api.Clock, hostname: str, spread: float) -> None:
        self._kind = kind
        self._db = db
        self._clock = clock
        self._hostname = hostname
        self._spread = spread
        self._batches = api.Batches(
            self._write, lambda: bool(self._counts), pause=_PAUSE, name=kind.name, missing=f"{kind.name}.not_counted"
        )
        self._counts: dict[tuple[str, str], Batch] = {}
        self._kinds = 0

    def observe(self, event: api.Event) -> None:
        """One event; only those count that this kind of report is about."""
        found = self._kind.counted(event)
        if found is None:
            return
        key = (f"{datetime.fromtimestamp(self._clock.time(), UTC):%Y-%m-%d}", found.domain)
        rows = self._counts[key].rows if key in self._counts else {}
        facts = self._fitting(found.facts, rows)
        if not facts:
            self._batches.lose(1, "too many kinds at once")
            return
        self._kinds += facts not in rows
        rows[facts] = rows.get(facts, 0) + 1
        self._counts[key] = Batch(found.about, rows)
        self._batches.soon()

    def _fitting(self, facts: str, rows: dict[str, int]) -> str:
        if facts in rows or self._kinds < _MOST_KINDS:
            return facts
        left = self._kind.coarser(facts)
        return left if left in rows or self._kinds < 2 * _MOST_KINDS else ""

    async def flush(self) -> None:
        """Everything that was observed is written, or lost."""
        await self._batches.flush()

    async def _write(self) -> None:
        counts, self._counts, self._kinds = self._counts, {}, 0
        due_at = {key: self._due_at(*key) for key in counts}
        try:
            lost = await self._db.run(database.add_counts, self._kind, counts, due_at)
            if lost:
                self._batches.lose(lost, "too many domains or kinds in a day")
        except api.StorageFailure as error:
            self._batches.lose(sum(sum(batch.rows.values()) for batch in counts.values()), error.for_operator)

    def _due_at(self, day: str, domain: str) -> float:
        """When the report of a day leaves (RFC 8460 §4.1): each domain's at another moment, which stays the same."""
        midnight = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
        seed = hashlib.sha256(f"{self._kind.name} {self._hostname} {day} {domain}".encode()).digest()
        return midnight.timestamp() + random.Random(seed).uniform(0, self._spread)  # noqa: S311
