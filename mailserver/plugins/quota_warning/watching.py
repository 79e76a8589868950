"""When is a user to be told? Once each time that the mailbox gets so full."""

from __future__ import annotations

from collections.abc import Awaitable

import structlog

from mailserver import api
from mailserver.plugins.quota_warning import database
from mailserver.plugins.quota_warning.letter import compose
from mailserver.plugins.quota_warning.settings import QuotaWarningSettings

__all__ = ["Watching"]

_log = structlog.get_logger()
_PUT_OFF = 452


class Watching:
    """The observers. They are plain functions where there is nothing to wait for: most accounts have no limit."""

    def __init__(
        self, host: api.Host, settings: QuotaWarningSettings, db: api.DatabaseThread, warned: dict[str, float]
    ) -> None:
        self._host = host
        self._settings = settings
        self._db = db
        #: Changed before anything is awaited: several observers may look at one account at once.
        self._warned = warned

    def delivered(self, event: api.Delivered) -> Awaitable[None] | None:
        """Mail came."""
        return self._look(event.account, event.size, 1)

    def appended(self, event: api.Appended) -> Awaitable[None] | None:
        """A mail program stored something."""
        return self._look(event.account, event.octets, len(event.uids))

    def moved(self, event: api.Moved) -> Awaitable[None] | None:
        """A mail program copied something, or moved it into the mailbox of somebody else."""
        grows = event.copied or event.account != event.source_account
        return self._look(event.account, 0, len(event.uids)) if grows else None

    def refused(self, event: api.Refused) -> Awaitable[None] | None:
        """A sender is put off, perhaps because the mailbox is full."""
        if event.code != _PUT_OFF or not event.recipient:
            return None
        try:
            match = api.find_address(self._host.directory, api.EmailAddress.parse(event.recipient))
        except api.InvalidInput:
            return None
        return self._look(match.account.account, 0, 0) if isinstance(match, api.AccountMatch) else None

    def _look(self, account: api.AccountId, octets: int, messages: int) -> Awaitable[None] | None:
        """`octets` and `messages` are what came."""
        entry = self._host.directory.account(account)
        if entry is None or not (entry.octets_limit or entry.messages_limit):
            return None
        return self._judge(entry, octets, messages)

    async def _judge(self, entry: api.Account, octets: int, messages: int) -> None:
        account = entry.account
        usage = await (await self._host.store.open_account(account)).quota()
        now = _percent(usage, 0, 0)
        told = self._warned.get(account)
        if told is not None and (
            told < entry.created or min(now, _percent(usage, octets, messages)) < self._settings.again_below
        ):
            del self._warned[account]
            await self._db.run(database.forget, account)
            told = None
        if now < self._settings.percent or account in self._warned:
            return
        at = self._warned[account] = self._host.clock.time()
        try:
            await self._tell(entry, usage, int(now))
        except BaseException as error:
            # Whatever it was (this took too long, or a mistake of ours): with the next message it is tried again.
            self._warned.pop(account, None)
            if not isinstance(error, api.MailError):
                raise
            _log.warning("quota_warning.not_written", account=account, error=error.for_operator)
            return
        await self._db.run(database.note, account, at)

    async def _tell(self, entry: api.Account, usage: api.QuotaUsage, percent: int) -> None:
        """Put the message into the inbox, where there is always room for it. Raises MailError."""
        folders = await self._host.store.open_account(entry.account)
        octets = await compose(
            entry, folders, usage, percent, again_below=self._settings.again_below, hostname=self._host.hostname,
            epoch=self._host.clock.time(),
        )  # fmt: skip
        async with self._host.store.begin(len(octets)) as content:
            await content.write(octets)
            target = api.Target(account=entry.account, enforce_quota=False)
            (stored,) = await self._host.store.commit(content, [target])
        if isinstance(stored, api.MailError):
            raise stored
        _log.info("quota_warning.told", account=entry.account, percent=percent)


def _percent(usage: api.QuotaUsage, octets: int, messages: int) -> float:
    """How full it was, or is, without these; the fuller of the two counts."""
    shares = [0.0]
    if usage.octets_limit:
        shares.append(100 * (usage.octets - octets) / usage.octets_limit)
    if usage.messages_limit:
        shares.append(100 * (usage.messages - messages) / usage.messages_limit)
    return max(shares)
