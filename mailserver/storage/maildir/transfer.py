"""COPY and MOVE: links in the other folder, durable there, and only then gone here (RFC 9051 §6.4.7, §6.4.8).

    killed after          found
    some links            some messages twice (nothing was answered)
    directory fsync       all of them twice
    removal journaled     all of them in the target only; their old files go at the next start
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailserver.model.errors import NotFound, StorageFailure
from mailserver.model.mailbox import CopyResult
from mailserver.net import files
from mailserver.storage.maildir import reading, rows
from mailserver.storage.maildir.context import Context
from mailserver.storage.maildir.folder import Arrival, Folder
from mailserver.storage.maildir.index import AccountIndex, IndexLost
from mailserver.storage.maildir.names import is_ours
from mailserver.storage.maildir.pieces import copy_pieces
from mailserver.storage.maildir.rows import FileRow

if TYPE_CHECKING:
    from mailserver.storage.maildir.account import MaildirAccount
    from mailserver.storage.maildir.mailbox import MaildirMailbox

__all__ = ["transfer"]


@dataclass(slots=True)
class _Copy:
    uid: int
    flags: frozenset[str]
    date: int
    row: FileRow | None = None
    arrival: Arrival | None = None


@dataclass(slots=True)
class _Work:
    """A hop to a thread. `first` is the first UID given in the target; 0: none was."""

    context: Context
    index: AccountIndex
    source: Folder
    target: Folder
    copies: list[_Copy]
    first: int = 0
    made: list[str] = field(default_factory=list)

    def run(self, source_number: int, target_number: int) -> None:
        """Link all or nothing, durably. Raises OSError, LimitReached, IndexLost."""
        found = self.index.run(lambda db: rows.file_rows(db, source_number, [copy.uid for copy in self.copies]))
        self.copies = [copy for copy in self.copies if copy.uid in found]
        if not self.copies:
            return
        try:
            self._link_all(found)
            files.fsync_dir(self.target.cur)
        except BaseException:
            for path in self.made:
                files.remove_file(path)
            raise
        pairs = [(copy.uid, copy.arrival.uid) for copy in self.copies if copy.arrival is not None]
        # Only a saving: if the index is lost now, the copies stand all the same.
        with suppress(IndexLost, StorageFailure):
            self.index.run(lambda db: copy_pieces(db, source_number, target_number, pairs))

    def _link_all(self, found: dict[int, FileRow]) -> None:
        target, now = self.target, self.context.clock.time()
        self.first = target.take_uids(len(self.copies))
        further = {}
        for uid, copy in enumerate(self.copies, self.first):
            row = found[copy.uid]
            stem = self.context.names.stem(now, row.size, row.wire)
            base = f"{stem},U={uid}{target.uid_field}"
            info = target.keywords.info(copy.flags)
            path = f"{target.cur}/{base}{info}"
            try:
                source = reading.find_message(self.source, row)
                files.link_or_copy(source, path, f"{target.tmp}/{stem}")
            except FileNotFoundError:
                # Another program removed it a moment ago; what is not there cannot be copied.
                continue
            self.made.append(path)
            if not is_ours(row.base):
                files.fsync_file(path)
            if overflow := target.keywords.without_letter(copy.flags):
                further[base] = overflow
            copy.arrival = Arrival(uid, base, False, info, row.size, row.wire, copy.date, int(now), copy.flags)
        target.keywords.journal(further)


async def transfer(
    account: MaildirAccount, box: MaildirMailbox, uids: Sequence[int], destination: str, *, move: bool
) -> CopyResult:
    """Copy or move messages of an open mailbox; see `ports.store.Mailbox`."""
    target = account.existing(destination)
    folders = {box.folder: None, target: None}

    async def operation() -> CopyResult:
        if box.deleted or account.folders.get(target.name) is not target:
            raise NotFound("there is no such mailbox")
        if target.mailbox is not None:
            wanted = {box.table.flags[at] for uid in uids if (at := box.table.find(uid)) >= 0}
            for number in wanted:
                target.mailbox.admit_keywords(box.flag_table.sets[number])
        return await _transfer(account, box, target, uids, move=move)

    return await account.upkeep.operate(operation, *folders)


async def _transfer(
    account: MaildirAccount, box: MaildirMailbox, target: Folder, uids: Sequence[int], *, move: bool
) -> CopyResult:
    upkeep, table = account.upkeep, box.table
    places = sorted({at for uid in uids if (at := table.find(uid)) >= 0})
    copies = [_Copy(table.uids[at], box.flag_table.sets[table.flags[at]], table.dates[at]) for at in places]
    octets = sum(table.sizes[at] for at in places)
    account.reserve(octets, len(places), enforce=not move)
    work = _Work(upkeep.context, upkeep.index, box.folder, target, copies)
    try:
        source_number = await upkeep.transact(box.folder, lambda db, number: number)
        target_number = await upkeep.transact(target, lambda db, number: number)
        await upkeep.context.reading.run(work.run, source_number, target_number)
    except BaseException:
        for uid in range(work.first, work.first + len(work.copies) if work.first else 0):
            target.resolve(uid, None)
        account.unreserve(octets, len(places))
        raise
    done = [copy for copy in work.copies if copy.arrival is not None]
    for uid, copy in enumerate(work.copies, work.first):
        target.resolve(uid, copy.arrival)
    account.unreserve(octets - sum(copy.arrival.wire for copy in done if copy.arrival), len(places) - len(done))
    result = CopyResult(
        uid_validity=target.state.uid_validity,
        source=tuple(copy.uid for copy in done),
        target=tuple(copy.arrival.uid for copy in done if copy.arrival),
    )
    if move and done:
        await _expunge(account, box, result.source)
    return result


async def _expunge(account: MaildirAccount, box: MaildirMailbox, uids: Sequence[int]) -> None:
    """The second half of MOVE, which must not begin again from the first one when the index is lost."""
    try:
        await box.expunge_held(uids)
    except IndexLost:
        await account.upkeep.look(box.folder)
        await box.expunge_held(uids)
