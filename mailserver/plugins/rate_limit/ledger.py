"""What accounts sent in the last day, in memory and on disk: a restart does not begin a new day.

The last 24 hours are counted by the hour. What was written is on disk a second later; a crash gives back that second.
When the disk refuses, the limits go on from memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from mailserver import api
from mailserver.plugins.rate_limit import database
from mailserver.plugins.rate_limit.database import Changes, Stored

__all__ = ["Ledger", "open_ledger"]

_log = structlog.get_logger()
_DAY, _HOUR = 86_400.0, 3600.0
#: Seconds between a count and its row.
_PAUSE = 1.0
#: Addresses of all accounts that are known to be on disk.
_MOST_CACHED = 50_000


class Ledger:
    """Counts by account."""

    def __init__(self, db: api.DatabaseThread, stored: Stored, clock: api.Clock) -> None:
        self._db = db
        self._clock = clock
        self._hours = stored.hours
        self._new = stored.new
        self._alarms = stored.alarms
        self._cached: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._changes = Changes()
        self._batches = api.Batches(self._write, lambda: bool(self._changes), pause=_PAUSE, name="sending limits")

    def sent(self, account: str) -> tuple[int, int]:
        """Messages and recipients of the last 24 hours."""
        hours = self._hours.get(account)
        if not hours:
            return 0, 0
        first = self._hour() - 24
        for hour in [hour for hour in hours if hour <= first]:
            del hours[hour]
        return sum(counts[0] for counts in hours.values()), sum(counts[1] for counts in hours.values())

    def add(self, account: str, *, messages: int = 0, recipients: int = 0) -> None:
        """Count more."""
        hour = self._hour()
        for counts in (
            self._hours.setdefault(account, {}).setdefault(hour, [0, 0]),
            self._changes.sent.setdefault((account, hour), [0, 0]),
        ):
            counts[0] += messages
            counts[1] += recipients
        self._batches.soon()

    async def knows(self, account: str, address: str) -> bool:
        """Has the account written to the address (a key) before?"""
        key = (account, address)
        if address in self._new.get(account, ()):
            return True
        if key in self._cached:
            self._cached.move_to_end(key)
            return True
        try:
            known = await self._db.run(database.knows, account, address)
        except api.StorageFailure as error:
            # Who was written to is not known now: nobody is kept from writing to those whom he always writes to.
            _log.warning("sending.db cannot be read", error=error.for_operator)
            return True
        if known:
            now = self._clock.time()
            self._changes.recipients[key] = (now, now)
            self._cache(key)
            self._batches.soon()
        return known

    def new(self, account: str) -> int:
        """Addresses that the account wrote to for the first time in the last 24 hours."""
        found = self._new.get(account)
        if not found:
            return 0
        since = self._clock.time() - _DAY
        # In the order of time, but for a clock that was set back.
        for address in [address for address, first in found.items() if first < since]:
            del found[address]
            self._cache((account, address))
        return len(found)

    def remember(self, account: str, address: str) -> None:
        """The account writes to the address for the first time."""
        now = self._clock.time()
        self._new.setdefault(account, {})[address] = now
        self._changes.recipients[account, address] = (now, now)
        self._batches.soon()

    def alarm(self, account: str, name: str) -> bool:
        """A limit was met: True for the first time in a day."""
        now = self._clock.time()
        told = self._alarms.get((account, name))
        if told is not None and told > now - _DAY:
            return False
        self._alarms[account, name] = self._changes.alarms[account, name] = now
        self._batches.soon()
        return True

    async def flush(self) -> None:
        """Everything is written, or given up."""
        await self._batches.flush()

    def _cache(self, key: tuple[str, str]) -> None:
        self._cached[key] = None
        if len(self._cached) > _MOST_CACHED:
            self._cached.popitem(last=False)

    def _hour(self) -> int:
        return int(self._clock.time() // _HOUR)

    async def _write(self) -> None:
        changes, self._changes = self._changes, Changes()
        try:
            await self._db.run(database.write, changes, self._clock.time() - _DAY)
        except api.StorageFailure as error:
            _log.warning("sending.db cannot be written; after a restart, some of today's mail is not counted",
                         error=error.for_operator)  # fmt: skip


@asynccontextmanager
async def open_ledger(path: Path, clock: api.Clock) -> AsyncIterator[Ledger]:
    """Raises StorageFailure."""
    async with api.database_thread(path, database.open_database) as db:
        ledger = Ledger(db, await db.run(database.load, clock.time() - _DAY), clock)
        try:
            yield ledger
        finally:
            await ledger.flush()
