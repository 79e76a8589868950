"""One account: its folders by name, its subscriptions, its quota. `ports.store.AccountStore`.

Held by sessions and by the store's list of loaded accounts; there is one object for an account in a process.
"""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from mailserver.model.changes import MetadataChanged, SubscriptionChanged
from mailserver.model.errors import InvalidInput, LimitReached, NotFound, OverQuota, StorageFailure
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import (
    INBOX,
    SEPARATOR,
    MailboxInfo,
    MailboxStatus,
    QuotaUsage,
    SpecialUse,
    check_mailbox_name,
)
from mailserver.model.metadata import Annotations, changed_annotations
from mailserver.model.rights import Rights, RightsChange, shared_with
from mailserver.storage.maildir import cleaning, flush, layout, recover, tree
from mailserver.storage.maildir.annotations import ACCOUNT_METADATA, METADATA, load_annotations, save_annotations
from mailserver.storage.maildir.context import Context
from mailserver.storage.maildir.counts import Counts
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.folder_tree import FolderTree
from mailserver.storage.maildir.index import INDEX_FILE, AccountIndex
from mailserver.storage.maildir.layout import AccountState, Loaded
from mailserver.storage.maildir.live_table import LiveTable
from mailserver.storage.maildir.mailbox import MaildirMailbox
from mailserver.storage.maildir.upkeep import Upkeep
from mailserver.storage.maildir.url_keys import load_url_keys, save_url_keys
from mailserver.storage.observers import Observers

__all__ = ["MaildirAccount"]

_T = TypeVar("_T")
MAX_SUBSCRIPTIONS = 10_000


class MaildirAccount:
    """One account of the store."""

    def __init__(self, context: Context, name: AccountId, path: str, loaded: Loaded) -> None:
        self.account = name
        self.path = path
        self.context = context
        self.state: AccountState = loaded.state
        self.folders: dict[str, Folder] = loaded.folders
        self.upkeep = Upkeep(self, AccountIndex(context.indexes, path))
        self._tree = FolderTree(self)
        self._subscribed = loaded.subscriptions
        #: Set while folders are being renamed or removed: deliveries wait for it.
        self.moving: asyncio.Event | None = None
        self._observers = Observers()
        self.observe, self.tell = self._observers.observe, self._observers.tell
        #: It is being taken out of memory, and must not be found there again.
        self.leaving = False
        self.octets, self.messages = loaded.state.octets, loaded.state.messages
        for folder in self.folders.values():
            self.adopt(folder)

    @classmethod
    async def load(cls, context: Context, name: AccountId, path: str) -> MaildirAccount:
        """From disk, made when there is none yet. Raises OSError."""

        def work() -> Loaded:
            now = context.clock.time()
            layout.make_account(path, max(now, context.validity_floor + 1))
            tree.finish_renames(path)
            loaded = layout.load_account(path)
            for folder, dirname in loaded.bare:
                loaded.folders[folder] = recover.recover_folder(path, loaded.state, folder, dirname, now)
            if loaded.state.epoch != context.epoch or not os.path.lexists(f"{path}/{INDEX_FILE}"):
                cleaning.count_usage(loaded)
                cleaning.clear_temporary(loaded)
            return loaded

        loaded = await context.reading.run(work)
        if (limits := context.limits(name)) is not None:
            loaded.state.octets_limit, loaded.state.messages_limit = limits
        return cls(context, name, path, loaded)

    @staticmethod
    def sibling(account: object) -> MaildirAccount:
        """Another account of the store, as one of ours. Raises TypeError: of another kind of store."""
        if not isinstance(account, MaildirAccount):
            raise TypeError("messages are copied within one store")
        return account

    def adopt(self, folder: Folder) -> None:
        """A folder of this account begins to be used."""
        self.folders[folder.name] = folder
        folder.on_visible = functools.partial(self.upkeep.arrived, folder)

    # -- room --------------------------------------------------------------------------------------------------------

    def reserve(self, octets: int, messages: int = 1, *, enforce: bool) -> None:
        """Count messages that are to come. Raises OverQuota."""
        state = self.state
        if enforce and (
            0 < state.octets_limit < self.octets + octets or 0 < state.messages_limit < self.messages + messages
        ):
            raise OverQuota("the account is over its quota")
        self.octets += octets
        self.messages += messages

    def unreserve(self, octets: int, messages: int = 1) -> None:
        """They did not come, or are gone."""
        self.octets -= octets
        self.messages -= messages

    # -- folders -----------------------------------------------------------------------------------------------------

    def existing(self, name: str) -> Folder:
        """A folder in any spelling of its name. Raises NotFound."""
        try:
            found = self.folders.get(check_mailbox_name(name))
        except InvalidInput:
            found = None
        if found is None:
            raise NotFound("there is no such mailbox")
        return found

    async def list_mailboxes(self) -> list[MailboxInfo]:
        """Every mailbox and every parent that only has children."""
        names = set(self.folders)
        for name in self.folders:
            parts = name.split(SEPARATOR)
            names.update(SEPARATOR.join(parts[:count]) for count in range(1, len(parts)))
        return [self.info(name) for name in sorted(names, key=lambda name: (name != INBOX, name))]

    async def find(self, name: str) -> MailboxInfo:
        """One mailbox."""
        return self.info(self.existing(name).name)

    def info(self, name: str) -> MailboxInfo:
        """One mailbox as LIST sees it."""
        folder, subscribed = self.folders.get(name), name in self._subscribed
        if folder is None:
            return MailboxInfo(name=name, mailbox_id="", subscribed=subscribed, selectable=False)
        state = folder.state
        return MailboxInfo(
            name=name, mailbox_id=state.mailbox_id, special_use=state.special_use, subscribed=subscribed,
            acl=state.acl,
        )  # fmt: skip

    async def subscriptions(self) -> frozenset[str]:
        """Subscribed names."""
        return frozenset(self._subscribed)

    async def subscribe(self, name: str, subscribed: bool) -> None:
        """Set or clear a subscription."""
        name = check_mailbox_name(name)

        async def operation() -> None:
            wanted = self._subscribed | {name} if subscribed else self._subscribed - {name}
            if wanted == self._subscribed:
                return
            if len(wanted) > MAX_SUBSCRIPTIONS:
                raise LimitReached(f"an account has at most {MAX_SUBSCRIPTIONS} subscriptions")
            await self.context.reading.run(layout.save_subscriptions, self.path, wanted)
            self._subscribed = wanted
            self.tell(SubscriptionChanged(name))

        await self.context.finish(self.upkeep.operate(operation))

    async def create(self, name: str, special_use: Collection[SpecialUse] = ()) -> MailboxInfo:
        """Make a mailbox and missing parents."""
        folder = await self.context.finish(self._tree.create(name, frozenset(special_use)))
        return self.info(folder.name)

    async def set_special_use(self, name: str, uses: Collection[SpecialUse]) -> None:
        """Give a mailbox these special uses, and no others."""
        await self.context.finish(self._tree.set_special_use(name, frozenset(uses)))

    async def delete(self, name: str) -> None:
        """Delete a mailbox and its messages."""
        await self.context.finish(self._tree.delete(name))

    async def rename(self, old: str, new: str) -> None:
        """Rename a mailbox with all beneath it; INBOX instead moves its messages."""
        await self.context.finish(self._tree.rename(old, new))

    async def grant(self, name: str, identifier: str, how: RightsChange, rights: Rights) -> None:
        """Change what a mailbox's ACL says of one identifier."""
        await self.context.finish(self.upkeep.operate(lambda: self._tree.grant(name, identifier, how, rights)))

    def shared_with(self) -> frozenset[str]:
        """The identifiers that stand in any ACL."""
        return frozenset[str]().union(*(shared_with(folder.state.acl) for folder in self.folders.values()))

    async def note_shares(self) -> None:
        """Let the list of all shares say what the folders say."""
        await self.upkeep.operate(self._tree.note_shares)

    async def annotations(self, name: str | None) -> Annotations:
        """The annotations of a mailbox, or of the account."""
        path = self._annotations_file(None if name is None else self.existing(name))
        return await self._read(load_annotations, path)

    async def _read(self, read: Callable[[str], _T], path: str) -> _T:
        try:
            return await self.context.reading.run(read, path)
        except OSError as error:
            raise StorageFailure("the mailbox cannot be used now, try again later", detail=str(error)) from error

    def _annotations_file(self, folder: Folder | None) -> str:
        return f"{self.path}/{ACCOUNT_METADATA}" if folder is None else f"{folder.path}/{METADATA}"

    async def annotate(self, name: str | None, changes: Mapping[str, bytes | None]) -> None:
        """Set annotations, all or none."""
        folder = None if name is None else self.existing(name)

        def work() -> None:
            path = self._annotations_file(folder)
            save_annotations(path, changed_annotations(load_annotations(path), changes))

        async def operation() -> None:
            await self.context.reading.run(work)
            self.tell(MetadataChanged("" if folder is None else folder.name, tuple(changes)))

        await self.context.finish(self.upkeep.operate(operation, *([] if folder is None else [folder])))

    async def url_key(self, name: str, *, make: bool = False) -> bytes | None:
        """The access key of a mailbox."""
        mailbox_id = self.existing(name).state.mailbox_id
        keys = await self._read(load_url_keys, self.path)
        if mailbox_id in keys or not make:
            return keys.get(mailbox_id)

        def work() -> bytes:
            # Those of mailboxes that are gone go with this occasion, so there are never more than mailboxes.
            ids = {folder.state.mailbox_id for folder in list(self.folders.values())}
            kept = {name: key for name, key in load_url_keys(self.path).items() if name in ids}
            key = kept.setdefault(mailbox_id, secrets.token_bytes(32))
            save_url_keys(self.path, kept)
            return key

        return await self.context.finish(self.upkeep.operate(lambda: self.context.reading.run(work)))

    async def reset_url_keys(self, name: str | None) -> None:
        """Take the access key of a mailbox away, or all of them."""
        mailbox_id = None if name is None else self.existing(name).state.mailbox_id

        def work() -> None:
            keys = load_url_keys(self.path) if mailbox_id is not None else {}
            save_url_keys(self.path, {name: key for name, key in keys.items() if name != mailbox_id})

        await self.context.finish(self.upkeep.operate(lambda: self.context.reading.run(work)))

    async def refresh(self, folder: Folder) -> None:
        """Notice what other programs wrote into a folder."""
        await self.context.finish(self.upkeep.operate(lambda: self.upkeep.look(folder), folder))

    async def status(self, name: str) -> MailboxStatus:
        """Counts and numbers of a mailbox."""
        folder = self.existing(name)
        await self.refresh(folder)
        counts = folder.counts or Counts({}, 0)
        return MailboxStatus(
            messages=counts.messages,
            unseen=counts.unseen,
            deleted=counts.deleted,
            size=counts.octets,
            uid_next=folder.visible_next,
            uid_validity=folder.state.uid_validity,
            highest_modseq=folder.highest_modseq,
            mailbox_id=folder.state.mailbox_id,
        )

    @asynccontextmanager
    async def open(self, name: str) -> AsyncIterator[MaildirMailbox]:
        """The live mailbox."""
        folder = self.existing(name)
        box = None
        while box is None:
            # It may be let go, as an idle one, before it is counted here.
            await self.context.finish(self.upkeep.operate(lambda: self._open(folder), folder))
            box = folder.mailbox
            if self.folders.get(folder.name) is not folder:
                raise NotFound("there is no such mailbox")
        box.users += 1
        self.context.idle_boxes.pop(box, None)
        self.context.background(functools.partial(self._tidy, folder), "tidy")
        try:
            yield box
        finally:
            box.users -= 1
            if not box.users:
                self.context.idle(box)

    async def _open(self, folder: Folder) -> None:
        if folder.mailbox is not None:
            await self.upkeep.look(folder)
            return
        await self.upkeep.look(folder, count=False)
        box = MaildirMailbox(self, folder)
        await box.load()
        folder.mailbox = box
        self.context.idle(box)

    async def _tidy(self, folder: Folder) -> None:
        """After a SELECT, messages move from new/ to cur/, as Maildir wants it."""
        marked = await self.upkeep.operate(lambda: self.upkeep.transact(folder, flush.mark_new), folder)
        if marked:
            self.upkeep.note(folder)

    # -- numbers -----------------------------------------------------------------------------------------------------

    def counted(self, folder: Folder, sets: dict[frozenset[str], int], octets: int) -> None:
        """The exact numbers of a folder; what was counted before was perhaps not."""
        counts = Counts(sets, octets)
        known = folder.baseline
        if folder.counts is not None:
            known = folder.counts.octets, folder.counts.messages
        if known is not None:
            self.octets += octets - known[0]
            self.messages += counts.messages - known[1]
        folder.counts, folder.baseline = counts, None

    async def quota(self) -> QuotaUsage:
        """What the account uses and may use."""
        return QuotaUsage(
            octets=max(0, self.octets),
            messages=max(0, self.messages),
            octets_limit=self.state.octets_limit,
            messages_limit=self.state.messages_limit,
        )

    async def set_quota(self, octets_limit: int, messages_limit: int) -> None:
        """Durably set the limits; 0 means none."""

        async def operation() -> None:
            state = self.state
            before = state.octets_limit, state.messages_limit
            if before == (octets_limit, messages_limit):
                return
            state.octets_limit, state.messages_limit = octets_limit, messages_limit
            try:
                await self.context.reading.run(state.save, self.path)
            except OSError:
                state.octets_limit, state.messages_limit = before
                raise

        await self.context.finish(self.upkeep.operate(operation))

    # -- the end -----------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nobody has one of its mailboxes open, and nothing is on its way into it."""
        return not any(folder.jobs or (folder.mailbox and folder.mailbox.users) for folder in self.folders.values())

    @property
    def closed(self) -> bool:
        """It was removed, or taken out of memory for good: whoever wants it loads its successor."""
        return self.upkeep.ended

    async def settle(self) -> bool:
        """Flush everything and write exact numbers; False if something could not be written."""
        if not await self.upkeep.settle():
            return False
        self.state.octets, self.state.messages = max(0, self.octets), max(0, self.messages)
        self.state.epoch = self.context.epoch
        try:
            await self.context.reading.run(self.state.save, self.path)
        except OSError:
            return False
        await self.context.reading.run(self.upkeep.index.close)
        return True

    def watch(self, box: LiveTable) -> None:
        """Sessions want to hear of changes in this mailbox."""
        self.context.watched.add(box)

    async def retire(self) -> None:
        """Write everything, and be dead for whoever still holds this object. Raises StorageFailure."""
        await self._tree.retire()

    async def remove(self) -> None:
        """Delete everything, for good. Raises StorageFailure."""
        await self.context.finish(self._tree.remove_all())

