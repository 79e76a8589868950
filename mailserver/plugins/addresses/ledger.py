"""What the plugin knows, in memory and on disk."""

from __future__ import annotations

from mailserver import api
from mailserver.plugins.addresses import database
from mailserver.plugins.addresses.database import Contents, Temporary

__all__ = ["Ledger"]


class Ledger:
    """Look-ups are in memory; changes are durable on return, and raise StorageFailure.

    What an account had counts for it alone: an address that was given to another person starts with nothing.
    """

    def __init__(self, db: api.DatabaseThread, host: api.Host) -> None:
        self._db = api.MirroredDatabase(db, database.read, Contents())
        self._host = host

    async def refresh(self) -> None:
        """See what is on disk."""
        await self._db.refresh()

    def temporary(self, key: str) -> Temporary | None:
        """An address that is, or was, temporary."""
        return self._db.contents.temporary.get(key)

    def is_live(self, one: Temporary) -> bool:
        """Does it take mail?"""
        account = self._host.directory.account(one.account)
        return account is not None and one.since >= account.created and self._host.clock.time() < one.until

    def live(self, account: api.AccountId | None = None) -> list[Temporary]:
        """Those of an account, or of all, that take mail, the newest last."""
        found = [one for one in self._db.contents.temporary.values() if account in (None, one.account)]
        return sorted((one for one in found if self.is_live(one)), key=lambda one: (one.account, one.since))

    async def put_temporary(self, one: Temporary) -> None:
        """Add or replace it."""
        await self._db.run(database.put_temporary, one, self._host.clock.time())
        self._db.contents.temporary[one.key] = one

    def blocked(self) -> dict[str, float]:
        """Keys of blocked addresses, and since when they are."""
        return self._db.contents.blocked

    async def set_blocked(self, key: str, since: float | None) -> None:
        """Block an address; None: no more."""
        await self._db.run(database.set_blocked, key, since)
        self._db.contents.blocked.pop(key, None)
        if since is not None:
            self._db.contents.blocked[key] = since

    def domains(self) -> dict[str, str]:
        """Domains that stand for others."""
        return self._db.contents.domains

    async def set_domain(self, name: str, target: str) -> None:
        """Let a domain stand for another one; "": no more."""
        await self._db.run(database.set_domain, name, target)
        self._db.contents.domains.pop(name, None)
        if target:
            self._db.contents.domains[name] = target

    def filing(self, account: api.AccountId) -> str:
        """What an account wants with its sub-addresses; "" for what the settings say."""
        found = self._db.contents.folders.get(account)
        entry = self._host.directory.account(account) if found is not None else None
        return found[1] if found is not None and entry is not None and found[0] >= entry.created else ""

    async def set_filing(self, account: api.AccountId, filing: str) -> None:
        """Another answer; "": that of the settings."""
        now = self._host.clock.time()
        await self._db.run(database.put_folders, account, now, filing)
        self._db.contents.folders.pop(account, None)
        if filing:
            self._db.contents.folders[account] = (now, filing)
