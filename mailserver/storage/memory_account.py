"""One account's folders in memory: names, trees, subscriptions, quota."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from mailserver.model.changes import (
    MailboxCreated,
    MailboxDeleted,
    MailboxRenamed,
    MetadataChanged,
    RightsChanged,
    SubscriptionChanged,
)
from mailserver.model.errors import (
    AlreadyExists,
    InvalidInput,
    LimitReached,
    MailError,
    NotFound,
    NotPermitted,
    OverQuota,
)
from mailserver.model.mailbox import (
    INBOX,
    SEPARATOR,
    MailboxInfo,
    MailboxStatus,
    QuotaUsage,
    SpecialUse,
    check_mailbox_name,
)
from mailserver.model.metadata import SPECIAL_USE, Annotations, changed_annotations
from mailserver.model.rights import Rights, RightsChange, changed_acl, shared_with
from mailserver.ports.clock import Clock
from mailserver.ports.store import Target
from mailserver.storage.memory_mailbox import MemoryMailbox, Message
from mailserver.storage.observers import Observers

__all__ = ["MemoryAccount", "Pause"]

MAX_NAME = 255
MAX_MAILBOXES = 10_000
MAX_SUBSCRIPTIONS = 10_000

NEW_ACCOUNT = {
    "Archive": SpecialUse.ARCHIVE,
    "Drafts": SpecialUse.DRAFTS,
    "Junk": SpecialUse.JUNK,
    "Sent": SpecialUse.SENT,
    "Trash": SpecialUse.TRASH,
}

#: Awaited with the mailbox's name and the UIDs that were just assigned; what it raises abandons these UIDs.
Pause = Callable[[str, Sequence[int]], Awaitable[None]]

_BARE_LF = re.compile(rb"(?<!\r)\n")


class MemoryAccount:
    """One account's folders."""

    def __init__(self, clock: Clock, pause: Pause | None) -> None:
        self.clock = clock
        self._pause = pause
        self._mailboxes: dict[str, MemoryMailbox] = {}
        self._last_uid_validity = 0
        self._limits = (0, 0)
        self._observers = Observers()
        self.observe, self.tell = self._observers.observe, self._observers.tell
        self._annotations: dict[str, bytes] = {}
        self._url_keys: dict[str, bytes] = {}
        self._subscribed = {INBOX, *NEW_ACCOUNT}
        self._tasks: set[asyncio.Task[list[int]]] = set()
        self._make(INBOX, ())
        for name, use in NEW_ACCOUNT.items():
            self._make(name, (use,))

    # -- messages in -------------------------------------------------------------------------------------------------

    async def put(
        self, items: Sequence[tuple[MemoryMailbox, Message]], instead: Callable[[], None] | None = None
    ) -> list[int]:
        """Assign UIDs in order, wait for `pause`, make them visible. A cancelled caller does not stop it half way.

        `instead` is done in the same step; when it raises, nothing is put.
        """
        if self._pause is None and instead is not None:
            instead()
        uids = [mailbox.assign(message) for mailbox, message in items]
        if self._pause is None:
            for (mailbox, _), uid in zip(items, uids, strict=True):
                mailbox.commit(uid)
            return uids
        task = asyncio.create_task(self._put_later(self._pause, items, uids, instead))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _put_later(
        self, pause: Pause, items: Sequence[tuple[MemoryMailbox, Message]], uids: list[int],
        instead: Callable[[], None] | None,
    ) -> list[int]:  # fmt: skip
        try:
            if items:
                await pause(items[0][0].name, uids)
            if instead is not None:
                instead()
        except BaseException:
            for (mailbox, _), uid in zip(items, uids, strict=True):
                mailbox.abandon(uid)
            raise
        for (mailbox, _), uid in zip(items, uids, strict=True):
            mailbox.commit(uid)
        return uids

    def place(self, target: Target) -> MemoryMailbox:
        """The mailbox of a target. Raises NotFound, unless it is a delivery."""
        if not target.into_new:
            return self.existing(target.mailbox)
        try:
            return self.existing(target.mailbox)
        except NotFound:
            if target.create:
                try:
                    return self._create(target.mailbox, ())
                except MailError:
                    # A name that cannot be made is no reason to lose mail.
                    return self._mailboxes[INBOX]
            return self._mailboxes[INBOX]

    def message(self, data: bytes, target: Target, mailbox: MemoryMailbox) -> Message:
        """The message as it will be kept. Raises LimitReached (too many keywords), unless it is a delivery."""
        try:
            flags = mailbox.admit_keywords(target.flags)
        except LimitReached:
            if not target.into_new:
                raise
            flags = frozenset(flag for flag in target.flags if flag.startswith("\\"))
        date = int(self.clock.time()) if target.date is None else target.date
        return Message(_BARE_LF.sub(b"\r\n", data), flags, date)

    def sibling(self, account: object) -> MemoryAccount:
        """Another account of the store; None is this one. Raises TypeError: of another kind of store."""
        if account is not None and not isinstance(account, MemoryAccount):
            raise TypeError("messages are copied within one store")
        return account or self

    def check_quota(self, messages: Collection[Message], freed: int = 0) -> None:
        """Raises OverQuota when these do not fit, once one message of `freed` octets (0: none) is gone."""
        usage = self.usage()
        octets = usage.octets - freed + sum(len(message.data) for message in messages)
        count = usage.messages + len(messages) - (freed > 0)
        if 0 < usage.octets_limit < octets or 0 < usage.messages_limit < count:
            raise OverQuota("the account is over its quota")

    # -- folders -----------------------------------------------------------------------------------------------------

    def existing(self, name: str) -> MemoryMailbox:
        """A mailbox in any spelling of its name. Raises NotFound."""
        try:
            found = self._mailboxes.get(check_mailbox_name(name))
        except InvalidInput:
            found = None
        if found is None:
            raise NotFound("there is no such mailbox")
        return found

    async def list_mailboxes(self) -> list[MailboxInfo]:
        """Every mailbox and every parent that only has children."""
        names = set(self._mailboxes)
        for name in self._mailboxes:
            names.update(_parents(name))
        return [self._info(name) for name in sorted(names, key=lambda name: (name != INBOX, name))]

    async def find(self, name: str) -> MailboxInfo:
        """One mailbox."""
        return self._info(self.existing(name).name)

    def _info(self, name: str) -> MailboxInfo:
        mailbox, subscribed = self._mailboxes.get(name), name in self._subscribed
        if mailbox is None:
            return MailboxInfo(name=name, mailbox_id="", subscribed=subscribed, selectable=False)
        return MailboxInfo(
            name=name, mailbox_id=mailbox.mailbox_id, special_use=mailbox.special_use, subscribed=subscribed,
            acl=mailbox.acl,
        )  # fmt: skip

    async def subscriptions(self) -> frozenset[str]:
        """Subscribed names."""
        return frozenset(self._subscribed)

    async def subscribe(self, name: str, subscribed: bool) -> None:
        """Set or clear a subscription."""
        name = check_mailbox_name(name)
        if subscribed == (name in self._subscribed):
            return
        if not subscribed:
            self._subscribed.discard(name)
        elif len(self._subscribed) >= MAX_SUBSCRIPTIONS:
            raise LimitReached(f"an account has at most {MAX_SUBSCRIPTIONS} subscriptions")
        else:
            self._subscribed.add(name)
        self.tell(SubscriptionChanged(name))

    async def create(self, name: str, special_use: Collection[SpecialUse] = ()) -> MailboxInfo:
        """Make a mailbox and missing parents."""
        return self._info(self._create(name, special_use).name)

    def _create(self, name: str, special_use: Collection[SpecialUse]) -> MemoryMailbox:
        name = check_mailbox_name(name)
        if name in self._mailboxes:
            raise AlreadyExists("the mailbox exists already")
        missing = [parent for parent in _parents(name) if parent not in self._mailboxes]
        self._check_limits([name], len(missing) + 1)
        for parent in missing:
            self._make(parent, ())
        mailbox = self._make(name, special_use)
        self._take_uses(mailbox)
        return mailbox

    def _take_uses(self, owner: MemoryMailbox) -> None:
        for mailbox in self._mailboxes.values():
            if mailbox is not owner and mailbox.special_use & owner.special_use:
                mailbox.special_use -= owner.special_use
                self.tell(MetadataChanged(mailbox.name, (SPECIAL_USE,)))

    async def set_special_use(self, name: str, uses: Collection[SpecialUse]) -> None:
        """Give a mailbox these special uses, and no others."""
        mailbox = self.existing(name)
        if mailbox.name == INBOX and uses:
            raise NotPermitted("INBOX has no special use")
        mailbox.special_use = frozenset(uses)
        self.tell(MetadataChanged(mailbox.name, (SPECIAL_USE,)))
        self._take_uses(mailbox)

    def _make(self, name: str, special_use: Collection[SpecialUse]) -> MemoryMailbox:
        # Never one that was given before: DELETE and CREATE within a second are two mailboxes.
        self._last_uid_validity = max(self._last_uid_validity + 1, int(self.clock.time()))
        above = [self._mailboxes[parent].acl for parent in _parents(name) if parent in self._mailboxes]
        acl = above[-1] if above else {}
        mailbox = MemoryMailbox(self, name, self._last_uid_validity, frozenset(special_use), acl)
        self._mailboxes[name] = mailbox
        self.tell(MailboxCreated(name))
        return mailbox

    def _check_limits(self, names: Iterable[str], new: int) -> None:
        if any(len(name.encode()) >= MAX_NAME for name in names):
            raise LimitReached(f"a mailbox name has at most {MAX_NAME - 1} octets")
        if len(self._mailboxes) + new > MAX_MAILBOXES:
            raise LimitReached(f"an account has at most {MAX_MAILBOXES} mailboxes")

    async def delete(self, name: str) -> None:
        """Delete a mailbox and its messages."""
        mailbox = self.existing(name)
        if mailbox.name == INBOX:
            raise NotPermitted("INBOX cannot be deleted")
        del self._mailboxes[mailbox.name]
        mailbox.deleted = True
        mailbox.wake()
        self.tell(MailboxDeleted(mailbox.name, mailbox.acl))

    async def rename(self, old: str, new: str) -> None:
        """Rename a mailbox with all beneath it; INBOX instead moves its messages."""
        old, new = check_mailbox_name(old), check_mailbox_name(new)
        beneath = old + SEPARATOR
        tree = [name for name in self._mailboxes if name == old or name.startswith(beneath)]
        if not tree:
            raise NotFound("there is no such mailbox")
        if old == INBOX:
            self._create(new, ())
            inbox = self._mailboxes[INBOX]
            self._mailboxes[new].annotations = dict(inbox.annotations)
            await inbox.move(list(inbox.table.uids), new)
            return
        if new in self._mailboxes:
            raise AlreadyExists("the mailbox exists already")
        if new.startswith(beneath):
            raise InvalidInput("a mailbox cannot be moved beneath itself")
        renamed = {name: check_mailbox_name(new + name[len(old) :]) for name in tree}
        if any(name in self._mailboxes and name not in renamed for name in renamed.values()):
            raise AlreadyExists("a mailbox of that tree exists already")
        self._check_limits(renamed.values(), len(_parents(new)))
        moved = {renamed[name]: self._mailboxes.pop(name) for name in tree}
        for parent in _parents(new):
            if parent not in self._mailboxes:
                self._make(parent, ())
        for name, mailbox in moved.items():
            mailbox.name = name
            mailbox.wake()
        self._mailboxes.update(moved)
        self.tell(MailboxRenamed(old, new))

    async def grant(self, name: str, identifier: str, how: RightsChange, rights: Rights) -> None:
        """Change what a mailbox's ACL says of one identifier."""
        mailbox = self.existing(name)
        before, mailbox.acl = mailbox.acl, changed_acl(mailbox.acl, identifier, how, rights)
        mailbox.wake()
        self.tell(RightsChanged(mailbox.name, before, mailbox.acl))

    async def annotations(self, name: str | None) -> Annotations:
        """The annotations of a mailbox, or of the account."""
        return self._annotations if name is None else self.existing(name).annotations

    async def annotate(self, name: str | None, changes: Mapping[str, bytes | None]) -> None:
        """Set annotations, all or none."""
        if name is None:
            self._annotations = changed_annotations(self._annotations, changes)
        else:
            mailbox = self.existing(name)
            name, mailbox.annotations = mailbox.name, changed_annotations(mailbox.annotations, changes)
        self.tell(MetadataChanged(name or "", tuple(changes)))

    async def url_key(self, name: str, *, make: bool = False) -> bytes | None:
        """The access key of a mailbox."""
        mailbox_id = self.existing(name).mailbox_id
        if make:
            self._url_keys.setdefault(mailbox_id, secrets.token_bytes(32))
        return self._url_keys.get(mailbox_id)

    async def reset_url_keys(self, name: str | None) -> None:
        """Take the access key of a mailbox away, or all of them."""
        if name is None:
            self._url_keys.clear()
        else:
            self._url_keys.pop(self.existing(name).mailbox_id, None)

    async def status(self, name: str) -> MailboxStatus:
        """Counts and numbers of a mailbox."""
        return self.existing(name).status()

    @asynccontextmanager
    async def open(self, name: str) -> AsyncIterator[MemoryMailbox]:
        """The live mailbox."""
        yield self.existing(name)

    def shared_with(self) -> frozenset[str]:
        """The identifiers that stand in any ACL."""
        return frozenset().union(*(shared_with(mailbox.acl) for mailbox in self._mailboxes.values()))

    # -- the whole account -------------------------------------------------------------------------------------------

    def usage(self) -> QuotaUsage:
        """As `quota`, at once."""
        used = [mailbox.usage() for mailbox in self._mailboxes.values()]
        octets, messages = sum(octets for octets, _ in used), sum(messages for _, messages in used)
        octets_limit, messages_limit = self._limits
        return QuotaUsage(
            octets=octets, messages=messages, octets_limit=octets_limit, messages_limit=messages_limit
        )

    async def quota(self) -> QuotaUsage:
        """What the account uses and may use."""
        return self.usage()

    async def set_quota(self, octets_limit: int, messages_limit: int) -> None:
        """Set the limits; 0 means none."""
        self._limits = (octets_limit, messages_limit)

    def remove(self) -> None:
        """Delete everything."""
        for mailbox in self._mailboxes.values():
            mailbox.deleted = True
            mailbox.wake()
        self._mailboxes.clear()


def _parents(name: str) -> list[str]:
    parts = name.split(SEPARATOR)
    return [SEPARATOR.join(parts[:count]) for count in range(1, len(parts))]
