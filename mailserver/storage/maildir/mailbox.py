"""A mailbox that someone has open, and how sessions change it.

Changes are serialised by the account's upkeep (upkeep.py): each is one transaction in the index, and then one change of
the table, before anything else happens to the mailbox.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator, Sequence

from mailserver.model.errors import LimitReached
from mailserver.model.flags import FlagChange
from mailserver.model.mailbox import CopyResult, FlagResult
from mailserver.model.numset import NumSet
from mailserver.model.progress import Progress
from mailserver.model.rights import ALL_RIGHTS, Rights, change_within
from mailserver.ports.store import AccountStore
from mailserver.storage.maildir import rows
from mailserver.storage.maildir.mailbox_reading import MailboxReading
from mailserver.storage.maildir.transfer import transfer

__all__ = ["MAX_KEYWORDS", "MaildirMailbox"]

MAX_KEYWORDS = 1_000
_FLAGS_AT_ONCE = 10_000
#: Every removal makes a new table, so these are larger slices.
_REMOVED_AT_ONCE = 20_000


class MaildirMailbox(MailboxReading):
    """`ports.store.Mailbox`."""

    async def set_flags(
        self, uids: Sequence[int], how: FlagChange, flags: frozenset[str], *, unchanged_since: int | None = None,
        rights: Rights = ALL_RIGHTS, progress: Progress | None = None,
    ) -> FlagResult:  # fmt: skip
        """Change flags; a message whose flags do not change keeps its MODSEQ."""
        self._check()
        if how is not FlagChange.REMOVE:
            self.admit_keywords(flags)
        progress = progress or Progress()
        return await self._upkeep.context.finish(
            self._set_all_flags(uids, how, flags, unchanged_since, rights, progress)
        )

    async def _set_all_flags(
        self, uids: Sequence[int], how: FlagChange, flags: frozenset[str], unchanged_since: int | None, rights: Rights,
        progress: Progress,
    ) -> FlagResult:  # fmt: skip
        changed: list[tuple[int, int]] = []
        modified: list[tuple[int, int]] = []
        # One after the other, so that the loop and other sessions get their turn (ATTACKS H12).
        for some in _slices(uids, _FLAGS_AT_ONCE):
            result = await self._operate(functools.partial(self._set_flags, some, how, flags, unchanged_since, rights))
            changed += result.changed.ranges
            modified += result.modified.ranges
            progress.done += len(some)
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

    async def expunge(self, uids: Sequence[int], *, progress: Progress | None = None) -> NumSet:
        """Remove these messages for good."""
        self._check()
        return await self._upkeep.context.finish(self._expunge_all(uids, progress or Progress()))

    async def _expunge_all(self, uids: Sequence[int], progress: Progress) -> NumSet:
        if len(uids) <= _REMOVED_AT_ONCE:
            return await self._operate(functools.partial(self.expunge_held, uids))
        gone: list[tuple[int, int]] = []
        for some in _slices(uids, _REMOVED_AT_ONCE):
            gone += (await self._operate(functools.partial(self.expunge_held, some))).ranges
            progress.done += len(some)
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
        self, uids: Sequence[int], destination: str, *, into: AccountStore | None = None, rights: Rights = ALL_RIGHTS,
        progress: Progress | None = None,
    ) -> CopyResult:  # fmt: skip
        """Copy with flags and dates, in order, all or none."""
        return await self._transfer(uids, destination, into, rights, progress, move=False)

    async def move(
        self, uids: Sequence[int], destination: str, *, into: AccountStore | None = None, rights: Rights = ALL_RIGHTS,
        progress: Progress | None = None,
    ) -> CopyResult:  # fmt: skip
        """As copy, then expunge here. The account does not grow, so that a full one can still be tidied up."""
        return await self._transfer(uids, destination, into, rights, progress, move=True)

    async def _transfer(
        self, uids: Sequence[int], destination: str, into: AccountStore | None, rights: Rights,
        progress: Progress | None, *, move: bool,
    ) -> CopyResult:  # fmt: skip
        self._check()
        account = self._account if into is None else self._account.sibling(into)
        return await self._upkeep.context.finish(
            transfer(self._account, self, uids, destination, account, rights, progress or Progress(), move=move)
        )

    def admit_keywords(self, flags: frozenset[str]) -> None:
        """Raises LimitReached: the mailbox has no room for the keywords among these."""
        have = {keyword.lower() for keyword in self.flag_table.keywords()}
        new = {flag.lower() for flag in flags if not flag.startswith("\\")} - have
        if new and len(have) + len(new) > MAX_KEYWORDS:
            raise LimitReached(f"a mailbox has at most {MAX_KEYWORDS} keywords")


def _slices(uids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (uids[start : start + size] for start in range(0, len(uids), size))
