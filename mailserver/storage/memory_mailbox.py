"""One mailbox in memory: UIDs in order, flags and MODSEQs, generations of its table, tombstones."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mailserver.mime.headers import header_block_end
from mailserver.mime.render import render
from mailserver.model.changes import AccountChange, MessagesChanged
from mailserver.model.errors import LimitReached, NotFound
from mailserver.model.flags import DELETED, SEEN, FlagChange, FlagTable
from mailserver.model.ids import new_queue_id
from mailserver.model.mailbox import (
    Changes,
    CopyResult,
    FlagResult,
    MailboxStatus,
    MessageTable,
    Rendered,
    SpecialUse,
)
from mailserver.model.numset import NumSet
from mailserver.model.progress import Progress
from mailserver.model.rights import ALL_RIGHTS, Acl, Rights, allowed_flags, change_within
from mailserver.ports.clock import Clock
from mailserver.ports.store import AccountStore

__all__ = ["MemoryMailbox", "Message"]

BATCH_SIZE = 256 << 10
BATCH_MESSAGES = 100
MAX_KEYWORDS = 1_000
MAX_TOMBSTONES = 100_000
MAX_GENERATIONS = 100


class Owner(Protocol):
    """What a mailbox needs of its account."""

    clock: Clock

    def existing(self, name: str) -> MemoryMailbox:
        """A mailbox by name. Raises NotFound."""
        ...

    def sibling(self, account: object) -> Owner:
        """Another account of the store; None is this one. Raises TypeError: of another kind of store."""
        ...

    def check_quota(self, messages: Collection[Message]) -> None:
        """Raises OverQuota when these do not fit."""
        ...

    async def put(self, items: Sequence[tuple[MemoryMailbox, Message]]) -> list[int]:
        """Keep these messages; their UIDs."""
        ...

    def tell(self, change: AccountChange) -> None:
        """Let those know who observe the account."""
        ...


@dataclass(slots=True)
class Message:
    """`data` is as presented; `flags` are the names it comes with, from then on the table has its flags."""

    data: bytes
    flags: frozenset[str]
    date: int
    rendered: dict[Rendered, bytes] | None = None


class MemoryMailbox:
    """One mailbox, one object for all its sessions."""

    def __init__(
        self, account: Owner, name: str, uid_validity: int, special_use: frozenset[SpecialUse], acl: Acl
    ) -> None:
        self.name = name
        self.acl = acl
        self.mailbox_id = f"F{new_queue_id()}"
        self.uid_validity = uid_validity
        self.special_use = special_use
        self.annotations: dict[str, bytes] = {}
        self.uid_next = 1
        self.highest_modseq = 1
        self.table = MessageTable()
        self.flag_table = FlagTable()
        self.deleted = False
        self._account = account
        self._messages: dict[int, Message] = {}
        self._next_uid = 1
        #: What has a UID and is not visible, ascending; `_committed` are those that only wait for a lower one.
        self._waiting: dict[int, Message] = {}
        self._committed: set[int] = set()
        self._tombstones: deque[tuple[int, int]] = deque()
        self._forgotten_modseq = 0
        self._expunged: deque[tuple[int, NumSet]] = deque(maxlen=MAX_GENERATIONS)
        self._wakers: dict[object, Callable[[], None]] = {}
        self._expecting: list[asyncio.Future[None]] = []

    @property
    def owner(self) -> Owner:
        """The account that it is of."""
        return self._account

    # -- what arrives ------------------------------------------------------------------------------------------------

    def assign(self, message: Message) -> int:
        """The next UID, for this message; it must be committed or abandoned."""
        uid = self._next_uid
        self._next_uid += 1
        self._waiting[uid] = message
        return uid

    def commit(self, uid: int) -> None:
        """The message of this UID is safe; it is shown as soon as no lower UID is waiting."""
        self._committed.add(uid)
        self._show()

    def abandon(self, uid: int) -> None:
        """No message will have this UID."""
        del self._waiting[uid]
        self._show()

    def _show(self) -> None:
        while self._waiting:
            uid, message = next(iter(self._waiting.items()))
            if uid not in self._committed:
                break
            del self._waiting[uid]
            self._committed.remove(uid)
            # The MODSEQ is given here and not with the UID: a client that knows a MODSEQ has seen all that is below it.
            self.highest_modseq += 1
            self._messages[uid] = message
            number = self.flag_table.intern(message.flags)
            now = int(self._account.clock.time())
            self.table.append(uid, number, self.highest_modseq, len(message.data), message.date, now)
        self.uid_next = next(iter(self._waiting), self._next_uid)
        self.changed()
        expecting, self._expecting = self._expecting, []
        for future in expecting:
            if not future.done():
                future.set_result(None)

    async def visible(self, uid: int) -> None:
        """Wait until this UID, which was given, is visible or abandoned."""
        while self.uid_next <= uid:
            self._expecting.append(asyncio.get_running_loop().create_future())
            await self._expecting[-1]

    # -- what sessions read ------------------------------------------------------------------------------------------

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` soon after anything changed; returns the undo."""
        key = object()
        self._wakers[key] = wake

        def undo() -> None:
            self._wakers.pop(key, None)

        return undo

    def changed(self) -> None:
        """Messages or flags are others: wake everyone."""
        self.wake()
        self._account.tell(MessagesChanged(self.name))

    def wake(self) -> None:
        """Wake those who have it open, from the loop and not from within the operation."""
        loop = asyncio.get_running_loop()
        for wake in self._wakers.values():
            loop.call_soon(wake)

    async def refresh(self) -> None:
        """Nobody else can write here."""

    def expunged_since(self, generation: int) -> NumSet | None:
        """UIDs removed since the table of that generation; None if that is too long ago."""
        steps = self.table.generation - generation
        if steps > len(self._expunged):
            return None
        recent = [uids for made, uids in self._expunged if made > generation]
        return NumSet.from_ranges(span for uids in recent for span in uids.ranges)

    def flags_changed_since(self, modseq: int) -> Sequence[int]:
        """UIDs, ascending, of visible messages whose modseq is greater."""
        table = self.table
        return [uid for uid, changed in zip(table.uids, table.modseqs, strict=True) if changed > modseq]

    async def changes_since(self, modseq: int) -> Changes:
        """Changed messages and tombstones after `modseq`."""
        changed = NumSet.from_numbers(self.flags_changed_since(modseq))
        if modseq < self._forgotten_modseq:
            return Changes(changed=changed, vanished=NumSet(), vanished_complete=False)
        vanished = NumSet.from_numbers(uid for at, uid in self._tombstones if at > modseq)
        return Changes(changed=changed, vanished=vanished)

    async def pieces(
        self, uids: Sequence[int], fields: Sequence[Rendered], *, make: bool = True
    ) -> AsyncGenerator[tuple[Sequence[int], Sequence[Sequence[bytes]]], None]:
        """The asked fields, some messages at a time."""
        for start in range(0, len(uids), BATCH_MESSAGES):
            found = await self.rendered(sorted(uids)[start : start + BATCH_MESSAGES], fields, make=make)
            if found:
                yield list(found), list(zip(*found.values(), strict=True))

    async def rendered(
        self, uids: Sequence[int], fields: Sequence[Rendered], *, make: bool = True
    ) -> Mapping[int, Sequence[bytes]]:
        """uid → the asked fields."""
        out = {}
        for uid in uids:
            message = self._messages.get(uid)
            if message is None or (message.rendered is None and not make):
                continue
            if message.rendered is None:
                message.rendered = render(message.data)
            out[uid] = [message.rendered[field] for field in fields]
        return out

    async def rendered_with(self, uids: Sequence[int], field: Rendered, octets: bytes) -> Mapping[int, bytes]:
        """Those pieces that have these octets."""
        return {uid: piece for uid, (piece,) in (await self.rendered(uids, (field,))).items() if octets in piece}

    async def rendered_between(self, uids: Sequence[int], field: Rendered, first: bytes, end: bytes) -> set[int]:
        """Messages whose piece is within this range."""
        return {uid for uid, (piece,) in (await self.rendered(uids, (field,))).items() if first <= piece < end}

    async def sift(self, sizes: Mapping[int, int], test: Callable[[int, bytes], bool]) -> AsyncIterator[list[int]]:
        """The messages that pass a test, batch by batch."""
        async for batch in self.read_many(list(sizes)):
            yield [uid for uid, data in batch if test(uid, data[: sizes[uid]])]

    async def read_many(
        self, uids: Sequence[int], *, header_only: bool = False
    ) -> AsyncGenerator[list[tuple[int, bytes]], None]:
        """Whole messages or header blocks, batch by batch."""
        batch: list[tuple[int, bytes]] = []
        size = 0
        for uid in uids:
            message = self._messages.get(uid)
            if message is None:
                continue
            data = message.data[: header_block_end(message.data)] if header_only else message.data
            if batch and size + len(data) > BATCH_SIZE:
                yield batch
                batch, size = [], 0
            batch.append((uid, data))
            size += len(data)
        if batch:
            yield batch

    async def read(self, uid: int, start: int = 0, size: int | None = None) -> bytes:
        """A range of a message."""
        self._check()
        message = self._messages.get(uid)
        if message is None:
            raise NotFound("the message is gone")
        return message.data[start:] if size is None else message.data[start : start + size]

    def status(self) -> MailboxStatus:
        """As `AccountStore.status`."""
        seen, deleted = self.flag_table.having(SEEN), self.flag_table.having(DELETED)
        flags = self.table.flags
        return MailboxStatus(
            messages=len(flags),
            unseen=sum(number not in seen for number in flags),
            deleted=sum(number in deleted for number in flags),
            size=sum(self.table.sizes),
            uid_next=self.uid_next,
            uid_validity=self.uid_validity,
            highest_modseq=self.highest_modseq,
            mailbox_id=self.mailbox_id,
        )

    # -- what sessions change ----------------------------------------------------------------------------------------

    def admit_keywords(self, flags: frozenset[str]) -> frozenset[str]:
        """The flags, if the mailbox has room for the keywords among them. Raises LimitReached."""
        have = {keyword.lower() for keyword in self.flag_table.keywords()}
        new = {flag.lower() for flag in flags if not flag.startswith("\\")} - have
        if new and len(have) + len(new) > MAX_KEYWORDS:
            raise LimitReached(f"a mailbox has at most {MAX_KEYWORDS} keywords")
        return flags

    async def set_flags(
        self, uids: Sequence[int], how: FlagChange, flags: frozenset[str], *, unchanged_since: int | None = None,
        rights: Rights = ALL_RIGHTS, progress: Progress | None = None,
    ) -> FlagResult:  # fmt: skip
        """Change flags; a message whose flags do not change keeps its MODSEQ."""
        self._check()
        if how is not FlagChange.REMOVE:
            self.admit_keywords(flags)
        table = self.table
        at_uid = {uid: at for uid in uids if (at := table.find(uid)) >= 0}
        kept: set[int] = set()
        if unchanged_since is not None:
            kept = {uid for uid, at in at_uid.items() if table.modseqs[at] > unchanged_since}
        modseq = self.highest_modseq + 1
        for uid, at in at_uid.items():
            number = table.flags[at]
            if uid not in kept:
                number = change_within(self.flag_table, number, how, flags, rights)
            if number != table.flags[at]:
                table.flags[at], table.modseqs[at] = number, modseq
                self.highest_modseq = modseq
        if self.highest_modseq == modseq:
            self.changed()
        return FlagResult(changed=NumSet.from_numbers(at_uid.keys() - kept), modified=NumSet.from_numbers(kept))

    async def expunge(self, uids: Sequence[int], *, progress: Progress | None = None) -> NumSet:
        """Remove these messages for good."""
        return self.remove(uids)

    def remove(self, uids: Sequence[int]) -> NumSet:
        """As `expunge`, at once."""
        self._check()
        positions = sorted({at for uid in uids if (at := self.table.find(uid)) >= 0})
        gone = NumSet.from_numbers(self.table.uids[at] for at in positions)
        if gone:
            self.highest_modseq += 1
            for uid in gone:
                del self._messages[uid]
                self._tombstones.append((self.highest_modseq, uid))
            while len(self._tombstones) > MAX_TOMBSTONES:
                self._forgotten_modseq = self._tombstones.popleft()[0]
            self.table = self.table.without(positions)
            self._expunged.append((self.table.generation, gone))
            self.changed()
        return gone

    async def copy(
        self, uids: Sequence[int], destination: str, *, into: AccountStore | None = None, rights: Rights = ALL_RIGHTS,
        progress: Progress | None = None,
    ) -> CopyResult:  # fmt: skip
        """Copy with flags and dates, in order, all or none."""
        return await self._copy(uids, destination, self._account.sibling(into), rights, move=False)

    async def move(
        self, uids: Sequence[int], destination: str, *, into: AccountStore | None = None, rights: Rights = ALL_RIGHTS,
        progress: Progress | None = None,
    ) -> CopyResult:  # fmt: skip
        """As copy, then expunge here. An account does not grow by it, so that a full one can still be tidied up."""
        result = await self._copy(uids, destination, self._account.sibling(into), rights, move=True)
        await self.expunge(result.source)
        return result

    async def _copy(
        self, uids: Sequence[int], destination: str, account: Owner, rights: Rights, *, move: bool
    ) -> CopyResult:
        self._check()
        target = account.existing(destination)
        source = [uid for uid in sorted(set(uids)) if self.table.find(uid) >= 0]
        copies = []
        for uid in source:
            message = self._messages[uid]
            flags = allowed_flags(self.flag_table.sets[self.table.flags[self.table.find(uid)]], rights)
            copies.append((target, Message(message.data, target.admit_keywords(flags), message.date, message.rendered)))
        if not move or account is not self._account:
            account.check_quota([message for _, message in copies])
        assigned = await account.put(copies)
        if assigned:
            await target.visible(assigned[-1])
        return CopyResult(uid_validity=target.uid_validity, source=tuple(source), target=tuple(assigned))

    def _check(self) -> None:
        if self.deleted:
            raise NotFound("the mailbox was deleted")

    def usage(self) -> tuple[int, int]:
        """Octets and messages, with those that are not visible yet."""
        sizes = [len(message.data) for message in (*self._messages.values(), *self._waiting.values())]
        return sum(sizes), len(sizes)
