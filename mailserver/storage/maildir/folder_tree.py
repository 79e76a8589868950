"""CREATE, DELETE and RENAME of an account's folders, on the loop.

Renames and removals wait for the commits that use the folders, and deliveries to the account wait for them
(`MaildirAccount.moving`), so that no file is written to a path that is not the folder's any more.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from mailserver.model.changes import MailboxCreated, MailboxDeleted, MailboxRenamed, MetadataChanged, RightsChanged
from mailserver.model.errors import (
    AlreadyExists,
    InvalidInput,
    LimitReached,
    NotFound,
    NotPermitted,
    StorageFailure,
)
from mailserver.model.mailbox import INBOX, SEPARATOR, SpecialUse, check_mailbox_name
from mailserver.model.metadata import SPECIAL_USE
from mailserver.model.progress import Progress
from mailserver.model.rights import ALL_RIGHTS, Acl, Rights, RightsChange, changed_acl, shared_with
from mailserver.net import files
from mailserver.storage.maildir import folder_names, layout, rows, tree
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.folder_state import FolderState
from mailserver.storage.maildir.index import IndexLost
from mailserver.storage.maildir.transfer import transfer

if TYPE_CHECKING:
    from mailserver.storage.maildir.account import MaildirAccount

__all__ = ["FolderTree"]

_log = structlog.get_logger()


class FolderTree:
    """The operations on the folders of one account."""

    def __init__(self, account: MaildirAccount) -> None:
        self._account = account

    async def create(self, name: str, special_use: frozenset[SpecialUse]) -> Folder:
        """Make a mailbox and its missing parents."""
        return await self._account.upkeep.operate(lambda: self._create(name, special_use))

    async def _create(self, name: str, special_use: frozenset[SpecialUse]) -> Folder:
        name = check_mailbox_name(name)
        folders = self._account.folders
        if name in folders:
            raise AlreadyExists("the mailbox exists already")
        missing = [parent for parent in _parents(name) if parent not in folders]
        self._check_limits([name], len(missing) + 1)
        for parent in missing:
            await self._make(parent, frozenset())
        folder = await self._make(name, special_use)
        await self._take_uses(folder)
        return folder

    async def _take_uses(self, owner: Folder) -> None:
        """Nobody else has the special uses of this folder from now on; a crash before leaves two that have them."""
        for folder in list(self._account.folders.values()):
            if folder is not owner and folder.state.special_use & owner.state.special_use:
                left = folder.state.special_use - owner.state.special_use
                await self._account.context.reading.run(folder.set_special_use, left)
                self._account.tell(MetadataChanged(folder.name, (SPECIAL_USE,)))

    async def set_special_use(self, name: str, uses: frozenset[SpecialUse]) -> None:
        """Give a folder these special uses, and no others."""
        folder = self._account.existing(name)
        if folder.name == INBOX and uses:
            raise NotPermitted("INBOX has no special use")
        await self._account.upkeep.operate(lambda: self._set_special_use(folder, uses), folder)

    async def _set_special_use(self, folder: Folder, uses: frozenset[SpecialUse]) -> None:
        await self._account.context.reading.run(folder.set_special_use, uses)
        self._account.tell(MetadataChanged(folder.name, (SPECIAL_USE,)))
        await self._take_uses(folder)

    async def _make(self, name: str, special_use: frozenset[SpecialUse]) -> Folder:
        account = self._account
        now = account.context.clock.time()
        above = [account.folders[parent].state.acl for parent in _parents(name) if parent in account.folders]
        acl: Acl = above[-1] if above else {}

        def work() -> Folder:
            uid_validity = account.state.new_uid_validity(account.path, now)
            return layout.make_folder(
                account.path, name, FolderState(uid_validity=uid_validity, special_use=special_use, acl=acl)
            )

        folder = await account.context.reading.run(work)
        folder.baseline = (0, 0)
        account.adopt(folder)
        account.tell(MailboxCreated(name))
        return folder

    def _check_limits(self, names: Iterable[str], new: int) -> None:
        for name in names:
            folder_names.directory(name)
        limit = self._account.context.settings.max_mailboxes
        if len(self._account.folders) + new > limit:
            raise LimitReached(f"an account has at most {limit} mailboxes")

    async def grant(self, name: str, identifier: str, how: RightsChange, rights: Rights) -> None:
        """Change one entry of a folder's ACL; durable, and heard by the sessions that have it open."""
        account = self._account
        folder = account.existing(name)
        before = folder.state.acl
        acl = changed_acl(before, identifier, how, rights)
        noted = account.context.shares.of(account.account)
        if not shared_with(acl) <= noted:
            # Whoever is named must be found, after a crash at any moment; named in vain does no harm.
            await self._note_shares(noted | shared_with(acl))
        await account.context.reading.run(folder.set_acl, acl)
        if folder.mailbox is not None:
            folder.mailbox.wake()
        account.tell(RightsChanged(folder.name, before, acl))
        await self.note_shares()

    async def note_shares(self) -> None:
        """Let the list of all shares say what the folders say. What it says too much does no harm."""
        try:
            await self._note_shares(self._account.shared_with())
        except (OSError, StorageFailure) as error:
            # The change itself is durable, and is not to be answered with NO.
            _log.warning("storage.shares_not_noted", path=self._account.path, error=str(error))

    async def _note_shares(self, identifiers: frozenset[str]) -> None:
        shares, name = self._account.context.shares, self._account.account
        if identifiers != shares.of(name):
            try:
                await self._account.context.reading.run(shares.save, {name: identifiers})
            except sqlite3.Error as error:
                raise StorageFailure("the list of shares cannot be written", detail=str(error)) from error
            shares.note(name, identifiers)

    async def delete(self, name: str) -> None:
        """Delete a mailbox and its messages; its children stay."""
        account = self._account
        if account.existing(name).name == INBOX:
            raise NotPermitted("INBOX cannot be deleted")
        async with self._nothing_in_flight():
            await account.upkeep.operate(lambda: self._delete(account.existing(name)))

    async def _delete(self, folder: Folder) -> None:
        account = self._account
        run = account.context.reading.run
        # Its numbers, for the quota.
        if folder.counts is None:
            await account.upkeep.look(folder)
        gone = await run(tree.remove_directory, folder.path)
        del account.folders[folder.name]
        account.upkeep.dirty.discard(folder)
        if folder.counts is not None:
            account.unreserve(folder.counts.octets, folder.counts.messages)
        self._end(folder)
        account.tell(MailboxDeleted(folder.name, folder.state.acl))
        await self.note_shares()
        try:
            index = account.upkeep.index
            await run(
                lambda: index.run(lambda db: rows.forget_folder(db, rows.folder_row(db, folder.state, 1).number))
            )
        except (IndexLost, StorageFailure):
            # The folder is gone all the same; rows without a folder are only in the way.
            pass
        account.context.background(lambda: run(files.remove_tree, gone), "remove")

    def _end(self, folder: Folder) -> None:
        box = folder.mailbox
        if box is not None:
            box.deleted = True
            box.wake()
            folder.mailbox = None

    async def rename(self, old: str, new: str) -> None:
        """Rename a mailbox with all beneath it."""
        old, new = check_mailbox_name(old), check_mailbox_name(new)
        if old == INBOX:
            await self._rename_inbox(new)
            return
        async with self._nothing_in_flight():
            await self._account.upkeep.operate(lambda: self._rename(old, new))

    async def _rename_inbox(self, new: str) -> None:
        """RFC 9051 §6.3.6: its messages move to the new mailbox, itself and its children stay."""
        await self.create(new, frozenset())
        annotations = await self._account.annotations(INBOX)
        if annotations:
            # RFC 5464 §4.1
            await self._account.annotate(new, dict(annotations))
        async with self._account.open(INBOX) as inbox:
            account, uids = self._account, list(inbox.table.uids)
            await transfer(account, inbox, uids, new, account, ALL_RIGHTS, Progress(), move=True)

    async def _rename(self, old: str, new: str) -> None:
        account = self._account
        folders, beneath = account.folders, old + SEPARATOR
        # Parents first: `a/b` to `a` makes room for `a/b/b`.
        moving = sorted(name for name in folders if name == old or name.startswith(beneath))
        if not moving:
            raise NotFound("there is no such mailbox")
        if new in folders:
            raise AlreadyExists("the mailbox exists already")
        if new.startswith(beneath):
            raise InvalidInput("a mailbox cannot be moved beneath itself")
        renamed = {name: check_mailbox_name(new + name[len(old) :]) for name in moving}
        if any(name in folders and name not in renamed for name in renamed.values()):
            raise AlreadyExists("a mailbox of that tree exists already")
        missing = [parent for parent in _parents(new) if parent not in folders]
        self._check_limits(renamed.values(), len(missing))
        for parent in missing:
            await self._make(parent, frozenset())
        pairs = [(folders[name].dirname, folder_names.directory(renamed[name])) for name in moving]
        await account.context.reading.run(tree.rename_directories, account.path, pairs)
        taken = [(folders.pop(name), renamed[name]) for name in moving]
        for folder, name in taken:
            dirname = folder_names.directory(name)
            folder.move_to(name, dirname, f"{account.path}/{dirname}")
            folders[name] = folder
            if folder.mailbox is not None:
                folder.mailbox.wake()
        account.tell(MailboxRenamed(old, new))

    async def remove_all(self) -> None:
        """The account and all its mail."""
        account = self._account
        async with self._nothing_in_flight():
            await account.upkeep.operate(self._remove_all)

    async def _remove_all(self) -> None:
        account = self._account
        run = account.context.reading.run
        account.upkeep.stop()
        gone = await run(tree.remove_directory, account.path)
        for folder in account.folders.values():
            self._end(folder)
        account.folders.clear()
        await self.note_shares()
        await run(account.upkeep.index.close)
        account.upkeep.end()
        account.context.accounts.pop(account.account, None)
        account.context.background(lambda: run(files.remove_tree, gone), "remove")

    async def retire(self) -> None:
        """The account leaves memory while others may still hold it."""
        account = self._account
        account.leaving = True
        async with self._nothing_in_flight():
            await account.settle()
            await account.upkeep.operate(self._retire)

    async def _retire(self) -> None:
        account = self._account
        account.upkeep.end()
        for folder in account.folders.values():
            if folder.mailbox is not None:
                account.context.idle_boxes.pop(folder.mailbox, None)
            self._end(folder)
            # Whoever still has the folder in hand must not write where its successor does.
            folder.move_to(folder.name, folder.dirname, f"{account.path}/{layout.GONE}retired")
        account.folders.clear()
        await account.context.reading.run(account.upkeep.index.close)

    @asynccontextmanager
    async def _nothing_in_flight(self) -> AsyncIterator[None]:
        account = self._account
        while account.moving is not None:
            await account.moving.wait()
        account.moving = done = asyncio.Event()
        try:
            for folder in list(account.folders.values()):
                if folder.jobs:
                    drained = asyncio.Event()
                    folder.drained = drained.set
                    await drained.wait()
                    folder.drained = None
            yield
        finally:
            account.moving = None
            done.set()


def _parents(name: str) -> list[str]:
    parts = name.split(SEPARATOR)
    return [SEPARATOR.join(parts[:count]) for count in range(1, len(parts))]
