"""All bans in memory, where each connection looks, and on disk, so that a restart lifts none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from mailserver import api
from mailserver.plugins.bans import database
from mailserver.plugins.bans.database import PlaceKey
from mailserver.plugins.bans.networks import Ban, BanTable, Network, wide
from mailserver.plugins.bans.settings import BanSettings

__all__ = ["PLACE_LIFE", "Ledger", "open_ledger"]

_log = structlog.get_logger()
#: Seconds between a change and its row.
_PAUSE = 1.0
#: Seconds for which a place is known after a login.
PLACE_LIFE = 60 * 86_400.0


class Ledger:
    """Bans and places of one server."""

    def __init__(self, db: api.DatabaseThread, clock: api.Clock, settings: BanSettings) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._table = BanTable()
        #: Which narrower networks of a site were banned, until when.
        self._sites: dict[Network, dict[Network, float]] = {}
        self.places: dict[PlaceKey, float] = {}
        #: The one that takes its place by a reload.
        self.successor: Ledger | None = None
        self.is_open = True
        self._put: dict[Network, Ban] = {}
        self._removed: set[Network] = set()
        self._new_places: dict[PlaceKey, float] = {}
        self._batches = api.Batches(self._write, self._waits, pause=_PAUSE, name="bans")

    async def load(self, before: Ledger | None = None) -> None:
        """What is on disk, and what the ledger `before` this one knows and has not written; from now on it tells this
        one what it learns. Raises StorageFailure."""
        now = self._clock.time()
        bans, self.places = await self._db.run(database.load, now - self._settings.remember, now - PLACE_LIFE)
        for ban in bans:
            self._keep(ban)
        if before is not None:
            for ban in before._table:
                self._keep(ban)
            self.places |= before.places
            before.successor = self

    def find(self, peer: str) -> Ban | None:
        """The ban that holds for an address now."""
        return self._table.find(peer, self._clock.time())

    def active(self) -> list[Ban]:
        """Those that hold now; the ones that end first come first."""
        now = self._clock.time()
        return sorted((ban for ban in self._table if ban.until > now), key=lambda ban: ban.until)

    def ban(self, network: Network, reason: str) -> Ban:
        """Begin a ban, or the next and longer one."""
        now, before = self._clock.time(), self._table.get(network)
        if before is not None and before.until > now:
            return before
        recent = before is not None and now - before.until < self._settings.remember
        times = before.times + 1 if before is not None and recent else 1
        # A large power would be no float any more.
        length = min(self._settings.first * 4.0 ** min(times - 1, 20), self._settings.longest)
        made = Ban(network, now, now + length, reason, times)
        self.put(made)
        _log.warning("banned", network=str(network), reason=reason, seconds=round(length), times=times)
        return made

    def put(self, ban: Ban) -> None:
        """Keep it, here and soon on disk."""
        self._keep(ban)
        if self.successor is not None:
            self.successor._keep(ban)
        self._put[ban.network] = ban
        self._removed.discard(ban.network)
        self._batches.soon()

    def lift(self, network: Network) -> list[Ban]:
        """End the bans of a network and of all within it, as if they had never been."""
        now = self._clock.time()
        lifted = [
            ban for ban in self._table
            if ban.network.version == network.version and ban.network.subnet_of(network)  # type: ignore[arg-type]
        ]  # fmt: skip
        if self.successor is not None:
            self.successor.lift(network)
        for ban in lifted:
            self._forget(ban.network)
            self._put.pop(ban.network, None)
            self._removed.add(ban.network)
        self._batches.soon()
        return [ban for ban in lifted if ban.until > now]

    def neighbours(self, network: Network) -> int:
        """How many networks of its site are banned now."""
        now = self._clock.time()
        return sum(until > now for until in self._sites.get(wide(network), {}).values())

    def note_place(self, key: PlaceKey) -> None:
        """A user logged in from there."""
        now = self._clock.time()
        # Once a day is enough to know it for two months.
        if now - self.places.get(key, 0.0) < 86_400:
            return
        self.places.pop(key, None)
        self.places[key] = self._new_places[key] = now
        if len(self.places) > database.MOST_PLACES:
            del self.places[next(iter(self.places))]
        self._batches.soon()

    async def flush(self) -> None:
        """What waits is written, or given up."""
        await self._batches.flush()

    def _keep(self, ban: Ban) -> None:
        if len(self._table) >= database.MOST_BANS and self._table.get(ban.network) is None:
            self._make_room()
        self._table.put(ban)
        site = wide(ban.network)
        if site != ban.network:
            self._sites.setdefault(site, {})[ban.network] = ban.until

    def _forget(self, network: Network) -> None:
        self._table.remove(network)
        site = self._sites.get(wide(network), {})
        site.pop(network, None)
        if not site:
            self._sites.pop(wide(network), None)

    def _make_room(self) -> None:
        """A tenth of them goes at once, those that end first: it is not done for each new one."""
        bans = sorted(self._table, key=lambda ban: ban.until)
        for ban in bans[: max(1, len(bans) // 10)]:
            self._forget(ban.network)

    def _waits(self) -> bool:
        return bool(self._put or self._removed or self._new_places)

    async def _write(self) -> None:
        put, self._put = self._put, {}
        removed, self._removed = self._removed, set()
        places, self._new_places = self._new_places, {}
        now = self._clock.time()
        try:
            await self._db.run(
                database.write, list(put.values()), list(removed), places, now - self._settings.remember,
                now - PLACE_LIFE,
            )  # fmt: skip
        except api.StorageFailure as error:
            _log.warning("bans are in memory only", error=error.for_operator)


#: By file. A reload opens the next ledger before it closes this one, and what is learned in between is not on disk yet.
_OPEN: dict[Path, Ledger] = {}


@asynccontextmanager
async def open_ledger(path: Path, clock: api.Clock, settings: BanSettings) -> AsyncIterator[Ledger]:
    """Raises StorageFailure."""
    async with api.database_thread(path, database.open_database) as db:
        ledger = Ledger(db, clock, settings)
        before = _OPEN.get(path)
        await ledger.load(before)
        _OPEN[path] = ledger
        try:
            yield ledger
        finally:
            if before is not None and before.successor is ledger:
                before.successor = None
            if _OPEN.get(path) is ledger:
                del _OPEN[path]
                if before is not None and before.is_open:
                    # The reload failed.
                    _OPEN[path] = before
            ledger.is_open = False
            await ledger.flush()
