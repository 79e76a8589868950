"""What accounts want and whom honeypots know, in memory and on disk. One thread does what touches the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from mailserver import api
from mailserver.plugins.junk import database
from mailserver.plugins.junk.database import Contents, Hit, Mark
from mailserver.plugins.junk.wishes import Sender, Thresholds

__all__ = ["Ledger", "open_ledger"]

_T = TypeVar("_T")


class Ledger:
    """Look-ups are in memory; changes are on disk on return, and raise StorageFailure.

    What an account wished for counts only if it was there already: an address that was given
    to another person starts without wishes.
    """

    def __init__(self, db: api.DatabaseThread, directory: api.Directory) -> None:
        self._db = api.MirroredDatabase(db, database.read, Contents({}, {}, {}, {}))
        self._directory = directory
        self._rejecting: set[api.AccountId] = set()

    def thresholds(self, account: api.AccountId) -> Thresholds | None:
        """An account's own numbers; None: it has none."""
        found = self._db.contents.thresholds.get(account)
        return found[1] if found is not None and found[0] >= self._created(account) else None

    def senders(self, account: api.AccountId) -> dict[str, Sender]:
        """An account's list, by patterns."""
        found = self._db.contents.senders.get(account)
        if not found:
            return {}
        created = self._created(account)
        return {pattern: sender for pattern, sender in found.items() if sender.since >= created}

    def sender(self, account: api.AccountId, patterns: Sequence[str]) -> Sender | None:
        """The entry for the first of these patterns that has one."""
        found = self._db.contents.senders.get(account)
        if not found:
            return None
        entry = next((found[pattern] for pattern in patterns if pattern in found), None)
        return entry if entry is not None and entry.since >= self._created(account) else None

    def has_senders(self, account: api.AccountId) -> bool:
        """Whether there is a list at all."""
        return account in self._db.contents.senders

    def accounts(self) -> list[api.AccountId]:
        """Those that have wished for anything."""
        return sorted({*self._db.contents.thresholds, *self._db.contents.senders})

    def mark(self, kind: str, value: str, since: float) -> Mark | None:
        """Whether a honeypot knows somebody, from after `since`."""
        found = self._db.contents.marks.get((kind, value))
        return found if found is not None and found.at >= since else None

    async def refresh(self) -> None:
        """See what is on disk."""
        self._rejecting = set(await self._db.run(database.rejecting))

    async def set_thresholds(self, account: api.AccountId, since: float, thresholds: Thresholds | None) -> None:
        """An account's own numbers; None: no more."""
        await self._db.run(database.set_thresholds, account, since, thresholds)
        self._db.contents.thresholds.pop(account, None)
        if thresholds is not None:
            self._db.contents.thresholds[account] = (since, thresholds)

    async def put_sender(self, sender: Sender, remove: Sequence[Sender] = ()) -> None:
        """Add or replace an entry of a list."""
        await self._db.run(database.change_senders, [sender], remove)
        self._forget(remove)
        self._db.contents.senders.setdefault(sender.account, {})[sender.pattern] = sender

    async def remove_senders(self, senders: Sequence[Sender]) -> None:
        """Take entries off their lists."""
        await self._db.run(database.change_senders, [], senders)
        self._forget(senders)

    def _forget(self, senders: Sequence[Sender]) -> None:
        for sender in senders:
            known = self._db.contents.senders.get(sender.account, {})
            known.pop(sender.pattern, None)
            if not known:
                self._db.contents.senders.pop(sender.account, None)

    async def forget_account(self, account: api.AccountId) -> None:
        """All about it."""
        await self._db.run(database.forget_account, account)
        self._db.contents.thresholds.pop(account, None)
        self._db.contents.senders.pop(account, None)
        self._rejecting.discard(account)

    async def first_time(self, account: api.AccountId, digest: bytes, now: float, since: float) -> bool:
        """Note that a message is refused; False: it was already, after `since`."""
        return await self._db.run(database.first_time, account, digest, now, since)

    async def forget_refused(self, since: float) -> None:
        """What was refused before that."""
        await self._db.run(database.forget_refused, since)

    async def note_rejects(self, account: api.AccountId, *, has: bool) -> None:
        """Whether there is something in an account's Rejects."""
        if has != (account in self._rejecting):
            await self._db.run(_note_rejects, account, has)
            (self._rejecting.add if has else self._rejecting.discard)(account)

    def has_rejects(self, account: api.AccountId) -> bool:
        """Whether there may be something in an account's Rejects."""
        return account in self._rejecting

    def rejecting(self) -> list[api.AccountId]:
        """Accounts that may have something in Rejects."""
        return sorted(self._rejecting)

    def marks(self, since: float) -> list[Mark]:
        """Those that honeypots know from after `since`, the newest first."""
        known = [mark for mark in self._db.contents.marks.values() if mark.at >= since]
        return sorted(known, key=lambda mark: -mark.at)

    async def lift_marks(self, marks: Sequence[Mark]) -> None:
        """They have no bad name any more."""
        await self._db.run(database.lift_marks, marks)
        for mark in marks:
            self._db.contents.marks.pop((mark.kind, mark.value), None)

    def honeypots(self) -> dict[str, float]:
        """Addresses that were made honeypots by a command, and since when they are."""
        return self._db.contents.honeypots

    async def set_honeypot(self, address: str, since: float | None) -> None:
        """An address becomes one; None: it is none any more."""
        await self._db.run(database.set_honeypot, address, since)
        self._db.contents.honeypots.pop(address, None)
        if since is not None:
            self._db.contents.honeypots[address] = since

    async def hit(self, one: Hit, since: float) -> None:
        """They wrote to a honeypot. What is from before `since` is forgotten."""
        for mark in await self._db.run(database.hit, one, since):
            self._db.contents.marks[mark.kind, mark.value] = mark
        if len(self._db.contents.marks) > _MOST_MARKS:
            await self._db.reload()

    def _created(self, account: api.AccountId) -> float:
        known = self._directory.account(account)
        return known.created if known is not None else 0.0


#: Above it what is forgotten on disk is forgotten in memory, too.
_MOST_MARKS = 30_000


def _note_rejects(db: sqlite3.Connection, account: str, has: bool) -> None:
    database.note_rejects(db, account, has=has)


@asynccontextmanager
async def open_ledger(path: Path, directory: api.Directory) -> AsyncIterator[Ledger]:
    """Raises StorageFailure."""
    async with api.database_thread(path, database.open_database) as db:
        ledger = Ledger(db, directory)
        await ledger.refresh()
        yield ledger
