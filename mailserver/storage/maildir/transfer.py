"""COPY and MOVE: links in the other folder, durable there, and only then gone here (RFC 9051 §6.4.7, §6.4.8).

    killed after          found
    some links            some messages twice (nothing was answered)
    directory fsync       all of them twice
    removal journaled     all of them in the target only; their old files go at the next start

A MOVE that cannot journal the removal takes its links back (ATTACKS J07), unless the disk leaves it unsure whether the
removal stands: then the messages are in both, and the client is told NO.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailserver.model.errors import NotFound, StorageFailure
from mailserver.model.mailbox import CopyResult
from mailserver.model.progress import Progress
from mailserver.model.rights import Rights, allowed_flags
from mailserver.net import files
from mailserver.storage.maildir import pieces, reading, rows
from mailserver.storage.maildir.context import Context
from mailserver.storage.maildir.folder import Arrival, Folder
from mailserver.storage.maildir.index import AccountIndex, IndexLost, Unsure
from mailserver.storage.maildir.names import is_ours
from mailserver.storage.maildir.rows import FileRow

if TYPE_CHECKING:
    from mailserver.storage.maildir.account import MaildirAccount
    from mailserver.storage.maildir.mailbox import MaildirMailbox

__all__ = ["transfer"]


@dataclass(slots=True)
class _Work:
    """A hop to a thread. `flags` and `dates` are those of `uids`; `first` is the first UID in the target, 0: none."""

    context: Context
    index: AccountIndex
    source: Folder
    target: Folder
    uids: list[int]
    flags: list[frozenset[str]]
    dates: list[int]
    progress: Progress
    first: int = 0
    #: (UID in the source, what it became), and how many UIDs of the target were used up.
    done: list[tuple[int, Arrival]] = field(default_factory=list)
    taken: int = 0
    made: list[str] = field(default_factory=list)

    def run(self, number: int, generation: int) -> None:
        """Link all or nothing, durably. `number`: of the source, in this generation of the index.

        Raises OSError, LimitReached, IndexLost.
        """
        found = self.index.run(lambda db: rows.file_rows(db, number, self.uids))
        if self.index.generation != generation:
            # Nothing has this number any more, so nothing was found.
            raise IndexLost(self.index.path)
        if not found:
            return
        try:
            self._link_all(found)
            files.fsync_dir(self.target.cur)
        except BaseException:
            with suppress(OSError):
                self.take_back()
            raise

    def take_back(self) -> None:
        """Remove what was made. In a thread. Raises OSError: `made` is what is left."""
        removed = bool(self.made)
        while self.made:
            files.remove_file(self.made[-1])
            self.made.pop()
        if removed:
            files.fsync_dir(self.target.cur)

    def _link_all(self, found: dict[int, FileRow]) -> None:
        target, now = self.target, self.context.clock.time()
        saved, cur, field, keywords = int(now), target.cur, target.uid_field, target.keywords
        self.first = target.take_uids(len(found))
        self.taken = len(found)
        infos = {flags: (keywords.info(flags), keywords.without_letter(flags)) for flags in {*self.flags}}
        stems = self.context.names.stems(now)
        further = {}
        present = [one for one in zip(self.uids, self.flags, self.dates, strict=True) if one[0] in found]
        for uid, (old, flags, date) in enumerate(present, self.first):
            self.progress.done = uid - self.first
            row = found[old]
            stem = stems(row.size, row.wire)
            base = f"{stem},U={uid}{field}"
            info, overflow = infos[flags]
            path = f"{cur}/{base}{info}"
            if not self._link(row, path, stem):
                continue
            self.made.append(path)
            if not is_ours(row.base):
                files.fsync_file(path)
            if overflow:
                further[base] = overflow
            self.done.append((old, Arrival(uid, base, False, info, row.size, row.wire, date, saved, flags)))
        keywords.journal(further)

    def _link(self, row: FileRow, path: str, stem: str) -> bool:
        spare = f"{self.target.tmp}/{stem}"
        try:
            try:
                files.link_or_copy(row.path(self.source.path), path, spare)
            except FileNotFoundError:
                # Another program changed its name.
                files.link_or_copy(reading.find_message(self.source, row), path, spare)
        except FileNotFoundError:
            # Or removed it a moment ago; what is not there cannot be copied.
            return False
        return True


@dataclass(slots=True)
class _Way:
    """From where to where. `rights` are those on the target; what they do not cover of the flags stays behind."""

    account: MaildirAccount
    box: MaildirMailbox
    into: MaildirAccount
    target: Folder
    rights: Rights
    progress: Progress
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
    rights: Rights, progress: Progress, *, move: bool,
) -> CopyResult:  # fmt: skip
    """Copy or move messages of an open mailbox to one of `into`; see `ports.store.Mailbox`."""
    target = into.existing(destination)
    way = _Way(account, box, into, target, rights, progress, move)

    async def operation() -> CopyResult:
        if box.deleted or into.folders.get(target.name) is not target:
            raise NotFound("there is no such mailbox")
        if target.mailbox is not None:
            wanted = {box.table.flags[at] for at in box.table.positions(uids)}
            for number in wanted:
                target.mailbox.admit_keywords(allowed_flags(box.flag_table.sets[number], rights))
        return await _transfer(way, uids)

    result = await way.hold(operation)
    if result.target:
        # Whoever is told the UIDs finds the messages.
        await target.visible(result.target[-1])
    return result


async def _transfer(way: _Way, uids: Sequence[int]) -> CopyResult:
    account, box, into, target = way.account, way.box, way.into, way.target
    upkeep, table = account.upkeep, box.table
    places = table.positions(uids)
    numbers = {table.flags[at] for at in places}
    sets = {number: allowed_flags(box.flag_table.sets[number], way.rights) for number in numbers}
    octets = sum([table.sizes[at] for at in places])
    into.reserve(octets, len(places), enforce=not way.move or into is not account)
    work = _Work(
        upkeep.context, upkeep.index, box.folder, target, [table.uids[at] for at in places],
        [sets[table.flags[at]] for at in places], [table.dates[at] for at in places], way.progress,
    )  # fmt: skip
    try:
        source_number = await upkeep.transact(box.folder, lambda db, number: number)
        await upkeep.context.reading.run(work.run, source_number, box.folder.synced)
        if way.move and work.done:
            await _expunge(account, box, work)
    except BaseException:
        # What has no file any more will never be; in most cases that is all of it.
        made, cur = frozenset(work.made), target.cur
        _resolve(way, work, octets, [one for _, one in work.done if f"{cur}/{one.base}{one.info}" in made])
        raise
    _resolve(way, work, octets, [arrival for _, arrival in work.done])
    result = CopyResult(
        uid_validity=target.state.uid_validity,
        source=tuple([uid for uid, _ in work.done]),
        target=tuple([arrival.uid for _, arrival in work.done]),
    )
    if into is account:
        _share_later(account, target, source_number, result)
    return result


def _resolve(way: _Way, work: _Work, octets: int, kept: list[Arrival]) -> None:
    """Let these copies become visible, when the one who holds the target lets go of it."""
    resolved: dict[int, Arrival | None] = dict.fromkeys(range(work.first, work.first + work.taken))
    resolved.update({arrival.uid: arrival for arrival in kept})
    way.target.resolve_all(resolved)
    way.into.unreserve(octets - sum([arrival.wire for arrival in kept]), len(work.uids) - len(kept))


async def _expunge(account: MaildirAccount, box: MaildirMailbox, work: _Work) -> None:
    """The second half of MOVE: all of it, or the first half is undone as well."""
    uids = [uid for uid, _ in work.done]
    try:
        try:
            await box.expunge_held(uids)
        except IndexLost:
            # It must not begin again from the first half.
            await account.upkeep.look(box.folder)
            await box.expunge_held(uids)
    except Unsure:
        raise
    except BaseException as error:
        with suppress(OSError):
            await account.context.reading.run(work.take_back)
        if isinstance(error, IndexLost):
            raise StorageFailure("the mailbox index is damaged", detail=account.upkeep.index.path) from error
        raise


def _share_later(account: MaildirAccount, target: Folder, source_number: int, result: CopyResult) -> None:
    """Copies have the rendered pieces of their originals. Nobody waits for that, and it is only a saving."""
    upkeep = account.upkeep
    generation, pairs = upkeep.index.generation, list(zip(result.source, result.target, strict=True))

    def work(db: sqlite3.Connection, number: int) -> None:
        # The numbers of folders are of one generation.
        if upkeep.index.generation == generation:
            pieces.share_pieces(db, source_number, number, pairs)

    async def share() -> None:
        with suppress(NotFound, StorageFailure):
            await upkeep.operate(lambda: upkeep.transact(target, work), target)

    if pairs:
        upkeep.context.background(share, "share")
