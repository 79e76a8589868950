"""Mail of the queue for addresses of ours: what waited for a mailbox, our own reports, what was asked to come later.

Where an address leads is found out anew at each attempt. Redirects to other places become messages of their own in the
queue, and so does a mailbox that fails while another one of the same address has the message already. Their ids follow
from this message's, so an attempt that is repeated does not make them twice while they wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from mailserver.hooks.contexts import Session
from mailserver.hooks.dispatch import Hooks
from mailserver.mime.trace import return_path
from mailserver.mime.view import MessageView
from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Outcome, Result, Success
from mailserver.model.envelope import STAYS_HERE, Envelope, Recipient, returning
from mailserver.model.errors import AlreadyExists, MailError
from mailserver.model.events import Delivered, Judged, Queued
from mailserver.model.ids import AccountId, derived_queue_id, new_session_id
from mailserver.model.mailbox import Stored
from mailserver.model.reply import Reply
from mailserver.ports.delivery import DeliveryReport, Job
from mailserver.ports.directory import Directory
from mailserver.ports.queue import MailQueue
from mailserver.ports.store import Content, MailStore
from mailserver.smtp.copies import Copy, copies_for
from mailserver.smtp.forwarding import (
    expands,
    forwarded,
    forwarded_before,
    forwarding_field,
    forwarding_sender,
    pass_on,
    retry_of,
)
from mailserver.smtp.placing import LocalPlace, find_places
from mailserver.smtp.replies import reply_to
from mailserver.smtp.resolving import Resolver
from mailserver.smtp.transaction import Destination
from mailserver.smtp.turns import Turns

__all__ = ["QueuedDelivery"]

_log = structlog.get_logger()
_CHUNK = 1 << 20
_DELIVERED = "250 2.0.0 Delivered from the queue"
_LOOP = Result(outcome=Outcome.FAILED, status="5.4.6", reply="This message was forwarded from here before")
_FAULT = Result(outcome=Outcome.DEFERRED, status="4.3.0", reply="An internal error; it is tried again later")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedDelivery:
    """`deliver` of `ports.delivery.Deliverer` for the local destination."""

    hooks: Hooks
    store: MailStore
    queue: MailQueue
    directory: Directory
    resolver: Resolver

    async def deliver(self, job: Job) -> DeliveryReport:
        """Make one attempt."""
        attempt = _Attempt(self, job)
        rest = _FAULT
        try:
            await attempt.run()
        except MailError as error:
            rest = _of(reply_to(error))
        except Exception:
            _log.exception("a queued message could not be delivered", id=job.queue_id)
        recipients = range(len(job.envelope.recipients))
        return DeliveryReport(results=tuple(attempt.results.get(index, rest) for index in recipients))


class _Attempt:
    """One of them; `results` by index of the recipient is filled as they become known."""

    def __init__(self, parts: QueuedDelivery, job: Job) -> None:
        self.results: dict[int, Result] = {}
        self._parts = parts
        self._job = job
        self._indexes: dict[int, int] = {}
        self._turns = Turns()
        #: Keys of the addresses elsewhere that were given the message.
        self._given: set[str] = set()

    async def run(self) -> None:
        """Raises MailError: what concerns all recipients that have no result then."""
        job = self._job
        destinations = await self._destinations()
        if not destinations:
            return
        await job.about_to_end([self._index(destination) for destination in destinations])
        local = []
        for destination in destinations:
            if await self._forward(destination) and destination.local:
                local.append(destination)
            await self._turns.spend(1 + len(destination.remote))
        if not local:
            return
        async with self._parts.store.begin(job.content.size) as content:
            position = 0
            while chunk := await job.content.read(position, _CHUNK):
                await content.write(chunk)
                position += len(chunk)
            await self._keep(content, local)

    async def _destinations(self) -> list[Destination]:
        """Those that can be tried; the others have their result."""
        found = []
        for index, recipient in enumerate(self._job.envelope.recipients):
            answer = await self._parts.resolver.resolve(recipient, stays_here=self._job.envelope.stays_here)
            if isinstance(answer, Reply):
                self.results[index] = _of(answer)
                continue
            self._let_forward(answer)
            if forwarded_before([answer], self._job.content.head()):
                self.results[index] = _LOOP
                continue
            self._indexes[id(answer)] = index
            found.append(answer)
            await self._turns.spend(1 + len(answer.remote))
        return found

    def _let_forward(self, destination: Destination) -> None:
        """Nobody judges it here: what belongs into Junk was marked so, and what an account's forward had stays."""
        for copy in copies_for([destination], self._job.envelope):
            pass_on(copy)

    def _index(self, destination: Destination) -> int:
        return self._indexes[id(destination)]

    async def _forward(self, destination: Destination) -> bool:
        """Give the message to the other addresses behind this one; False: not now."""
        if not destination.remote:
            return True
        # An account that keeps no copy must get back what could not be delivered, so its targets have one of their own.
        given = frozenset[str]() if destination.returns_to else self._given
        recipients = forwarded(destination, given)
        index, address = self._index(destination), str(destination.recipient.address)
        try:
            if recipients:
                await self._enqueue(
                    recipients, forwarding_field(destination), "forward", address,
                    forwarder=destination.recipient.address, extra=returning(destination.returns_to.items()),
                )  # fmt: skip
        except MailError as error:
            self.results[index] = _of(reply_to(error))
            return False
        self._given.update(recipient.address.key for recipient in recipients)
        # Who is to be told what goes along with it (RFC 3461 §5.2.7); but of a name that another one was taken for
        # nobody else knows.
        success = Success.EXPANDED if expands(destination) or not recipients else Success.PASSED_ON
        self.results[index] = _success(success, "Forwarded")
        return True

    async def _keep(self, content: Content, destinations: Sequence[Destination]) -> None:
        job = self._job
        session = Session(session=new_session_id(), service="queue", peer="")
        copies = copies_for(destinations, job.envelope)
        wanted = {id(copy.destination) for copy in copies}
        for destination in destinations:
            if id(destination) not in wanted:
                self.results.setdefault(self._index(destination), _refused(destination, job.envelope))
        if not copies:
            return
        view = MessageView(content)
        places = await find_places(self._parts.hooks, session, job.queue_id, job.envelope, copies, content, view)
        sender = job.envelope.sender
        header = return_path(None if sender is None else str(sender))
        stored = await self._parts.store.commit(content, [place.target for place in places], header)
        failed: list[tuple[LocalPlace, MailError]] = []
        for place, outcome in zip(places, stored, strict=True):
            if isinstance(outcome, MailError):
                failed.append((place, outcome))
                continue
            self._tell(outcome, content.size)
            for destination in place.destinations:
                self.results.setdefault(self._index(destination), _success(Success.DELIVERED, "Delivered"))
        kept = [place for place, outcome in zip(places, stored, strict=True) if isinstance(outcome, Stored)]
        self._tell_judged(copies, kept, view)
        for place, error in failed:
            for destination in place.destinations:
                await self._failed(destination, place, error)

    async def _failed(self, destination: Destination, place: LocalPlace, error: MailError) -> None:
        """A mailbox failed: its recipient is tried again, or only that mailbox if the message is elsewhere already."""
        index = self._index(destination)
        result = self.results.get(index)
        if result is None or result.outcome is not Outcome.DELIVERED:
            self.results[index] = _of(reply_to(error))
        elif error.temporary:
            recipient = retry_of(destination.recipient, place.mailbox, self._parts.directory)
            await self._enqueue((recipient,), b"", "retry", str(recipient.address), extra=STAYS_HERE)
        else:
            _log.warning(
                "an address has a mailbox that takes no mail", id=self._job.queue_id, account=place.mailbox.account,
                error=error.for_operator,
            )  # fmt: skip

    async def _enqueue(
        self, recipients: tuple[Recipient, ...], header: bytes, *why: str, forwarder: EmailAddress | None = None,
        extra: tuple[tuple[str, str], ...],
    ) -> None:  # fmt: skip
        """Raises MailError."""
        job = self._job
        queue_id = derived_queue_id(job.queue_id, *why)
        # The marks of a report are about the message that it is, not about those that follow from it.
        envelope = replace(job.envelope, recipients=recipients, hold_until=None, extra=extra)
        if forwarder is not None:
            sender = await forwarding_sender(self._parts.hooks, envelope.sender, forwarder, envelope.account)
            envelope = envelope.passed_on_by(sender)
        try:
            await self._parts.queue.inject(queue_id, envelope, job.content, header)
        except AlreadyExists:
            return
        self._parts.hooks.emit(
            Queued(
                queue_id=queue_id, sender=str(envelope.sender or ""),
                recipients=tuple(str(recipient.address) for recipient in recipients), size=job.content.size,
                origin=job.queue_id, account=envelope.account or "",
            )
        )  # fmt: skip

    def _tell_judged(self, copies: Sequence[Copy], places: Sequence[LocalPlace], view: MessageView) -> None:
        """What was found when the message came, and where that has brought it now."""
        mailboxes = {
            (place.mailbox.account, id(destination)): place.target.mailbox
            for place in places
            for destination in place.destinations
        }
        author = view.author
        for copy in copies:
            account, mailbox = copy.mailbox.account, mailboxes.get((copy.mailbox.account, id(copy.destination)))
            if mailbox is not None and (copy.findings.reasons or copy.findings.results or copy.quarantined):
                self._parts.hooks.emit(
                    Judged(
                        queue_id=self._job.queue_id, account=account, peer="",
                        sender=str(self._job.envelope.sender or ""), author=author.key if author is not None else "",
                        recipient=str(copy.destination.recipient.address), message_id=view.message_id,
                        findings=copy.findings, reply=_DELIVERED, refused=False, mailbox=mailbox,
                    )
                )  # fmt: skip

    def _tell(self, place: Stored, size: int) -> None:
        self._parts.hooks.emit(
            Delivered(
                queue_id=self._job.queue_id, account=AccountId(place.account), mailbox=place.mailbox, uid=place.uid,
                size=size,
            )
        )  # fmt: skip


def _success(success: Success, text: str) -> Result:
    return Result(outcome=Outcome.DELIVERED, status="2.0.0", reply=text, success=success)


def _refused(destination: Destination, envelope: Envelope) -> Result:
    """Its accounts said so when the message came, and have their copies."""
    known = (envelope.judgement(mailbox.account) for mailbox in destination.local)
    words = next((one.refusal for one in known if one is not None and one.refusal), "")
    return Result(outcome=Outcome.FAILED, status="5.7.1", reply=words)


def _of(reply: Reply) -> Result:
    outcome = Outcome.FAILED if reply.code >= 500 else Outcome.DEFERRED
    return Result(outcome=outcome, status=reply.status or f"{reply.code // 100}.0.0", reply=reply.text)
