"""What accounts want answered, in memory and on disk."""

from __future__ import annotations

from mailserver import api
from mailserver.plugins.vacation import database
from mailserver.plugins.vacation.database import Turn
from mailserver.plugins.vacation.wishes import Vacation

__all__ = ["Ledger"]


class Ledger:
    """Look-ups are in memory; changes are durable on return, and raise StorageFailure."""

    def __init__(self, db: api.DatabaseThread, directory: api.Directory) -> None:
        empty: dict[api.AccountId, Vacation] = {}
        self._db = api.MirroredDatabase(db, database.read, empty)
        self._directory = directory

    async def refresh(self) -> None:
        """See what is on disk."""
        await self._db.refresh()

    def wish(self, account: api.AccountId) -> Vacation | None:
        """That of an account. One of a former owner of the address does not count."""
        found = self._db.contents.get(account)
        if found is None:
            return None
        entry = self._directory.account(account)
        return found if entry is not None and found.since >= entry.created else None

    def accounts(self) -> list[api.AccountId]:
        """Those that have one."""
        return [account for account in sorted(self._db.contents) if self.wish(account) is not None]

    async def put(self, wish: Vacation) -> None:
        """Set it."""
        await self._db.run(database.put, wish)
        self._db.contents[wish.account] = wish

    async def forget(self, account: api.AccountId) -> None:
        """No more answers."""
        await self._db.run(database.forget_account, account)
        self._db.contents.pop(account, None)

    async def take_turn(self, wish: Vacation, sender: str, now: float, most_per_hour: int) -> Turn:
        """Note that a sender is answered, if he may be."""
        return await self._db.run(database.take_turn, wish, sender, now, most_per_hour)

    async def forget_turn(self, account: api.AccountId, sender: str) -> None:
        """He was not answered after all."""
        await self._db.run(database.forget_turn, account, sender)
