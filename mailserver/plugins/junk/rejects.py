"""The mailbox Rejects holds copies of refused mail for some days, and not for good."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import structlog

from mailserver import api
from mailserver.plugins.junk.ledger import Ledger
from mailserver.plugins.junk.settings import JunkSettings

__all__ = ["REJECTS", "Cleaning"]

_log = structlog.get_logger()
REJECTS = "Rejects"
_PAUSE = 3600.0
#: Messages that are expunged in one go.
_AT_ONCE = 1000


class Cleaning:
    """`run` looks every hour into the Rejects of those accounts that had a copy put there; the first look is an hour
    away, so that a command that runs by itself never cleans."""

    def __init__(self, host: api.Host, settings: JunkSettings, ledger: Ledger) -> None:
        self._store = host.store
        self._directory = host.directory
        self._clock = host.clock
        self._settings = settings
        self._ledger = ledger

    async def judged(self, event: api.Judged) -> None:
        """A copy was put into an account's Rejects: it is looked after from now on, and mail programs show it."""
        if event.mailbox != REJECTS or self._ledger.has_rejects(event.account):
            return
        await self._ledger.note_rejects(event.account, has=True)
        await self._try(event.account, self._show(event.account))

    async def _show(self, account: api.AccountId) -> None:
        # Most mail programs show subscribed mailboxes only. Who takes the subscription away is not asked again until
        # the mailbox was empty.
        await (await self._store.existing_account(account)).subscribe(REJECTS, True)

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(_PAUSE)
            await self.clean()

    async def clean(self) -> None:
        """One round over all accounts; what goes wrong with one is logged, and the others are served."""
        for account in self._ledger.accounts():
            if self._directory.account(account) is None:
                await self._try(account, self._ledger.forget_account(account))
        for account in self._ledger.rejecting():
            await self._try(account, self._clean(account))
        await self._try("", self._ledger.forget_refused(self._clock.time() - self._settings.keep))

    async def _try(self, account: str, work: Awaitable[None]) -> None:
        try:
            await work
        except api.MailError as error:
            _log.warning("junk.not_cleaned", account=account, error=error.for_operator)

    async def _clean(self, account: api.AccountId) -> None:
        left = 0
        try:
            store = await self._store.existing_account(account)
            async with store.open(REJECTS) as mailbox:
                left, gone = await self._expunge(mailbox)
        except api.NotFound:
            gone = 0
        if gone:
            _log.info("junk.cleaned", account=account, messages=gone, left=left)
        if not left:
            await self._ledger.note_rejects(account, has=False)

    async def _expunge(self, mailbox: api.Mailbox) -> tuple[int, int]:
        """By the time when a message came into the mailbox. How many are left, and how many went."""
        await mailbox.refresh()
        table, oldest = mailbox.table, self._clock.time() - self._settings.keep
        surplus = len(table) - self._settings.most_kept
        # They count against the quota: what nobody wanted must not take the place of wanted mail.
        excess = sum(table.sizes) - self._settings.max_size
        old: list[int] = []
        for at, (uid, saved, size) in enumerate(zip(table.uids, table.saved, table.sizes, strict=True)):
            if at < surplus or saved < oldest or excess > 0:
                old.append(uid)
                excess -= size
        for start in range(0, len(old), _AT_ONCE):
            await mailbox.expunge(old[start : start + _AT_ONCE])
        return len(table) - len(old), len(old)
