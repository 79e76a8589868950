"""The Maildir store: `ports.store.MailStore` over directories.

On the event loop: which account, which folder, quota, who waits for what. In threads: everything that touches the disk
(commit.py, layout.py, index.py). An account that was used lately stays loaded; one that a session holds is found again
by a weak reference, so that there is never a second object that writes to the same directory.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from mailserver.model.errors import LimitReached, MailError, NotFound, StorageFailure
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import Stored
from mailserver.model.rights import identifiers_of
from mailserver.net import files
from mailserver.net.faults import Faults
from mailserver.net.memory_limit import share_of_memory
from mailserver.net.workers import Workers
from mailserver.ports.clock import Clock
from mailserver.ports.store import Content, Mailbox, Target
from mailserver.storage.maildir import names
from mailserver.storage.maildir.account import MaildirAccount
from mailserver.storage.maildir.checked import Damaged, read_checked, write_checked
from mailserver.storage.maildir.commit import Committer
from mailserver.storage.maildir.content import ContentSpace, MaildirContent
from mailserver.storage.maildir.context import Context, LimitsOf
from mailserver.storage.maildir.index import IndexPool
from mailserver.storage.maildir.intake import Intake
from mailserver.storage.maildir.live_table import LiveTable
from mailserver.storage.maildir.mailbox import MaildirMailbox
from mailserver.storage.maildir.recovery import clear_accounts, recover_accounts
from mailserver.storage.maildir.shares import SHARES_FILE, Shares, find_shares, revoke
from mailserver.storage.settings import StorageSettings

__all__ = ["MaildirStore"]

CLEAN = "clean"
REMOVED = "removed"
_WATCHED_AT_ONCE = 500


class MaildirStore:
    """All accounts' mail below `data_dir`. An async context manager: entering recovers, leaving flushes everything."""

    def __init__(
        self, data_dir: Path, settings: StorageSettings, hostname: str, clock: Clock, limits: LimitsOf | None = None
    ) -> None:
        """`limits`: what the account's entry says, for the directory is right where the account's own file differs:
        that may be lost, from a backup, or older than a change that was not finished."""
        self._root = os.fspath(data_dir.absolute())
        self._settings = settings
        self._hostname = hostname
        self._clock = clock
        self._limits = limits or _no_entry
        self._held: weakref.WeakValueDictionary[AccountId, MaildirAccount] = weakref.WeakValueDictionary()
        self._loading: dict[AccountId, asyncio.Task[MaildirAccount]] = {}
        #: One account's highest UIDVALIDITY is written after the other's.
        self._removing = asyncio.Lock()
        #: Set `on_broken` to hear when the disk is not to be trusted any more.
        self.faults = Faults(clock)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        settings = self._settings
        self._reading = Workers(loop, "read", settings.read_threads)
        self._committing = Workers(loop, "commit", settings.commit_threads)
        maker = names.NameMaker(self._hostname)
        committer = Committer(loop, self._committing, settings.commit_threads, maker, self._clock, self.faults)
        indexes = IndexPool(settings.open_indexes, self.faults)
        shares = Shares(f"{self._root}/.server/{SHARES_FILE}")
        # In this pool, so that it has a thread before there is mail.
        epoch, clean, validity_floor = await self._committing.run(self._enter)
        shares_known = await self._committing.run(shares.load)
        self._context = Context(
            loop,
            settings,
            self._clock,
            maker,
            self.faults,
            self._reading,
            committer,
            indexes,
            shares,
            self._limits,
            epoch,
            validity_floor,
        )
        spool = Path(self._root, ".server", "spool")
        memory = share_of_memory(settings.memory)
        self._space = ContentSpace(spool, self._committing, settings.message_in_memory, memory)
        self._intake = Intake(self._context, self._space, self.open_account)
        self._watcher = loop.create_task(self._watch())
        self._recovery = self._context.start(self._recover(needed=not clean))
        self._finding = None if shares_known else loop.create_task(find_shares(self, shares))
        return self

    def _enter(self) -> tuple[int, bool, int]:
        server = f"{self._root}/.server"
        files.make_dir(server)
        files.make_dir(f"{server}/spool")
        os.chmod(self._root, 0o700)
        for entry in os.scandir(f"{server}/spool"):
            files.remove_file(entry.path)
        try:
            epoch, clean = int(read_checked(f"{server}/{CLEAN}", CLEAN)["epoch"]), True
        except (FileNotFoundError, Damaged, KeyError, ValueError):
            epoch, clean = secrets.randbits(62) + 1, False
            clear_accounts(self._root)
        if files.remove_file(f"{server}/{CLEAN}"):
            files.fsync_dir(server)
        try:
            floor = int(read_checked(f"{server}/{REMOVED}", REMOVED)["uid_validity"])
        except (FileNotFoundError, Damaged, KeyError, ValueError):
            floor = 0
        return epoch, clean, floor

    async def _recover(self, *, needed: bool) -> bool:
        return not needed or await recover_accounts(self)

    async def recovered(self) -> bool:
        """Wait until every account is as its index says, after a crash; False if one could not be made so."""
        return await asyncio.shield(self._recovery)

    async def _watch(self) -> None:
        """Look again and again at the mailboxes that sessions have open: other programs do not tell us."""
        watched = self._context.watched
        while True:
            await asyncio.sleep(self._settings.watch_interval)
            watched.difference_update([box for box in watched if box.deleted or not box.watched])
            boxes = list(watched)
            for start in range(0, len(boxes), _WATCHED_AT_ONCE):
                # Two stat calls for each: what an idle session may cost.
                some = boxes[start : start + _WATCHED_AT_ONCE]
                with suppress(MailError):
                    for box in await self._reading.run(_changed, some):
                        with suppress(MailError):
                            await box.refresh()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.cancel()
        self._recovery.cancel()
        if self._finding is not None:
            self._finding.cancel()
        await asyncio.wait([self._recovery])
        clean = not self._recovery.cancelled() and self._recovery.exception() is None and self._recovery.result()
        self._context.rendering.stop()
        # In this order: what is settled is not changed afterwards.
        await self._context.committer.drain()
        await self._context.drain()
        for account in list(self._held.values()):
            clean = (account.closed or await account.settle()) and clean
        await self._context.drain()
        if clean and not self.faults.broken:
            fields = {"epoch": str(self._context.epoch)}
            await self._reading.run(write_checked, f"{self._root}/.server/{CLEAN}", CLEAN, fields)
        self._context.accounts.clear()
        self._reading.close()
        self._committing.close()

    # -- messages in -------------------------------------------------------------------------------------------------

    def begin(self, size_hint: int = 0) -> MaildirContent:
        """Start taking in a message."""
        return MaildirContent(self._space)

    async def commit(
        self, content: Content, targets: Sequence[Target], header: bytes = b""
    ) -> list[Stored | MailError]:
        """Put one message at every target; the result for each."""
        return await self._intake.commit(content, targets, header)

    async def commit_all(self, account: AccountId, items: Sequence[tuple[Content, Target]]) -> list[Stored]:
        """Put several messages into one mailbox, all or none."""
        return await self._intake.commit_all(items)

    async def replace(self, mailbox: Mailbox, uid: int, content: Content, target: Target) -> Stored:
        """Put a message in the place of another one."""
        assert isinstance(mailbox, MaildirMailbox)  # noqa: S101
        return await self._intake.replace(mailbox, uid, content, target)

    # -- accounts ----------------------------------------------------------------------------------------------------

    async def open_account(self, account: AccountId) -> MaildirAccount:
        """The account's folders; made when it has none yet."""
        return self._context.accounts.get(account) or await self._load(account)

    async def _load(self, name: AccountId) -> MaildirAccount:
        held = self.loaded(name)
        if held is not None:
            self._context.accounts[name] = held
            return held
        task = self._loading.get(name)
        if task is None:
            task = self._loading[name] = self._context.start(self._load_now(name))
            task.add_done_callback(lambda _: self._loading.pop(name, None))
        return await asyncio.shield(task)

    async def _load_now(self, name: AccountId) -> MaildirAccount:
        path = self.path_of(name)
        try:
            account = await MaildirAccount.load(self._context, name, path)
        except OSError as error:
            raise StorageFailure("the mailbox cannot be opened now, try again later", detail=str(error)) from error
        self._context.accounts[name] = self._held[name] = account
        if account.shared_with() != self._context.shares.of(name):
            self._context.background(account.note_shares, "shares")
        if len(self._context.accounts) > self._settings.loaded_accounts:
            await self._let_go()
        return account

    async def _let_go(self) -> None:
        """Forget the account that was loaded first and is idle."""
        for name, account in list(self._context.accounts.items())[:32]:
            if account.idle:
                del self._context.accounts[name]
                account.leaving = True
                settled = await account.settle()
                # A session that holds it and uses it brings it back.
                account.leaving = False
                if not settled:
                    # What its files do not say yet must not be forgotten.
                    self._context.accounts[name] = account
                return

    def loaded(self, name: AccountId) -> MaildirAccount | None:
        """The account, if it is in memory."""
        account = self._context.accounts.get(name) or self._held.get(name)
        return None if account is None or account.closed else account

    def path_of(self, name: AccountId) -> str:
        """The account's directory. Raises LimitReached: no directory can have this name."""
        return f"{self._root}/{names.account_path(name)}"

    @property
    def context(self) -> Context:
        """What its accounts share."""
        return self._context

    async def renew(self, name: AccountId, work: Callable[[str], None]) -> MaildirAccount:
        """Take an account out of memory, run `work(its directory)` in a thread, and read it again.

        Who wants the account meanwhile waits. Objects that sessions hold of it are dead after this. Raises
        StorageFailure.
        """
        while (task := self._loading.get(name)) is not None:
            await asyncio.wait([task])
        task = self._loading[name] = self._context.start(self._renew_now(name, work))
        task.add_done_callback(lambda _: self._loading.pop(name, None))
        return await asyncio.shield(task)

    async def _renew_now(self, name: AccountId, work: Callable[[str], None]) -> MaildirAccount:
        old = self.loaded(name)
        self._context.accounts.pop(name, None)
        self._held.pop(name, None)
        if old is not None:
            await old.retire()
        try:
            await self._reading.run(work, self.path_of(name))
        except OSError as error:
            raise StorageFailure("the mailbox cannot be changed now", detail=str(error)) from error
        return await self._load_now(name)

    async def existing_account(self, account: AccountId) -> MaildirAccount:
        """The account's folders, if it has any."""
        if self.loaded(account) is None and account not in self._loading:
            try:
                there = await self._reading.run(os.path.isdir, f"{self.path_of(account)}/cur")
            except LimitReached:
                there = False
            if not there:
                raise NotFound("there is no such account")
        return await self.open_account(account)

    async def sharers(self, account: AccountId) -> list[AccountId]:
        """The other accounts that have a mailbox whose ACL names this one."""
        return self._context.shares.owners(account)

    async def shares(self, owner: AccountId, account: AccountId) -> bool:
        """Whether `owner` is among the `sharers`."""
        return owner != account and not self._context.shares.of(owner).isdisjoint(identifiers_of(account))

    async def revoke(self, account: AccountId) -> None:
        """Take this account out of everybody's ACLs, and empty its own."""
        await revoke(self, account)

    async def remove_account(self, account: AccountId) -> None:
        """Delete all mail of an account."""
        await self.revoke(account)
        path = f"{self._root}/{names.account_path(account)}"
        if await self._reading.run(os.path.isdir, path):
            opened = await self.open_account(account)
            await self._raise_validity_floor(opened.state.last_uid_validity)
            await opened.remove()

    async def _raise_validity_floor(self, highest: int) -> None:
        """Durably, before the account goes that alone knew it. Raises StorageFailure."""
        context = self._context
        async with self._removing:
            if highest <= context.validity_floor:
                return
            fields = {"uid_validity": str(highest)}
            try:
                await self._reading.run(write_checked, f"{self._root}/.server/{REMOVED}", REMOVED, fields)
            except OSError as error:
                raise StorageFailure("the account cannot be removed now", detail=str(error)) from error
            context.validity_floor = highest

    async def accounts(self) -> list[AccountId]:
        """Every account that has mail here."""
        return await self._reading.run(self._accounts_now)

    def _accounts_now(self) -> list[AccountId]:
        return sorted(
            names.account_id(domain.name, local.name)
            for domain in os.scandir(self._root)
            if not domain.name.startswith(".") and domain.is_dir(follow_symlinks=False)
            for local in os.scandir(domain.path)
            if not local.name.startswith(".") and os.path.isdir(f"{local.path}/cur")
        )


def _changed(boxes: Sequence[LiveTable]) -> list[LiveTable]:
    return [box for box in boxes if box.looks_changed()]


def _no_entry(_: AccountId) -> None:
    return None
