"""`mailbox verify|rebuild|adopt|export` on an account of the store, whether it is in memory or not."""

from __future__ import annotations

import functools
import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass

from mailserver.model.errors import MailError, NotFound, StorageFailure
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import QuotaUsage
from mailserver.storage.maildir.account import MaildirAccount
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.keys import key_range
from mailserver.storage.maildir.repair.export import Exported, export_dovecot
from mailserver.storage.maildir.repair.findings import Finding, Problem
from mailserver.storage.maildir.repair.rebuild import rebuild_account
from mailserver.storage.maildir.repair.verify import verify_account
from mailserver.storage.maildir.store import MaildirStore

__all__ = ["Adopted", "Rebuilt", "adopt", "export", "rebuild", "verify"]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was found, and what is still found afterwards."""

    before: list[Finding]
    after: list[Finding]


@dataclass(frozen=True, slots=True)
class Adopted:
    """A folder that is served now."""

    mailbox: str
    messages: int
    uid_validity: int
    uid_next: int


async def verify(store: MaildirStore, name: AccountId, *, full: bool = False) -> list[Finding]:
    """Everything that is not as it should be. Changes nothing. Raises NotFound (no mail here), StorageFailure."""
    path = store.path_of(name)
    if not await store.context.reading.run(os.path.isdir, path):
        raise NotFound(f"there is no mail of {name}", detail=path)
    account = store.loaded(name)
    if account is None:
        epoch = store.context.epoch
        found = await _run(store, functools.partial(verify_account, path, full=full, epoch=epoch))
        account = store.loaded(name)
        if account is None:
            return found
        # It was loaded meanwhile, and what was found may have been that.
    found = await _verify_live(account, full=full)
    if found:
        # Mail that comes in, and what other programs do, look odd for a moment: what is found twice is so.
        again = await _verify_live(account, full=full)
        found = [finding for finding in again if finding in found]
    return found


async def _verify_live(account: MaildirAccount, *, full: bool) -> list[Finding]:
    for folder in list(account.folders.values()):
        # What cannot be looked at is told by what follows.
        with suppress(MailError):
            await account.refresh(folder)

    async def operation() -> list[Finding]:
        usage = None
        if not any(folder.jobs for folder in account.folders.values()):
            usage = QuotaUsage(octets=account.octets, messages=account.messages)
        work = functools.partial(verify_account, account.path, full=full, live=True, usage=usage)
        found = await account.context.reading.run(work)
        for folder in list(account.folders.values()):
            found += await _compare_memory(account, folder)
        return found

    return await account.upkeep.operate(operation)


async def _compare_memory(account: MaildirAccount, folder: Folder) -> list[Finding]:
    """The table that sessions see against the index."""
    box = folder.mailbox
    if box is None:
        return []

    def rows(db: sqlite3.Connection, number: int) -> dict[int, tuple[frozenset[str], int]]:
        index = account.upkeep.index
        query = "SELECT key, flags, modseq FROM messages WHERE key BETWEEN ? AND ?"
        return {
            key & 0xFFFFFFFF: (index.flag_set(flags), modseq)
            for key, flags, modseq in db.execute(query, key_range(number))
        }

    # The transaction begins with all that is visible now; mail that comes meanwhile is in neither.
    flags, modseqs = box.memory()
    kept = await account.upkeep.transact(folder, rows)
    shown = {uid: (flags[uid], modseqs[uid]) for uid in flags}
    odd = [uid for uid in sorted(shown.keys() | kept.keys()) if shown.get(uid) != kept.get(uid)]
    if not odd:
        return []
    text = f"{len(odd)} messages are not in memory as the index has them, the first is UID {odd[0]}"
    return [Finding(Problem.MEMORY_DIFFERS, folder.dirname or ".", text)]


async def rebuild(store: MaildirStore, name: AccountId, *, full: bool = False) -> Rebuilt:
    """Put everything right that can be. The account's sessions end. Raises NotFound, StorageFailure."""
    before = await verify(store, name, full=full)
    await _renew(store, name, full=full)
    return Rebuilt(before, await verify(store, name, full=full))


async def adopt(store: MaildirStore, name: AccountId) -> list[Adopted]:
    """Serve a Maildir that another program wrote, with its UIDs where Dovecot left them. Raises as `rebuild`."""
    path = store.path_of(name)
    if not await store.context.reading.run(os.path.isdir, f"{path}/cur"):
        raise NotFound(f"there is no Maildir of {name}; put it there first", detail=path)
    account = await _renew(store, name, full=False)
    out = []
    for folder in sorted(account.folders):
        status = await account.status(folder)
        out.append(Adopted(folder, status.messages, status.uid_validity, status.uid_next))
    return out


async def _renew(store: MaildirStore, name: AccountId, *, full: bool) -> MaildirAccount:
    now = store.context.clock.time()
    account = await store.renew(name, functools.partial(rebuild_account, now=now, full=full))
    # The index is made anew, and every file gets its UID, before anyone asks for it.
    for folder in list(account.folders.values()):
        await account.refresh(folder)
    return account


async def export(store: MaildirStore, name: AccountId) -> list[Exported]:
    """Write what Dovecot needs. Raises NotFound, StorageFailure."""
    path = store.path_of(name)
    if not await store.context.reading.run(os.path.isdir, f"{path}/cur"):
        raise NotFound(f"there is no mail of {name}", detail=path)
    account = await store.open_account(name)
    for folder in list(account.folders.values()):
        await account.refresh(folder)
    if not await account.settle():
        raise StorageFailure("the mailbox cannot be written now", detail=path)
    return await account.upkeep.operate(lambda: account.context.reading.run(export_dovecot, path))


async def _run(store: MaildirStore, work: functools.partial[list[Finding]]) -> list[Finding]:
    try:
        return await store.context.reading.run(work)
    except OSError as error:
        raise StorageFailure("the mailbox cannot be read now", detail=str(error)) from error
