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
#: Is it junk? Mail that is thrown away need not be.
_JUNK = {"junk": True, "wanted": False, "kept": False, "answered": False}


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
            junk = _JUNK.get(await api.opinion_of_move(event, store))
            if junk is not None:
                await self.learn(store, event.account, event.mailbox, islice(event.uids, _MOST_MOVED), junk=junk)

    async def flagged(self, event: api.FlagsChanged) -> None:
        """A user, or the mail program, says by a keyword what a message is."""
        said = {_JUNK[opinion] for opinion in api.opinions_of_flags(event)}
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
