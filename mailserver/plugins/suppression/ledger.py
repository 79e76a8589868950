"""The list in memory and on disk, and the memory of what was sent. One thread does what touches the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from mailserver import api
from mailserver.plugins.suppression import database
from mailserver.plugins.suppression.database import Entry, Lists, Sent

__all__ = ["Ledger", "open_ledger"]

_T = TypeVar("_T")
#: Rows of what was sent: about 100 MB. Those that a crash loses are bounces that are not recognised, and nothing else.
_MOST_SENT = 500_000
_BUNCH = 200


class Ledger:
    """Look-ups are in memory; changes are durable on return, and raise StorageFailure."""

    def __init__(self, db: api.DatabaseThread, key: bytes, clock: api.Clock) -> None:
        self._thread = db
        self._db = api.MirroredDatabase[Lists](db, database.read_lists, {})
        self._clock = clock
        #: The key of tokens.
        self.key = key
        self._sent: list[Sent] = []

    async def refresh(self) -> None:
        """See what is on disk."""
        await self._db.refresh()

    def __len__(self) -> int:
        """Accounts that have, or had, a list."""
        return len(self._db.contents)

    def get(self, account: api.AccountId, address: str) -> Entry | None:
        """The entry of an address (a key), in force or not."""
        return self._db.contents.get(account, {}).get(address)

    def entries(self) -> list[Entry]:
        """All, by account and address."""
        every = [entry for entries in self._db.contents.values() for entry in entries.values()]
        return sorted(every, key=lambda entry: (entry.account, entry.address))

    async def put(self, entry: Entry, most: int) -> None:
        """Add or replace; the oldest ones of the account go when there are more than `most`."""
        known = self._db.contents.get(entry.account, {}).values()
        others = sorted((one for one in known if one.address != entry.address), key=lambda one: one.since)
        surplus = others[: max(0, len(others) + 1 - most)]
        await self._db.run(database.change, [entry], [(one.account, one.address) for one in surplus])
        self._forget(surplus)
        self._db.contents.setdefault(entry.account, {})[entry.address] = entry

    async def remove(self, entries: Sequence[Entry]) -> None:
        """Take entries away."""
        await self._db.run(database.change, [], [(entry.account, entry.address) for entry in entries])
        self._forget(entries)

    def _forget(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._db.contents.get(entry.account, {}).pop(entry.address, None)

    def note_sent(self, row: Sent, remember: float) -> Awaitable[None] | None:
        """A server took a message; remembered for `remember` seconds. Now and then a bunch is to be written."""
        self._sent.append(row)
        return self.flush(remember) if len(self._sent) >= _BUNCH else None

    async def flush(self, remember: float) -> None:
        """Write what is noted."""
        rows, self._sent = self._sent, []
        if rows:
            await self._db.run(database.write_sent, rows, self._clock.time() - remember, _MOST_SENT)

    async def sent(self, queue_id: api.QueueId) -> list[Sent]:
        """To whom a message went, as far as it is remembered."""
        waiting = [row for row in self._sent if row.queue_id == queue_id]
        return [*await self._db.run(database.find_sent, queue_id), *waiting]

    async def forget_sent(self, row: Sent) -> None:
        """No further bounce of this recipient is awaited."""
        self._sent = [one for one in self._sent if (one.queue_id, one.address) != (row.queue_id, row.address)]
        await self._db.run(database.forget_sent, row)

    async def aside(self, work: Callable[..., _T], *args: Any) -> _T:
        """Do what takes time in the ledger's thread."""
        return await self._thread.aside(work, *args)


@asynccontextmanager
async def open_ledger(path: Path, clock: api.Clock, remember: float) -> AsyncIterator[Ledger]:
    """Raises StorageFailure."""
    async with api.database_thread(path, database.open_database) as db:
        ledger = Ledger(db, await db.run(database.key), clock)
        await ledger.refresh()
        try:
            yield ledger
        finally:
            await ledger.flush(remember)
