"""Which messages are answered, and sending the answers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable
from contextlib import suppress

import structlog

from mailserver import api
from mailserver.plugins.vacation.database import Turn
from mailserver.plugins.vacation.ledger import Ledger
from mailserver.plugins.vacation.letter import Asked, compose, read
from mailserver.plugins.vacation.settings import VacationSettings
from mailserver.plugins.vacation.wishes import Vacation

__all__ = ["Answering"]

_log = structlog.get_logger()
#: Messages on their way into a mailbox; most are there within milliseconds.
_MOST_WAITING = 5000
_UNWANTED = frozenset(("Junk", "Rejects", "Trash"))


class Answering:
    """The hook `place`, which sees the message, and the observer, which knows that it was kept."""

    def __init__(self, host: api.Host, settings: VacationSettings, ledger: Ledger) -> None:
        self._host = host
        self._settings = settings
        self._ledger = ledger
        self._waiting: OrderedDict[tuple[api.QueueId, api.AccountId], Asked] = OrderedDict()

    def place(self, ctx: api.PlaceContext) -> None:
        """Is it to be answered, if it is kept? Where it goes is for others to say."""
        wish = self._wish(ctx.account)
        if wish is None:
            return
        sender, head = ctx.envelope.sender, ctx.message.head
        why = _why_not_trusted(ctx) or api.why_no_answer(
            sender, head, lambda address: self._is_mine(wish, ctx.recipient.address, address)
        )
        if why or sender is None:
            _log.debug("vacation.not_answered", queue_id=ctx.queue_id, account=ctx.account, why=why)
            return
        # From is the address that the sender knows, so that an alias does not tell whose it is.
        self._waiting[ctx.queue_id, ctx.account] = read(sender, ctx.recipient.address, head)
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.popitem(last=False)

    def delivered(self, event: api.Delivered) -> Awaitable[None] | None:
        """It is in a mailbox."""
        asked = self._waiting.pop((event.queue_id, event.account), None) if self._waiting else None
        wish = self._wish(event.account) if asked is not None else None
        if asked is None or wish is None or event.mailbox in _UNWANTED:
            return None
        return self._answer(event, wish, asked)

    def _wish(self, account: api.AccountId) -> Vacation | None:
        wish = self._ledger.wish(account)
        return wish if wish is not None and wish.covers(self._host.clock.time()) else None

    def _is_mine(self, wish: Vacation, recipient: api.EmailAddress, address: api.EmailAddress) -> bool:
        """The account's own with any sub-address, what led there (an alias), and what its owner says is his."""
        if address.key == recipient.key or address.key in wish.addresses:
            return True
        match = api.find_address(self._host.directory, address)
        return isinstance(match, api.AccountMatch) and match.account.account == wish.account

    async def _answer(self, event: api.Delivered, wish: Vacation, asked: Asked) -> None:
        now, sender = self._host.clock.time(), asked.sender.key
        try:
            turn = await self._ledger.take_turn(wish, sender, now, self._settings.most_per_hour)
        except api.StorageFailure as error:
            _log.warning("vacation.not_sent", account=wish.account, error=error.for_operator)
            return
        if turn is not Turn.YES:
            log = _log.warning if turn is Turn.TOO_MANY else _log.debug
            log("vacation.not_answered", queue_id=event.queue_id, account=wish.account, why=turn.value)
            return
        queue_id = api.derived_queue_id(event.queue_id, "vacation", wish.account)
        try:
            await self._send(queue_id, wish, asked, now)
        except api.MailError as error:
            # With his next message it is tried again.
            _log.warning("vacation.not_sent", account=wish.account, error=error.for_operator)
            with suppress(api.StorageFailure):
                await self._ledger.forget_turn(wish.account, sender)
            return
        _log.info("vacation.answered", queue_id=queue_id, origin=event.queue_id, account=wish.account, to=sender)

    async def _send(self, queue_id: api.QueueId, wish: Vacation, asked: Asked, now: float) -> None:
        """Put it into the queue. Raises MailError."""
        octets = compose(
            asked, wish.text, wish.subject, epoch=now, message_id=f"{queue_id}.vacation@{self._host.hostname}"
        )
        envelope = api.Envelope(
            # RFC 3834 §3.3: the null reverse-path, so that nothing answers it.
            sender=None, recipients=(api.Recipient(address=asked.sender),), smtputf8=not octets.isascii(),
            body=api.Body.SEVEN_BIT if octets.isascii() else api.Body.EIGHT_BIT_MIME, own=True,
        )  # fmt: skip
        async with self._host.store.begin(len(octets)) as content:
            await content.write(octets)
            with suppress(api.AlreadyExists):
                await self._host.queue.inject(queue_id, envelope, content)
        self._host.emit(
            api.Queued(
                queue_id=queue_id, sender="", recipients=(str(asked.sender),), size=len(octets), origin=queue_id
            )
        )


def _why_not_trusted(ctx: api.PlaceContext) -> str:
    """Why its sender may be forged, so that an answer would go to somebody who wrote nothing; "" for no sign of it."""
    if ctx.quarantined:
        return "it goes to Junk"
    if not ctx.envelope.of_stranger or ctx.session.trusted or ctx.session.account is not None:
        return ""
    known = ctx.envelope.judgement(ctx.account)
    if ctx.session.service == "queue" and (known is None or known.findings is None):
        return "it waited in the queue, and nothing is known of who sent it"
    if any(result.result == "fail" for result in ctx.findings.of("dmarc")):
        return "its author is not proved (DMARC)"
    sender = ctx.envelope.sender
    refused = any(result.result in ("fail", "softfail") for result in ctx.findings.of("spf"))
    if refused and sender is not None and not ctx.findings.proves(sender.domain):
        return "its sender is not proved (SPF)"
    return ""
