"""What accounts teach by what they do with their mail.

Junk is what is put into Junk or gets `$Junk`. Good is what is taken out of Junk or Rejects or gets `$NotJunk`, what is
answered, and what is filed from the INBOX into another mailbox. What the server put into Junk by itself, and what lies
in the INBOX untouched, teaches nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

import structlog

from mailserver import api
from mailserver.plugins.bayes.ledger import Ledger
from mailserver.plugins.bayes.model import MOST_OCTETS, Lesson
from mailserver.plugins.bayes.settings import BayesSettings

__all__ = ["Learning"]

_log = structlog.get_logger()
#: Messages of one command of a user: who tidies up a whole folder says nothing about each message.
_MOST_MOVED = 500
_DAY = 86_400.0
_REJECTS, _INBOX, _OTHER = "rejects", "inbox", "other"
#: What mail programs say by keywords: is it junk?
_KEYWORDS = {"$junk": True, "junk": True, "$notjunk": False, "notjunk": False, "nonjunk": False, "\\answered": False}


class Learning:
    """The observers."""

    def __init__(self, host: api.Host, settings: BayesSettings, ledger: Ledger) -> None:
        self._store = host.store
        self._directory = host.directory
        self._clock = host.clock
        self._settings = settings
        self._ledger = ledger
        self._learned = api.SlidingCounter(_DAY, host.clock, max_keys=10_000)

    async def moved(self, event: api.Moved) -> None:
        """A user put messages elsewhere."""
        if event.account != event.source_account or not event.account:
            return
        with suppress(api.NotFound):
            store = await self._store.existing_account(event.account)
            junk = _meant(await _role(store, event.source), await _role(store, event.mailbox))
            if junk is not None:
                await self.learn(store, event.account, event.mailbox, islice(event.uids, _MOST_MOVED), junk=junk)

    async def flagged(self, event: api.FlagsChanged) -> None:
        """A user, or the mail program, says by a keyword what a message is."""
        if event.how is api.FlagChange.REMOVE or not event.account:
            return
        said = {_KEYWORDS[flag.lower()] for flag in event.flags if flag.lower() in _KEYWORDS}
        if len(said) != 1:
            return
        with suppress(api.NotFound):
            store = await self._store.existing_account(event.account)
            uids = islice(event.uids, _MOST_MOVED)
            await self.learn(store, event.account, event.mailbox, uids, junk=said.pop())

    async def learn(
        self, store: api.AccountStore, account: api.AccountId, name: str, uids: Iterable[int], *, junk: bool
    ) -> None:
        """From messages of a mailbox, as far as the account may today. Raises NotFound: there is no such mailbox."""
        async with store.open(name) as mailbox:
            for uid in uids:
                if self._learned.count(account) >= self._settings.most_a_day:
                    _log.warning("bayes.taught_enough", account=account, most_a_day=self._settings.most_a_day)
                    return
                with suppress(api.NotFound):
                    octets = await mailbox.read(uid, 0, MOST_OCTETS)
                    try:
                        if await self._ledger.learn(self.lesson(account, octets, junk=junk)):
                            self._learned.add(account)
                    except api.StorageFailure as error:
                        _log.warning("bayes.not_learned", account=account, error=error.for_operator)
                        return

    def lesson(self, account: str, octets: bytes, *, junk: bool) -> Lesson:
        """A message with what its reader says of it."""
        known = self._directory.account(account) if account else None
        return Lesson(
            account=account, created=known.created if known is not None else 0.0, octets=octets[:MOST_OCTETS],
            junk=junk, everybody=self._settings.shared, at=self._clock.time(),
        )  # fmt: skip


def _meant(source: str, target: str) -> bool | None:
    """Whether a message that goes from a mailbox of one role to one of another is junk; None: that says nothing."""
    junk, trash = api.SpecialUse.JUNK.name, api.SpecialUse.TRASH.name
    if target == junk:
        return None if source in (junk, trash) else True
    if source in (junk, _REJECTS):
        return None if target in (trash, _REJECTS) else False
    return False if source == _INBOX and target in (_OTHER, api.SpecialUse.ARCHIVE.name) else None


async def _role(store: api.AccountStore, name: str) -> str:
    """Raises NotFound."""
    uses = (await store.find(name)).special_use
    if uses:
        return min(use.name for use in uses)
    if name == "INBOX":
        return _INBOX
    return _REJECTS if name == "Rejects" else _OTHER
