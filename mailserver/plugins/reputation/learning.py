"""What an account does with its mail: whom it writes to, what came, and where that is put later."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from itertools import islice

from mailserver import api
from mailserver.plugins.reputation.database import Filing, Seen
from mailserver.plugins.reputation.identities import TO, TO_DOMAIN, Identities, Key, stored_key
from mailserver.plugins.reputation.ledger import Ledger

__all__ = ["Learning"]

#: Messages between their judgement and their delivery.
_MOST_COMING = 5_000
#: Messages of one command of a user: who tidies up a whole folder says nothing about each sender.
_MOST_MOVED = 500


class Learning:
    """The observers."""

    def __init__(self, host: api.Host, ledger: Ledger) -> None:
        self._store = host.store
        self._clock = host.clock
        self._ledger = ledger
        self._coming: OrderedDict[tuple[str, str], tuple[bytes, list[Key]]] = OrderedDict()

    def coming(self, ctx: api.DeliveryContext, who: Identities) -> None:
        """A message was judged; whether it gets there is told later."""
        self._coming[ctx.queue_id, ctx.account] = (ctx.queue_id.encode(), who.keys)
        if len(self._coming) > _MOST_COMING:
            self._coming.popitem(last=False)

    def delivered(self, event: api.Delivered) -> None:
        """It is in a mailbox."""
        known = self._coming.pop((event.queue_id, event.account), None)
        if known is not None:
            key, senders = known
            self._ledger.note(Seen(event.account, key, self._clock.time(), senders))

    def accepted(self, event: api.Accepted) -> None:
        """An account wrote to somebody."""
        if not event.account:
            return
        senders: dict[Key, None] = {}
        for recipient in event.recipients:
            try:
                address = api.EmailAddress.parse(recipient)
            except api.InvalidInput:
                continue
            senders |= {(TO, address.key): None, (TO_DOMAIN, address.domain): None}
        if senders:
            self._ledger.note(Seen(event.account, b"", self._clock.time(), list(senders)))

    async def moved(self, event: api.Moved) -> None:
        """A user put messages elsewhere."""
        if event.account != event.source_account or not event.account:
            return
        with suppress(api.NotFound):
            store = await self._store.existing_account(event.account)
            filing = await api.opinion_of_move(event, store)
            if filing:
                await self._file(store, event, filing)

    async def flagged(self, event: api.FlagsChanged) -> None:
        """A user, or the mail program, says by a keyword what it thinks of messages."""
        said = api.opinions_of_flags(event)
        if len(said) != 1:
            return
        with suppress(api.NotFound):
            await self._file(await self._store.existing_account(event.account), event, said.pop())

    async def _file(self, store: api.AccountStore, event: api.Moved | api.FlagsChanged, filing: str) -> None:
        async with store.open(event.mailbox) as mailbox:
            uids = list(islice(event.uids, _MOST_MOVED))
            if filing == "unread":
                seen = mailbox.flag_table.having("\\Seen")
                table = mailbox.table
                uids = [uid for uid in uids if (at := table.find(uid)) >= 0 and table.flags[at] not in seen]
            async for batch in mailbox.read_many(uids, header_only=True):
                for _, head in batch:
                    key = stored_key(api.MessageView.of(head))
                    if key:
                        self._ledger.note(Filing(event.account, key, self._clock.time(), filing))
