"""What keeps an account's index, directories and memory together: looks, transactions, and the work for later.

`lock` makes one writer of the account: every operation that changes flags, removes, copies or looks holds it, and holds
back (`Folder.hold`) what delivery makes visible in its folders meanwhile. Delivery itself never waits for it.

Later, by timers: renames and unlinks half a second after the first change that needs them; new messages go into the
index when the store has been quiet for a moment or they have waited long enough, and are rendered then (rendering.py).
"""

from __future__ import annotations

import asyncio
import errno
import functools
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import structlog

from mailserver.model.changes import MessagesChanged
from mailserver.model.errors import NotFound, StorageFailure
from mailserver.storage.maildir import flush, rows
from mailserver.storage.maildir.folder import Arrival, Folder
from mailserver.storage.maildir.index import AccountIndex, IndexLost
from mailserver.storage.maildir.looking import look_now
from mailserver.storage.maildir.rendering import note_unrendered
from mailserver.storage.maildir.snapshots import WORTHWHILE, is_kept, save_snapshot
from mailserver.storage.maildir.sync import Look, Memory, remember

if TYPE_CHECKING:
    from mailserver.storage.maildir.account import MaildirAccount

__all__ = ["Upkeep", "Work"]

_T = TypeVar("_T")
_log = structlog.get_logger()
#: What an operation does in the index: `work(connection, number of the folder)`.
Work = Callable[[sqlite3.Connection, int], _T]
_ATTEMPTS = 3
_MAX_UNINDEXED = 10_000
_MAX_WAIT = 30.0
#: Until the next try of renames and unlinks that the disk refused.
_RETRY = 30.0
#: Renames and unlinks make way for whoever waits for the account, so long and so often, and no longer than this in all.
_PAUSE = 0.1
_MAX_DELAY = 2.0


class Upkeep:
    """For one account."""

    def __init__(self, account: MaildirAccount, index: AccountIndex) -> None:
        self._account = account
        self.context = account.context
        self.index = index
        self.lock = asyncio.Lock()
        #: How many operations wait for `lock`.
        self._waiting = 0
        #: Folders with renames or unlinks to do.
        self.dirty: set[Folder] = set()
        self._flush_timer: asyncio.TimerHandle | None = None
        self._fill_timer: asyncio.TimerHandle | None = None
        self._waiting_since: float | None = None
        self.stopping = False
        #: Nothing is done here any more.
        self.ended = False

    # -- operations --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def exclusive(self, *folders: Folder) -> AsyncIterator[None]:
        """Be the one writer of the account; nothing becomes visible in these folders meanwhile."""
        self._waiting += 1
        try:
            await self.lock.acquire()
        finally:
            self._waiting -= 1
        try:
            for folder in folders:
                folder.hold()
            try:
                yield
            finally:
                for folder in folders:
                    folder.release()
        finally:
            self.lock.release()

    async def operate(self, operation: Callable[[], Awaitable[_T]], *folders: Folder) -> _T:
        """Run an operation as the one writer; again from its beginning when the index turns out to be lost.

        Raises StorageFailure for any trouble of the disk.
        """
        if not self._account.leaving and not self.ended:
            self.context.accounts[self._account.account] = self._account
        try:
            async with self.exclusive(*folders):
                # Asked here: while this one waited for the lock, its directory may have become another account's.
                if self.ended:
                    raise NotFound("the mailbox was closed")
                for _ in range(_ATTEMPTS):
                    try:
                        for folder in folders:
                            # While this one waited for the lock, its directory may have become another folder's.
                            if self._account.folders.get(folder.name) is not folder:
                                raise NotFound("the mailbox was deleted")
                            if folder.synced != self.index.generation:
                                await self.look(folder, count=False)
                        return await operation()
                    except IndexLost:
                        continue
        except OSError as error:
            if error.errno == errno.EIO:
                # A flush, a copy, a look: whatever it was, the disk fails.
                self.context.faults.note(error)
            raise StorageFailure("the mailbox cannot be used now, try again later", detail=str(error)) from error
        raise StorageFailure("the mailbox index is damaged", detail=self.index.path)

    async def transact(self, folder: Folder, work: Work[_T], *, durable: bool = False) -> _T:
        """One transaction on a folder, after what arrived is in the index. Raises IndexLost."""
        arrivals = list(folder.unindexed)
        modseq = folder.highest_modseq

        def now(db: sqlite3.Connection) -> _T:
            number = rows.folder_row(db, folder.state, modseq).number
            if arrivals:
                rows.add_messages(db, self.index, number, arrivals, arrivals[-1].uid + 1)
            return work(db, number)

        def hop() -> _T:
            folder.reserve_modseqs()
            return self.index.run(now, durable=durable)

        result = await self.context.reading.run(hop)
        del folder.unindexed[: len(arrivals)]
        return result

    # -- looking at the directory ------------------------------------------------------------------------------------

    async def look(self, folder: Folder, *, count: bool = True) -> None:
        """Notice what is in the directory, the first time and again. The folder is held. Raises OSError, IndexLost.

        Without `count` the folder's numbers may stay unknown: who loads its table next has them for nothing.
        """
        box = folder.mailbox
        generation = self.index.generation
        first = folder.synced != generation
        look = Look(
            folder, self.context.epoch, folder.visible_next, folder.highest_modseq + 1, list(folder.unindexed),
            folder.seen, first, None if box is None or not first else Memory(*box.memory(), box.removed_lately()),
        )  # fmt: skip
        try:
            outcome = await self.context.reading.run(look_now, self.index, look, count)
        finally:
            # These files have their names already, whatever failed after it.
            for arrival in look.adopted.new:
                folder.resolve(arrival.uid, arrival)
                self._account.unreserve(-arrival.wire, -1)
            for uid in look.adopted.abandoned:
                folder.resolve(uid, None)
        if outcome is None:
            return
        synced, counts = outcome
        del folder.unindexed[: len(look.arrivals)]
        if synced.modseq_used:
            folder.highest_modseq = look.modseq
        folder.seen, folder.synced, folder.number = synced.seen, generation, synced.number
        self._render_later(folder, first=first)
        if synced.pending:
            self.note(folder)
        if box is not None:
            if not first or synced.gone or synced.changed:
                box.apply(synced, look.modseq)
            return
        if folder.baseline is None and folder.counts is None:
            folder.baseline = synced.before
        if counts is not None:
            sets, octets, highest = counts
            self._account.counted(folder, sets, octets)
            folder.highest_modseq = max(folder.highest_modseq, highest)
            if not first and (synced.gone or synced.changed):
                self._account.tell(MessagesChanged(folder.name))

    # -- renames and unlinks, later ----------------------------------------------------------------------------------

    def note(self, folder: Folder) -> None:
        """There is something to rename or to unlink in this folder."""
        self.dirty.add(folder)
        if self._flush_timer is None and not self.stopping:
            self._flush_timer = self.context.loop.call_later(self.context.settings.flush_delay, self._flush_due)

    def _flush_due(self) -> None:
        self._flush_timer = None
        self.context.background(self._flush_or_retry, "flush")

    async def _flush_or_retry(self) -> None:
        try:
            await self._flush_patiently()
        except BaseException:
            if self.dirty and not self.stopping:
                self._flush_timer = self.context.loop.call_later(_RETRY, self._flush_due)
            raise

    async def _flush_patiently(self) -> None:
        loop = self.context.loop
        overdue = loop.time() + _MAX_DELAY

        def wanted() -> bool:
            # Asked in a thread.
            return self.wanted and loop.time() < overdue

        while self.dirty:
            await self.flush(wanted)
            if self.dirty and loop.time() < overdue:
                # Who waited may well want more.
                await asyncio.sleep(_PAUSE)

    async def flush(self, wanted: Callable[[], bool] | None = None) -> None:
        """Do what is to be done in the directories: all of it, or until the account is `wanted` for something else."""
        while self.dirty:
            folder = self.dirty.pop()
            try:
                work = functools.partial(self._flush_folder, folder, wanted or flush.never)
                await self.operate(work, folder)
            except NotFound:
                continue
            except BaseException:
                self.dirty.add(folder)
                raise
            if wanted is not None and wanted():
                return

    async def _flush_folder(self, folder: Folder, wanted: Callable[[], bool]) -> None:
        number = await self.transact(folder, _number)
        for work in (flush.flush_unlinks, flush.flush_names):
            for attempt in range(_ATTEMPTS):
                flushed = await self.context.reading.run(work, self.index, folder, number, wanted)
                folder.seen = flushed.seen
                if flushed.more:
                    # One batch at a time, so that sessions get their turn; the rest is the next round's.
                    self.dirty.add(folder)
                if not flushed.stale or attempt == _ATTEMPTS - 1:
                    break
                folder.seen.trusted = False
                folder.seen.entries = 0
                await self.look(folder)

    # -- the index, later --------------------------------------------------------------------------------------------

    def arrived(self, folder: Folder, arrivals: list[Arrival]) -> None:
        """Messages became visible: count them, show them to sessions, and index them when there is time."""
        folder.unindexed += arrivals
        box = folder.mailbox
        if folder.counts is not None:
            for arrival in arrivals:
                folder.counts.add(arrival.flags, arrival.wire)
        elif folder.baseline is not None:
            octets, messages = folder.baseline
            folder.baseline = octets + sum(arrival.wire for arrival in arrivals), messages + len(arrivals)
        if box is not None:
            box.show(arrivals)
        else:
            self._account.tell(MessagesChanged(folder.name))
        note_unrendered(folder, arrivals[0].uid, arrivals[-1].uid)
        self.context.last_arrival = self.context.loop.time()
        self._fill_later()

    def _render_later(self, folder: Folder, *, first: bool) -> None:
        if first and folder.visible_next > 1:
            folder.unrendered[:] = [(1, folder.visible_next - 1)]
        if folder.unrendered:
            self._fill_later()

    def _fill_later(self) -> None:
        if self._waiting_since is None:
            self._waiting_since = self.context.loop.time()
        if self._fill_timer is None and not self.stopping:
            self._fill_timer = self.context.loop.call_later(self.context.settings.fill_delay, self._fill_due)

    def _fill_due(self) -> None:
        self._fill_timer = None
        now, delay = self.context.loop.time(), self.context.settings.fill_delay
        quiet = now - self.context.last_arrival
        waiting = max((len(folder.unindexed) for folder in self._account.folders.values()), default=0)
        overdue = self._waiting_since is not None and now - self._waiting_since > _MAX_WAIT
        if quiet < delay and not overdue and waiting < _MAX_UNINDEXED:
            self._fill_timer = self.context.loop.call_later(delay - quiet + 0.05, self._fill_due)
            return
        self.context.background(self.fill, "fill")

    async def fill(self, *, render: bool = True) -> None:
        """Put everything that arrived into the index, and begin to render it."""
        self._waiting_since = None
        for folder in list(self._account.folders.values()):
            if folder.unindexed:
                try:
                    await self.operate(functools.partial(self.transact, folder, _number), folder)
                except NotFound:
                    continue
            if render:
                self.context.rendering.queue(self, folder)

    @property
    def wanted(self) -> bool:
        """Does an operation wait for another one to end?"""
        return self._waiting > 0

    def keeps(self, folder: Folder) -> bool:
        """Is the folder still here and in memory for long, and all that arrived there in the index?"""
        account = self._account
        return (
            not self.stopping
            and self.context.accounts.get(account.account) is account
            and account.folders.get(folder.name) is folder
            and not folder.unindexed
            and folder.synced == self.index.generation
        )

    # -- the end -----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Start nothing more."""
        self.stopping = True
        for timer in (self._flush_timer, self._fill_timer):
            if timer is not None:
                timer.cancel()
        self._flush_timer = self._fill_timer = None

    def end(self) -> None:
        """Do nothing for anyone from now on."""
        self.stop()
        self.ended = True

    async def settle(self) -> bool:
        """Flush everything and write exact numbers; False if something could not be written."""
        self.stop()
        try:
            await self.fill(render=False)
            await self.flush()
            for folder in list(self._account.folders.values()):
                await self.operate(functools.partial(self._settle_folder, folder))
        except (StorageFailure, IndexLost) as error:
            _log.warning("storage.not_settled", path=self.index.path, error=str(error))
            return False
        finally:
            self.stopping = False
            if not self.ended and self.dirty:
                # It came while this was under way, or was refused; the account may well stay in use.
                self.note(self.dirty.pop())
        return True

    async def _settle_folder(self, folder: Folder) -> None:
        lead, box = folder.lead, folder.mailbox
        known = folder.synced == self.index.generation
        # What is in the table and not in the index is not for long; without it there would be two truths.
        table, sets = None, []
        if box is not None and known and not folder.unindexed and len(box.table) >= WORTHWHILE:
            # A copy: something may arrive while it is being written.
            table, sets = box.table.without(()), list(box.flag_table.sets)

        def keep(db: sqlite3.Connection) -> None:
            number = rows.folder_row(db, folder.state, folder.highest_modseq).number
            if table is not None and not is_kept(db, number):
                save_snapshot(db, self.index, number, table, sets)

        def work() -> None:
            folder.settle(lead)
            if known:
                remember(self.index, folder, self.context.epoch, folder.seen)
            if table is not None:
                self.index.run(keep)

        await self.context.reading.run(work)


def _number(db: sqlite3.Connection, number: int) -> int:
    return number
