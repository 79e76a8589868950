"""COPY and MOVE: links in the other folder, durable there, and only then gone here (RFC 9051 §6.4.7, §6.4.8).

    killed after          found
    some links            some messages twice (nothing was answered)
    directory fsync       all of them twice
    removal journaled     all of them in the target only; their old files go at the next start
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailserver.model.errors import NotFound, StorageFailure
from mailserver.model.mailbox import CopyResult
from mailserver.model.rights import Rights, allowed_flags
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
    #: The target's rows are in the same index, so what was rendered can be copied.
    rendered: bool = True
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
        if not self.rendered:
            return
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


@dataclass(slots=True)
class _Way:
    """From where to where. `rights` are those on the target; what they do not cover of the flags stays behind."""

    account: MaildirAccount
    box: MaildirMailbox
    into: MaildirAccount
    target: Folder
    rights: Rights
    move: bool

    async def hold(self, operation: Callable[[], Awaitable[CopyResult]]) -> CopyResult:
        """Be the one writer of both accounts; always in the same order, whoever copies to whom."""
        account, into = self.account, self.into
        if account is into:
            return await account.upkeep.operate(operation, *{self.box.folder: None, self.target: None})

        async def both() -> CopyResult:
            for one, folder in ((account, self.box.folder), (into, self.target)):
                if folder.synced != one.upkeep.index.generation:
                    # The index of either may be lost once it was looked at; `operate` looks at its own again only.
                    await one.upkeep.look(folder)
            return await operation()

        ways = sorted([(account, self.box.folder), (into, self.target)], key=lambda pair: pair[0].account)
        (first, its), (second, other) = ways
        return await first.upkeep.operate(lambda: second.upkeep.operate(both, other), its)


async def transfer(
    account: MaildirAccount, box: MaildirMailbox, uids: Sequence[int], destination: str, into: MaildirAccount,
    rights: Rights, *, move: bool,
) -> CopyResult:  # fmt: skip
    """Copy or move messages of an open mailbox to one of `into`; see `ports.store.Mailbox`."""
    target = into.existing(destination)
    way = _Way(account, box, into, target, rights, move)

    async def operation() -> CopyResult:
        if box.deleted or into.folders.get(target.name) is not target:
            raise NotFound("there is no such mailbox")
        if target.mailbox is not None:
            wanted = {box.table.flags[at] for uid in uids if (at := box.table.find(uid)) >= 0}
            for number in wanted:
                target.mailbox.admit_keywords(allowed_flags(box.flag_table.sets[number], rights))
        return await _transfer(way, uids)

    return await way.hold(operation)


async def _transfer(way: _Way, uids: Sequence[int]) -> CopyResult:
    account, box, into, target = way.account, way.box, way.into, way.target
    upkeep, table = account.upkeep, box.table
    places = sorted({at for uid in uids if (at := table.find(uid)) >= 0})
    numbers = {table.flags[at] for at in places}
    sets = {number: allowed_flags(box.flag_table.sets[number], way.rights) for number in numbers}
    copies = [_Copy(table.uids[at], sets[table.flags[at]], table.dates[at]) for at in places]
    octets = sum(table.sizes[at] for at in places)
    into.reserve(octets, len(places), enforce=not way.move or into is not account)
    work = _Work(upkeep.context, upkeep.index, box.folder, target, copies, rendered=into is account)
    try:
        source_number = await upkeep.transact(box.folder, lambda db, number: number)
        target_number = await into.upkeep.transact(target, lambda db, number: number)
        await upkeep.context.reading.run(work.run, source_number, target_number)
    except BaseException:
        for uid in range(work.first, work.first + len(work.copies) if work.first else 0):
            target.resolve(uid, None)
        into.unreserve(octets, len(places))
        raise
    done = [copy for copy in work.copies if copy.arrival is not None]
    for uid, copy in enumerate(work.copies, work.first):
        target.resolve(uid, copy.arrival)
    into.unreserve(octets - sum(copy.arrival.wire for copy in done if copy.arrival), len(places) - len(done))
    result = CopyResult(
        uid_validity=target.state.uid_validity,
        source=tuple(copy.uid for copy in done),
        target=tuple(copy.arrival.uid for copy in done if copy.arrival),
    )
    if way.move and done:
        await _expunge(account, box, result.source)
    return result


async def _expunge(account: MaildirAccount, box: MaildirMailbox, uids: Sequence[int]) -> None:
    """The second half of MOVE, which must not begin again from the first one when the index is lost."""
    try:
        await box.expunge_held(uids)
    except IndexLost:
        await account.upkeep.look(box.folder)
        await box.expunge_held(uids)
