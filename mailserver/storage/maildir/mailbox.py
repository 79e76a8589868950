"""A mailbox that someone has open: its table, and the operations on its messages.

One object for all sessions. Its attributes change on the event loop only, after the thread that did the work came back;
operations are serialised by the account's upkeep (upkeep.py), reading is not.
"""

from __future__ import annotations

import functools
import sqlite3
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from mailserver.model.changes import MessagesChanged
from mailserver.model.errors import LimitReached, NotFound, StorageFailure
from mailserver.model.flags import FlagChange, FlagTable
from mailserver.model.mailbox import Changes, CopyResult, FlagResult, MessageTable, Rendered
from mailserver.model.numset import NumSet
from mailserver.model.rights import ALL_RIGHTS, Acl, Rights, change_within
from mailserver.ports.store import AccountStore
from mailserver.storage.maildir import reading, rows
from mailserver.storage.maildir.changelog import ChangeLog
from mailserver.storage.maildir.folder import Arrival, Folder, Seen
from mailserver.storage.maildir.index import IndexLost
from mailserver.storage.maildir.pieces import pieces_with
from mailserver.storage.maildir.rows import FileRow
from mailserver.storage.maildir.sifting import sift_batch
from mailserver.storage.maildir.sync import Synced
from mailserver.storage.maildir.transfer import transfer

if TYPE_CHECKING:
    from mailserver.storage.maildir.account import MaildirAccount

__all__ = ["MAX_KEYWORDS", "MaildirMailbox"]

_T = TypeVar("_T")
MAX_KEYWORDS = 1_000
_FILES_AT_ONCE = 250
_PIECES_AT_ONCE = 1_000
#: Of so many messages one is asked for: then it costs less to ask for each than to look through all.
_SPARSE = 16
_FLAGS_AT_ONCE = 10_000
#: Every removal makes a new table, so these are larger slices.
_REMOVED_AT_ONCE = 20_000


class MaildirMailbox:
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
        self.remove(synced.gone)
        self.changed()

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
            return not self.deleted and not self._upkeep.unchanged(self.folder)
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

    async def rendered(
        self, uids: Sequence[int], fields: Sequence[Rendered], *, make: bool = True
    ) -> Mapping[int, Sequence[bytes]]:
        """uid → the asked fields."""
        found: dict[int, Sequence[bytes]] = {}
        async for there, columns in self.pieces(uids, fields, make=make):
            found.update(zip(there, zip(*columns, strict=True), strict=True))
        return found

    async def pieces(
        self, uids: Sequence[int], fields: Sequence[Rendered], *, make: bool = True
    ) -> AsyncGenerator[tuple[Sequence[int], Sequence[Sequence[bytes]]], None]:
        """The asked fields, batch by batch."""
        index, run = self._upkeep.index, self._upkeep.context.reading.run
        uids, at, size = self._present(uids), 0, _PIECES_AT_ONCE
        while at < len(uids):
            number = await self._indexed()
            some = uids[at : at + size]
            try:
                batch = await run(reading.read_rendered, index, self.folder, number, some, fields, make)
            except IndexLost:
                continue
            except OSError as error:
                raise _unreadable(error) from error
            at += batch.done
            # What is read beyond a message that must be rendered first is read again.
            size = min(_PIECES_AT_ONCE, 2 * batch.done)
            if batch.columns and batch.uids:
                yield batch.uids, batch.columns

    def _present(self, uids: Sequence[int]) -> list[int]:
        """These UIDs, ascending. After a removal only those that are there: pieces go later than their messages."""
        table = self.table
        return [table.uids[at] for at in table.positions(uids)] if table.generation else sorted(uids)

    async def rendered_with(self, uids: Sequence[int], field: Rendered, octets: bytes) -> Mapping[int, bytes]:
        """uid → the field, where it has these octets."""
        number = await self._indexed()
        index, run = self._upkeep.index, self._upkeep.context.reading.run
        wanted = self._present(uids)
        if not wanted:
            return {}
        present = bisect_right(self.table.uids, wanted[-1]) - bisect_left(self.table.uids, wanted[0])
        if present > _SPARSE * len(wanted):
            pieces = await self.rendered(wanted, (field,))
            return {uid: piece for uid, (piece,) in pieces.items() if octets in piece}
        try:
            found, lacking = await run(
                lambda: index.run(lambda db: pieces_with(db, number, wanted, field, octets, present))
            )
        except IndexLost:
            return await self.rendered_with(uids, field, octets)
        if lacking:
            made = await self.rendered(lacking, (field,))
            found.update({uid: piece for uid, (piece,) in made.items() if octets in piece})
        return found

    def read_many(
        self, uids: Sequence[int], *, header_only: bool = False
    ) -> AsyncGenerator[list[tuple[int, bytes]], None]:
        """Whole messages or header blocks, batch by batch."""
        return self._in_batches(uids, functools.partial(reading.read_batch, self.folder, header_only=header_only))

    def sift(self, sizes: Mapping[int, int], test: Callable[[int, bytes], bool]) -> AsyncGenerator[list[int], None]:
        """Those that pass the test, batch by batch."""
        work = functools.partial(sift_batch, self.folder, sizes=sizes, test=test)
        return self._in_batches(list(sizes), work)

    async def _in_batches(
        self, uids: Sequence[int], work: Callable[..., tuple[list[_T], int]]
    ) -> AsyncGenerator[list[_T], None]:
        run = self._upkeep.context.reading.run
        for start in range(0, len(uids), _FILES_AT_ONCE):
            left: Sequence[int] = uids[start : start + _FILES_AT_ONCE]
            try:
                places = await self._places(left)
                looked = False
                if any(uid not in places and self.table.find(uid) >= 0 for uid in left):
                    # The index does not find what it told before.
                    await self._look_again()
                    places, looked = await self._places(left), True
                while left:
                    batch, done = await run(functools.partial(work, places, left, patient=not looked))
                    left = left[done:]
                    if batch:
                        yield batch
                    elif not done:
                        # The index has a name for which there is no file (ATTACKS H03, H07).
                        await self._look_again()
                        places, looked = await self._places(left), True
            except OSError as error:
                raise _unreadable(error) from error

    async def read(self, uid: int, start: int = 0, size: int | None = None) -> bytes:
        """A range of a message."""
        self._check()
        row = (await self._places([uid])).get(uid) if self.table.find(uid) >= 0 else None
        if row is None:
            raise NotFound("the message is gone")
        run = self._upkeep.context.reading.run
        try:
            try:
                return await run(reading.read_range, self.folder, row, start, size)
            except FileNotFoundError:
                await self._look_again()
                row = (await self._places([uid])).get(uid, row)
                return await run(reading.read_range, self.folder, row, start, size)
        except FileNotFoundError:
            raise NotFound("the message is gone") from None
        except OSError as error:
            raise _unreadable(error) from error

    async def _look_again(self) -> None:
        """Compare everything with the directory, whatever its mtime says."""
        self.folder.seen = Seen()
        await self._account.refresh(self.folder)

    async def _places(self, uids: Sequence[int]) -> dict[int, FileRow]:
        number = await self._indexed()
        index = self._upkeep.index
        wanted = sorted(uids)
        try:
            return await self._upkeep.context.reading.run(
                lambda: index.run(lambda db: rows.file_rows(db, number, wanted))
            )
        except IndexLost:
            return await self._places(uids)

    async def _indexed(self) -> int:
        """The folder's number, when everything visible is in the index. Raises NotFound."""
        self._check()
        folder, upkeep = self.folder, self._upkeep
        if not folder.unindexed and folder.synced == upkeep.index.generation:
            return folder.number
        return await self._operate(lambda: upkeep.transact(folder, lambda db, number: number))

    # -- what sessions change ----------------------------------------------------------------------------------------

    async def set_flags(
        self, uids: Sequence[int], how: FlagChange, flags: frozenset[str], *, unchanged_since: int | None = None,
        rights: Rights = ALL_RIGHTS,
    ) -> FlagResult:  # fmt: skip
        """Change flags; a message whose flags do not change keeps its MODSEQ."""
        self._check()
        if how is not FlagChange.REMOVE:
            self.admit_keywords(flags)
        return await self._upkeep.context.finish(self._set_all_flags(uids, how, flags, unchanged_since, rights))

    async def _set_all_flags(
        self, uids: Sequence[int], how: FlagChange, flags: frozenset[str], unchanged_since: int | None, rights: Rights
    ) -> FlagResult:
        changed: list[tuple[int, int]] = []
        modified: list[tuple[int, int]] = []
        # One after the other, so that the loop and other sessions get their turn (ATTACKS H12).
        for some in _slices(uids, _FLAGS_AT_ONCE):
            result = await self._operate(functools.partial(self._set_flags, some, how, flags, unchanged_since, rights))
            changed += result.changed.ranges
            modified += result.modified.ranges
        return FlagResult(changed=NumSet.from_ranges(changed), modified=NumSet.from_ranges(modified))

    async def _set_flags(
        self, uids: Sequence[int], how: FlagChange, flags: frozenset[str], unchanged_since: int | None, rights: Rights
    ) -> FlagResult:
        self._check()
        table, flag_table = self.table, self.flag_table
        kept: list[int] = []
        asked: list[int] = []
        new_numbers: dict[int, int] = {}
        moves: dict[int, list[int]] = {}
        for at in table.positions(uids):
            if unchanged_since is not None and table.modseqs[at] > unchanged_since:
                kept.append(table.uids[at])
                continue
            asked.append(table.uids[at])
            old = table.flags[at]
            if old not in new_numbers:
                new_numbers[old] = change_within(flag_table, old, how, flags, rights)
            if new_numbers[old] != old:
                moves.setdefault(old, []).append(at)
        result = FlagResult(changed=NumSet.from_numbers(asked), modified=NumSet.from_numbers(kept))
        if moves:
            await self._change(moves, new_numbers)
        return result

    async def _change(self, moves: dict[int, list[int]], new_numbers: dict[int, int]) -> None:
        table, sets, folder = self.table, self.flag_table.sets, self.folder
        modseq = folder.highest_modseq + 1
        changes = [
            (sets[old], NumSet.from_numbers(table.uids[at] for at in places).ranges, sets[new_numbers[old]])
            for old, places in moves.items()
        ]
        index = self._upkeep.index

        def work(db: sqlite3.Connection, number: int) -> None:
            numbered = [(index.flag_number(db, a), ranges, index.flag_number(db, b)) for a, ranges, b in changes]
            rows.set_flags(db, number, modseq, numbered)

        await self._upkeep.transact(folder, work)
        for old, places in moves.items():
            new = new_numbers[old]
            for at in places:
                table.flags[at], table.modseqs[at] = new, modseq
            if folder.counts is not None:
                folder.counts.change(sets[old], sets[new], len(places))
        folder.highest_modseq = modseq
        self._log.changed(modseq, sorted(table.uids[at] for places in moves.values() for at in places))
        self._upkeep.note(folder)
        self.changed()

    async def expunge(self, uids: Sequence[int]) -> NumSet:
        """Remove these messages for good."""
        self._check()
        return await self._upkeep.context.finish(self._expunge_all(uids))

    async def _expunge_all(self, uids: Sequence[int]) -> NumSet:
        if len(uids) <= _REMOVED_AT_ONCE:
            return await self._operate(functools.partial(self.expunge_held, uids))
        gone: list[tuple[int, int]] = []
        for some in _slices(uids, _REMOVED_AT_ONCE):
            gone += (await self._operate(functools.partial(self.expunge_held, some))).ranges
        return NumSet.from_ranges(gone)

    async def expunge_held(self, uids: Sequence[int]) -> NumSet:
        """As `expunge`, by the one who holds the folder. Raises IndexLost."""
        self._check()
        # Nothing else changes the table until this has come to its end; at most it grows.
        positions = self.table.positions(uids)
        if not positions:
            return NumSet()
        folder, table = self.folder, self.table
        present = [table.uids[at] for at in positions]
        modseq = folder.highest_modseq + 1
        await self._upkeep.transact(
            folder, lambda db, number: rows.remove_messages(db, number, present, modseq, unlink=True), durable=True
        )
        folder.highest_modseq = modseq
        gone = self._remove_at(positions)
        self._upkeep.note(folder)
        return gone

    async def copy(
        self, uids: Sequence[int], destination: str, *, into: AccountStore | None = None, rights: Rights = ALL_RIGHTS
    ) -> CopyResult:
        """Copy with flags and dates, in order, all or none."""
        return await self._transfer(uids, destination, into, rights, move=False)

    async def move(
        self, uids: Sequence[int], destination: str, *, into: AccountStore | None = None, rights: Rights = ALL_RIGHTS
    ) -> CopyResult:
        """As copy, then expunge here. The account does not grow, so that a full one can still be tidied up."""
        return await self._transfer(uids, destination, into, rights, move=True)

    async def _transfer(
        self, uids: Sequence[int], destination: str, into: AccountStore | None, rights: Rights, *, move: bool
    ) -> CopyResult:
        self._check()
        account = self._account if into is None else self._account.sibling(into)
        return await self._upkeep.context.finish(
            transfer(self._account, self, uids, destination, account, rights, move=move)
        )

    # -- helpers -----------------------------------------------------------------------------------------------------

    def admit_keywords(self, flags: frozenset[str]) -> None:
        """Raises LimitReached: the mailbox has no room for the keywords among these."""
        have = {keyword.lower() for keyword in self.flag_table.keywords()}
        new = {flag.lower() for flag in flags if not flag.startswith("\\")} - have
        if new and len(have) + len(new) > MAX_KEYWORDS:
            raise LimitReached(f"a mailbox has at most {MAX_KEYWORDS} keywords")

    def _check(self) -> None:
        if self.deleted:
            raise NotFound("the mailbox was deleted")

    async def _operate(self, work: Callable[[], Awaitable[_T]]) -> _T:
        return await self._upkeep.operate(work, self.folder)


def _slices(uids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (uids[start : start + size] for start in range(0, len(uids), size))


def _unreadable(error: OSError) -> StorageFailure:
    return StorageFailure("the message cannot be read now, try again later", detail=str(error))
