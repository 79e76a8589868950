"""From a complete message to its 250: the hooks decide, then every recipient gets a durable home.

`message` hooks give one verdict for the transaction, `place` hooks a mailbox and flags per local recipient. Everything
that can refuse mail runs before anything is kept, so nothing that was accepted is bounced later to a forged sender.
"""

from __future__ import annotations

from mailserver.hooks.contexts import MessageContext
from mailserver.hooks.dispatch import Hooks
from mailserver.model.errors import MailError
from mailserver.model.events import Refused
from mailserver.model.reply import Reply
from mailserver.model.verdict import Defer, Quarantine, Reject
from mailserver.ports.clock import Clock
from mailserver.smtp.forwarding import forwarded_before
from mailserver.smtp.keeping import ClientGone, Keeper, Message, NotKept
from mailserver.smtp.placing import find_places
from mailserver.smtp.replies import reply_to
from mailserver.smtp.trace import make_fields

__all__ = ["Pipeline"]

_LOOP = Reply(554, "5.4.6", "This message was forwarded from here before")


class Pipeline:
    """One for all SMTP services."""

    def __init__(self, hooks: Hooks, keeper: Keeper, hostname: str, clock: Clock) -> None:
        self._hooks = hooks
        self._keeper = keeper
        self._clock = clock
        self._hostname = hostname

    async def deliver(self, message: Message) -> Reply:
        """Keep the message for all its recipients; the reply to the end of data.

        Raises:
            ClientGone: before anything was kept.
        """
        verdict = await self._hooks.message(
            MessageContext(
                session=message.session, queue_id=message.queue_id, envelope=message.envelope, content=message.content
            )
        )
        if isinstance(verdict, Reject | Defer):
            return self._refused(message, verdict.reply, verdict.reason)
        if forwarded_before(message.destinations, message.content.head()):
            return self._refused(message, _LOOP, "forwarding loop")
        quarantined = isinstance(verdict, Quarantine) and not message.session.trusted
        fields = make_fields(
            message.session, message.queue_id, message.envelope, self._hostname, self._clock.time(), verdict.headers
        )
        try:
            places = await find_places(
                self._hooks, message.session, message.queue_id, message.envelope, message.at_once, message.content,
                quarantined=quarantined,
            )  # fmt: skip
            if message.client_gone():
                raise ClientGone
            return await self._keeper.keep(message, places, fields)
        except NotKept as error:
            return self._refused(message, error.reply, error.detail)
        except MailError as error:
            return self._refused(message, reply_to(error), error.detail or error.text)

    def _refused(self, message: Message, reply: Reply, reason: str) -> Reply:
        session, sender = message.session, message.envelope.sender
        self._hooks.emit(
            Refused(
                session=session.session, service=session.service, stage="message", peer=session.peer,
                sender=str(sender or ""), recipient="", code=reply.code, reason=reason or reply.text,
            )
        )  # fmt: skip
        return reply
