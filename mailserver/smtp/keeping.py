"""The acceptance rule (DESIGN §4): 250 when every recipient has a durable home. In this order, 250 only at the end:

1. One `store.commit` for all local places. When all recipients fail here, nothing was kept and the reply says why.
2. The queue takes what remains: remote recipients, and local ones whose mailbox failed while others succeeded.
3. When the queue fails, what step 1 stored is taken back and the reply is 451.

A queue item cannot be taken back: when a later one fails, the client's next attempt repeats the earlier ones. Nothing
is ever lost. Nobody cancels the task that runs this: a client that hangs up only loses the reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from mailserver.hooks.contexts import Session
from mailserver.hooks.dispatch import Hooks
from mailserver.mime.view import MessageView
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import STAYS_HERE, Envelope, Notify, Recipient, returning
from mailserver.model.errors import MailError
from mailserver.model.events import Accepted, Delivered, Queued
from mailserver.model.findings import NOTHING, Findings, Judgement
from mailserver.model.ids import AccountId, QueueId, new_queue_id
from mailserver.model.mailbox import Stored
from mailserver.model.reply import Reply
from mailserver.ports.directory import Directory
from mailserver.ports.queue import MailQueue
from mailserver.ports.store import Content, MailStore
from mailserver.smtp.forwarding import expands, forwarded, forwarding_field, forwarding_sender, retry_of
from mailserver.smtp.placing import LocalPlace
from mailserver.smtp.replies import reply_to
from mailserver.smtp.trace import Fields
from mailserver.smtp.transaction import Destination
from mailserver.smtp.turns import Turns

__all__ = ["ClientGone", "Keeper", "Message", "NotKept"]

log = structlog.get_logger()


class ClientGone(Exception):
    """The connection was lost before anything was kept."""


class NotKept(Exception):
    """Nothing was kept; `reply` tells the client, `detail` the log."""

    def __init__(self, reply: Reply, detail: str) -> None:
        super().__init__(detail)
        self.reply = reply
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that arrived completely, with what the session knows about it."""

    session: Session
    queue_id: QueueId
    envelope: Envelope
    destinations: Sequence[Destination]
    content: Content
    #: True once the client can no longer hear a reply.
    client_gone: Callable[[], bool]
    #: Called with the reply as soon as the message is kept: the client need not wait until everyone has been told.
    answer: Callable[[Reply], None]
    #: What `content` says.
    view: MessageView
    #: By the hooks up to RCPT.
    findings: Findings = NOTHING
    #: What accounts here said of their copies.
    judgements: tuple[Judgement, ...] = ()

    def waits(self, destination: Destination) -> bool:
        """Must a recipient of ours go through the queue? Who asks to be told of the delivery must: only the queue
        reports, so that a crash does not lose what was promised (RFC 3461 §5.2.3); and mail for a later time."""
        if not destination.local:
            return expands(destination)
        return self.envelope.hold_until is not None or Notify.SUCCESS in destination.recipient.notify

    def judgements_of(self, accounts: Iterable[AccountId]) -> tuple[Judgement, ...]:
        """Those on the copies of these accounts."""
        named = set(accounts)
        return tuple(one for one in self.judgements if one.account in named)


class Keeper:
    """Puts accepted messages into the store and the queue."""

    def __init__(self, hooks: Hooks, store: MailStore, queue: MailQueue, directory: Directory) -> None:
        self._hooks = hooks
        self._store = store
        self._queue = queue
        self._directory = directory

    async def keep(self, message: Message, places: list[LocalPlace], fields: Fields) -> Reply:
        """Raises NotKept."""
        stored: list[Stored] = []
        failed: list[tuple[LocalPlace, MailError]] = []
        if places:
            results = await self._commit(message.content, places, fields)
            for place, result in zip(places, results, strict=True):
                if isinstance(result, Stored):
                    stored.append(result)
                elif place.refused:
                    _warn_of_refused(message, place, result)
                else:
                    failed.append((place, result))
        items = await _queued_items(message)
        if failed:
            if not stored and not items:
                error = min((error for _, error in failed), key=lambda error: not error.temporary)
                raise NotKept(reply_to(error), error.detail or error.text)
            items += self._retries(message, [place for place, _ in failed])
        queued: list[Queued] = []
        try:
            await self._enqueue(message, items, fields, queued)
        except NotKept:
            await self._take_back(message.queue_id, stored)
            self._tell_queued(queued)
            raise
        reply = Reply(250, "2.0.0", f"Kept as {message.queue_id}")
        message.answer(reply)
        self._tell_queued(queued)
        self._tell(message, stored)
        return reply

    async def keep_refused(self, message: Message, places: list[LocalPlace], fields: Fields) -> None:
        """Put copies of a message that will be refused where their accounts can look at them, if that can be done."""
        for place, result in zip(places, await self._commit(message.content, places, fields), strict=True):
            if isinstance(result, MailError):
                _warn_of_refused(message, place, result)

    async def _commit(
        self, content: Content, places: list[LocalPlace], fields: Fields
    ) -> Sequence[Stored | MailError]:
        try:
            return await self._store.commit(content, [place.target for place in places], fields.delivery)
        except MailError as error:
            return [error] * len(places)

    async def _enqueue(
        self, message: Message, items: list[_Item], fields: Fields, queued: list[Queued]
    ) -> None:
        """What is in the queue comes into `queued`. Raises NotKept: the others are not."""
        for number, item in enumerate(items):
            queue_id = new_queue_id() if number else message.queue_id
            recipients = tuple(item.recipients)
            envelope = replace(
                message.envelope, recipients=recipients, account=message.session.account, judgements=item.judgements,
                extra=tuple(item.extra),
            )  # fmt: skip
            try:
                if item.forwarder is not None:
                    sender = await forwarding_sender(self._hooks, envelope.sender, item.forwarder, envelope.account)
                    envelope = envelope.passed_on_by(sender)
                await self._queue.inject(queue_id, envelope, message.content, item.header + fields.transit)
            except MailError as error:
                raise NotKept(
                    Reply(451, "4.3.0", "The message could not be kept, try again later"), error.detail or error.text
                ) from error
            queued.append(
                Queued(
                    queue_id=queue_id, sender=str(envelope.sender or ""),
                    recipients=tuple(str(recipient.address) for recipient in recipients), size=message.content.size,
                    origin=message.queue_id, account=envelope.account or "", held_until=envelope.hold_until or 0.0,
                )
            )  # fmt: skip

    def _retries(self, message: Message, places: list[LocalPlace]) -> list[_Item]:
        """The queue does not judge again: what does not belong into the inbox is marked so."""
        found = []
        for quarantined in (False, True):
            concerned = [place for place in places if place.quarantined is quarantined]
            if concerned:
                recipients = [retry_of(one.destination.recipient, one.mailbox, self._directory) for one in concerned]
                known = message.judgements_of(place.mailbox.account for place in concerned)
                judgements = tuple(replace(one, quarantined=quarantined, refusal="") for one in known)
                found.append(_Item(b"", recipients, judgements=judgements, extra=dict.fromkeys(STAYS_HERE)))
        return found

    async def _take_back(self, queue_id: QueueId, stored: list[Stored]) -> None:
        for place in stored:
            try:
                account = await self._store.open_account(_account_id(place))
                async with account.open(place.mailbox) as mailbox:
                    await mailbox.expunge([place.uid])
            except MailError as error:
                log.error("a copy could not be taken back", queue_id=queue_id, error=error.detail or error.text)

    def _tell_queued(self, queued: Sequence[Queued]) -> None:
        for event in queued:
            self._hooks.emit(event)

    def _tell(self, message: Message, stored: list[Stored]) -> None:
        session, size = message.session, message.content.size
        for place in stored:
            self._hooks.emit(
                Delivered(
                    queue_id=message.queue_id, account=_account_id(place), mailbox=place.mailbox, uid=place.uid,
                    size=size,
                )
            )  # fmt: skip
        self._hooks.emit(
            Accepted(
                session=session.session, queue_id=message.queue_id, service=session.service,
                sender=str(message.envelope.sender or ""),
                recipients=tuple(str(recipient.address) for recipient in message.envelope.recipients), size=size,
                peer=session.peer, account=session.account or "", message_id=message.view.message_id,
            )
        )  # fmt: skip


def _warn_of_refused(message: Message, place: LocalPlace, error: MailError) -> None:
    log.warning(
        "no copy of a refused message could be kept", queue_id=message.queue_id, account=place.mailbox.account,
        error=error.detail or error.text,
    )  # fmt: skip


@dataclass(slots=True)
class _Item:
    """What is to be queued: header fields for the top, the recipients, and the address of ours that forwards.

    `judgements`: on the copies for accounts here; `extra`: marks of the envelope, each once."""

    header: bytes
    recipients: list[Recipient]
    forwarder: EmailAddress | None = None
    judgements: tuple[Judgement, ...] = ()
    extra: dict[tuple[str, str], None] = field(default_factory=dict)

    def join(self, recipient: Recipient, known: list[Recipient]) -> None:
        """`known` are those here who have this address. Who gets the message under another name already is not added if
        what is told of that one will do: it is sent once, and each name has its result."""
        if known:
            if Notify.SUCCESS not in recipient.notify and any(one.notify == recipient.notify for one in known):
                return
            recipient = replace(recipient, address=known[0].address)
        known.append(recipient)
        self.recipients.append(recipient)


async def _queued_items(message: Message) -> list[_Item]:
    """One for all direct recipients, one per address that forwards; a message for a thousand names behind a catch-all
    is one for its target. A thousand names of a large list are much work: others have their turn meanwhile."""
    items = []
    # Who is named twice gets the message once; the first naming counts.
    direct: dict[EmailAddress, Recipient] = {}
    for destination in message.destinations:
        if message.waits(destination) or (destination.remote and not destination.forwarded):
            direct.setdefault(destination.recipient.address, destination.recipient)
    if direct:
        waiting = [mailbox.account for one in message.destinations if message.waits(one) for mailbox in one.local]
        items.append(_Item(b"", list(direct.values()), judgements=message.judgements_of(waiting)))
    placed: dict[str, tuple[_Item, list[Recipient]]] = {}
    for recipient in direct.values():
        placed.setdefault(recipient.address.key, (items[0], []))[1].append(recipient)
    turns = Turns()
    for destination in message.destinations:
        if not destination.forwarded or message.waits(destination):
            continue
        item = _Item(forwarding_field(destination), [], destination.recipient.address)
        judgements = message.judgements_of(destination.returns_to) if destination.returns_to else ()
        back = _by_target(destination)
        for recipient in forwarded(destination):
            place, known = placed.setdefault(recipient.address.key, (item, []))
            place.join(recipient, known)
            if accounts := back.get(recipient.address.key):
                place.extra |= dict.fromkeys(returning((account, [recipient.address]) for account in accounts))
                place.judgements += tuple(one for one in judgements if one not in place.judgements)
        if item.recipients:
            items.append(item)
        await turns.spend(len(destination.remote))
    return items


def _by_target(destination: Destination) -> dict[str, list[AccountId]]:
    """The accounts that an address elsewhere has the only copy of; by its key."""
    found: dict[str, list[AccountId]] = {}
    for account, targets in destination.returns_to.items():
        for target in targets:
            found.setdefault(target.key, []).append(account)
    return found


def _account_id(place: Stored) -> AccountId:
    return AccountId(place.account)
