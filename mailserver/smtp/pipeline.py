"""From a complete message to its 250: the hooks decide, then every recipient gets a durable home.

`message` hooks give one verdict for the transaction, `delivery` hooks one for each account, `place` hooks a mailbox and
flags. Everything that can refuse mail runs before anything is kept, so nothing that was accepted is bounced later to a
forged sender.
"""

from __future__ import annotations

from dataclasses import replace

from mailserver.hooks.contexts import MessageContext
from mailserver.hooks.dispatch import Hooks
from mailserver.model.errors import MailError
from mailserver.model.events import Judged, Refused
from mailserver.model.findings import Findings
from mailserver.model.reply import Reply
from mailserver.model.verdict import Defer, Reject, Verdict
from mailserver.ports.clock import Clock
from mailserver.ports.store import MailStore
from mailserver.smtp.copies import Copy, judgements_on
from mailserver.smtp.editing import Editing
from mailserver.smtp.forwarding import forwarded_before, pass_on
from mailserver.smtp.judging import judge, refusal_of
from mailserver.smtp.keeping import ClientGone, Keeper, Message, NotKept
from mailserver.smtp.placing import LocalPlace, find_places
from mailserver.smtp.replies import reply_to
from mailserver.smtp.trace import make_fields

__all__ = ["Pipeline"]

_LOOP = Reply(554, "5.4.6", "This message was forwarded from here before")


class Pipeline:
    """One for all SMTP services. `hide_users`: see `make_fields`."""

    def __init__(
        self, hooks: Hooks, store: MailStore, keeper: Keeper, hostname: str, clock: Clock, *, hide_users: bool
    ) -> None:
        self._hooks = hooks
        self._store = store
        self._keeper = keeper
        self._clock = clock
        self._hostname = hostname
        self._hide_users = hide_users

    async def deliver(self, message: Message) -> Reply:
        """Keep the message for all its recipients; the reply to the end of data.

        Raises:
            ClientGone: before anything was kept.
        """
        async with Editing(self._store, message.content, message.view) as editing:
            try:
                verdict = await self._hooks.message(
                    MessageContext(
                        session=message.session, queue_id=message.queue_id, envelope=message.envelope,
                        content=message.content, message=message.view, findings=message.findings,
                        forwarded=any(destination.forwarded for destination in message.destinations),
                    ),
                    editing.apply,
                )  # fmt: skip
            except MailError as error:
                return self._refused(message, reply_to(error), error.detail or error.text)
            return await self._judged(replace(message, content=editing.content, view=editing.view), verdict)

    async def _judged(self, message: Message, verdict: Verdict) -> Reply:
        """What becomes of it after the `message` hooks. Raises ClientGone."""
        findings = message.findings + verdict.findings
        if isinstance(verdict, Reject | Defer):
            self._tell_refusal(message, verdict, findings)
            return self._refused(message, verdict.reply, verdict.reason)
        if forwarded_before(message.destinations, message.view.head):
            return self._refused(message, _LOOP, "forwarding loop")
        fields = make_fields(
            message.session, message.queue_id, message.envelope, self._hostname, self._clock.time(), verdict.headers,
            findings.results, hide_users=self._hide_users,
        )  # fmt: skip
        try:
            copies = await judge(self._hooks, message, replace(verdict, findings=findings))
            refusal = refusal_of(message, copies)
            message = replace(message, judgements=judgements_on(copies))
            if refusal is None:
                # The queue finds out anew where an address leads.
                copies = [copy if message.waits(copy.destination) else pass_on(copy) for copy in copies]
            wanted = [copy for copy in copies if _is_placed_now(message, copy, refusal)]
            places = await find_places(
                self._hooks, message.session, message.queue_id, message.envelope, wanted, message.content,
                message.view,
            )  # fmt: skip
            if message.client_gone():
                raise ClientGone
            if refusal is None:
                reply = await self._keeper.keep(message, places, fields)
            else:
                await self._keeper.keep_refused(message, places, fields)
                reply = self._refused(message, refusal.reply, refusal.reason)
            # What the queue brings is told when it is there.
            self._tell(message, wanted if refusal is None else copies, places, reply)
            return reply
        except NotKept as error:
            return self._refused(message, error.reply, error.detail)
        except MailError as error:
            return self._refused(message, reply_to(error), error.detail or error.text)

    def _tell_refusal(self, message: Message, verdict: Reject | Defer, findings: Findings) -> None:
        copies = [
            Copy(destination=destination, mailbox=mailbox, findings=findings, refusal=verdict)
            for destination in message.destinations
            for mailbox in destination.local
        ]
        self._tell(message, copies, [], verdict.reply)

    def _tell(self, message: Message, copies: list[Copy], places: list[LocalPlace], reply: Reply) -> None:
        """Of copies about which there is something to tell."""
        told = [
            copy for copy in copies
            if copy.findings.reasons or copy.findings.results or copy.quarantined or copy.refusal is not None
        ]  # fmt: skip
        if not told:
            return
        mailboxes = {
            (place.mailbox.account, id(destination)): place.target.mailbox
            for place in places
            for destination in place.destinations
        }
        message_id, author = message.view.message_id, message.view.author
        for copy in told:
            account = copy.mailbox.account
            self._hooks.emit(
                Judged(
                    queue_id=message.queue_id, account=account, peer=message.session.peer,
                    sender=str(message.envelope.sender or ""), author=author.key if author is not None else "",
                    recipient=str(copy.destination.recipient.address), message_id=message_id,
                    findings=copy.findings, reply=str(reply), refused=reply.refuses(),
                    mailbox=mailboxes.get((account, id(copy.destination)), ""),
                    reason=copy.refusal.reason if copy.refusal is not None else "",
                )
            )  # fmt: skip

    def _refused(self, message: Message, reply: Reply, reason: str) -> Reply:
        session, sender = message.session, message.envelope.sender
        self._hooks.emit(
            Refused(
                session=session.session, service=session.service, stage="message", peer=session.peer,
                sender=str(sender or ""), recipient="", code=reply.code, reason=reason or reply.text,
            )
        )  # fmt: skip
        return reply


def _is_placed_now(message: Message, copy: Copy, refusal: Reject | Defer | None) -> bool:
    """Not what the queue brings later. Of a message that is refused as a whole only what is to be looked at."""
    if copy.refusal is not None:
        return refusal is None or copy.refusal.keep
    return refusal is None and not message.waits(copy.destination)
