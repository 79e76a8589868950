"""The table of a mailbox that someone has open: what it is now, who is told when it changes, and what changed since.

One object for all sessions. Its attributes change on the event loop only, after the thread that did the work came back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from mailserver.model.changes import MessagesChanged
from mailserver.model.errors import NotFound
from mailserver.model.flags import FlagTable
from mailserver.model.mailbox import Changes, MessageTable
from mailserver.model.numset import NumSet
from mailserver.model.rights import Acl
from mailserver.storage.maildir import rows
from mailserver.storage.maildir.changelog import ChangeLog
from mailserver.storage.maildir.folder import Arrival, Folder
from mailserver.storage.maildir.looking import unchanged
from mailserver.storage.maildir.sync import Synced

if TYPE_CHECKING:
    from mailserver.storage.maildir.account import MaildirAccount

__all__ = ["LiveTable"]

_T = TypeVar("_T")


class LiveTable:
    """One mailbox. `users` counts who has it open."""

    def __init__(self, account: MaildirAccount, folder: Folder) -> None:
        self.folder = folder
        self.users = 0
        self.name = folder.name
        self.mailbox_id = folder.state.mailbox_id
        self.uid_validity = folder.state.uid_validity
        self.uid_next = folder.visible_next
        self.highest_modseq = folder.highest_modseq
        self.table = MessageTable()
        self.flag_table = FlagTable()
        self.deleted = False
        self._account = account
        self._upkeep = account.upkeep
        self._wakers: dict[object, Callable[[], None]] = {}
        self._log = ChangeLog(folder.highest_modseq)

    @property
    def account(self) -> MaildirAccount:
        """The account that it is of."""
        return self._account

    @property
    def acl(self) -> Acl:
        """Who may do what, without the owner."""
        return self.folder.state.acl

    async def load(self) -> None:
        """Read the table from the index, whose folder was just looked at and is held. Raises IndexLost."""
        folder, index = self.folder, self._upkeep.index
        uid_next = folder.visible_next
        loaded = await self._upkeep.transact(
            folder, lambda db, number: rows.load_table(db, index, number, self.flag_table, uid_next)
        )
        self.table = loaded.table
        folder.highest_modseq = max(folder.highest_modseq, loaded.highest_modseq)
        counts = {self.flag_table.sets[number]: count for number, count in loaded.flags.items()}
        self._account.counted(folder, counts, loaded.octets)
        self._note()
        self._log = ChangeLog(folder.highest_modseq)

    # -- what becomes visible, on the loop -----------------------------------------------------------------------------

    def show(self, arrivals: Iterable[Arrival]) -> None:
        """New messages, in the order of their UIDs."""
        for arrival in arrivals:
            number = self.flag_table.intern(arrival.flags)
            self.table.append(arrival.uid, number, arrival.modseq, arrival.wire, arrival.date, arrival.saved)
            self._log.changed(arrival.modseq, (arrival.uid,))
        self.changed()

    def apply(self, synced: Synced, modseq: int) -> None:
        """What another program did."""
        table, counts = self.table, self.folder.counts
        touched = []
        for uid, flags in synced.changed.items():
            at = table.find(uid)
            number = self.flag_table.intern(flags)
            if at >= 0 and table.flags[at] != number:
                if counts is not None:
                    counts.change(self.flag_table.sets[table.flags[at]], self.flag_table.sets[number])
                table.flags[at], table.modseqs[at] = number, modseq
                touched.append(uid)
        if touched:
            self._log.changed(modseq, sorted(touched))
        # Where nothing is other than before nobody hears of it: whoever looks because of that would look for ever.
        if not self.remove(synced.gone):
            (self.changed if touched else self._note)()

    def remove(self, uids: Collection[int]) -> NumSet:
        """Take messages out of the table; those that were in it."""
        return self._remove_at(self.table.positions(uids))

    def _remove_at(self, positions: Sequence[int]) -> NumSet:
        table, folder = self.table, self.folder
        if not positions:
            return NumSet()
        gone = NumSet.from_numbers([table.uids[at] for at in positions])
        octets = sum([table.sizes[at] for at in positions])
        if folder.counts is not None:
            for number, count in Counter([table.flags[at] for at in positions]).items():
                folder.counts.change(self.flag_table.sets[number], None, count)
            folder.counts.octets -= octets
        self._account.unreserve(octets, len(positions))
        self.table = table.without(positions)
        self._log.expunged(self.table.generation, gone)
        self.changed()
        return gone

    def changed(self) -> None:
        """Messages or flags are others: let the attributes say what is now, and wake everyone soon."""
        self.wake()
        self._account.tell(MessagesChanged(self.name))

    def wake(self) -> None:
        """The same for those who have it open, where the messages are what they were."""
        self._note()
        loop = self._upkeep.context.loop
        for wake in self._wakers.values():
            loop.call_soon(wake)

    def _note(self) -> None:
        folder = self.folder
        self.name, self.uid_next, self.highest_modseq = folder.name, folder.visible_next, folder.highest_modseq

    def removed_lately(self) -> frozenset[int]:
        """UIDs that were removed, as far back as sessions are told."""
        return frozenset(self._log.removed())

    def memory(self) -> tuple[dict[int, frozenset[str]], dict[int, int]]:
        """Flags and MODSEQs by UID, for an index that must be made anew."""
        table, sets = self.table, self.flag_table.sets
        flags = {uid: sets[number] for uid, number in zip(table.uids, table.flags, strict=True)}
        return flags, dict(zip(table.uids, table.modseqs, strict=True))

    # -- what sessions read ------------------------------------------------------------------------------------------

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` soon after anything changed; returns the undo."""
        key = object()
        self._wakers[key] = wake
        self._account.watch(self)

        def undo() -> None:
            self._wakers.pop(key, None)

        return undo

    @property
    def watched(self) -> bool:
        """Does anyone want to be woken?"""
        return bool(self._wakers)

    def looks_changed(self) -> bool:
        """Has the directory another mtime than when it was last looked at, or an untrusted one? In a thread."""
        try:
            return not self.deleted and not unchanged(self.folder)
        except OSError:
            return True

    async def refresh(self) -> None:
        """Notice what other programs did."""
        self._check()
        await self._account.refresh(self.folder)

    def expunged_since(self, generation: int) -> NumSet | None:
        """UIDs removed since the table of that generation; None if that is too long ago."""
        return self._log.expunged_since(generation, self.table.generation)

    def flags_changed_since(self, modseq: int) -> Sequence[int]:
        """UIDs, ascending, of visible messages whose modseq is greater."""
        if modseq >= self.folder.highest_modseq:
            return []
        return self._log.since(modseq, self.table)

    async def changes_since(self, modseq: int) -> Changes:
        """Changed messages and tombstones after `modseq`."""
        self._check()
        vanished = await self._operate(
            lambda: self._upkeep.transact(self.folder, lambda db, number: rows.tombstones_since(db, number, modseq))
        )
        changed = NumSet.from_numbers(self.flags_changed_since(modseq))
        if vanished is None:
            return Changes(changed=changed, vanished=NumSet(), vanished_complete=False)
        return Changes(changed=changed, vanished=NumSet.from_numbers(vanished))

    def _check(self) -> None:
        if self.deleted:
            raise NotFound("the mailbox was deleted")

    async def _operate(self, work: Callable[[], Awaitable[_T]]) -> _T:
        return await self._upkeep.operate(work, self.folder)
