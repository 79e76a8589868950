"""From a complete message to its 250: the hooks decide, then every recipient gets a durable home.

`message` hooks give one verdict for the transaction, `place` hooks a mailbox and flags per local recipient. Everything
that can refuse mail runs before anything is kept, so nothing that was accepted is bounced later to a forged sender.
"""

from __future__ import annotations

from mailserver.hooks.contexts import MessageContext, PlaceContext, Placement
from mailserver.hooks.dispatch import Hooks
from mailserver.model.errors import MailError
from mailserver.model.events import Refused
from mailserver.model.reply import Reply
from mailserver.model.verdict import Defer, Quarantine, Reject
from mailserver.ports.clock import Clock
from mailserver.ports.store import Target
from mailserver.smtp.headercheck import delivered_to
from mailserver.smtp.keeping import ClientGone, Keeper, LocalPlace, Message, NotKept
from mailserver.smtp.replies import reply_to
from mailserver.smtp.trace import make_fields

__all__ = ["Pipeline"]

JUNK = "Junk"
_DEFAULT = Placement()
_QUARANTINE = Placement(mailbox=JUNK, create=True)
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
        if _forwarded_before(message):
            return self._refused(message, _LOOP, "forwarding loop")
        quarantined = isinstance(verdict, Quarantine) and not message.session.trusted
        fields = make_fields(
            message.session, message.queue_id, message.envelope, self._hostname, self._clock.time(), verdict.headers
        )
        try:
            places = await self._places(message, quarantined)
            if message.client_gone():
                raise ClientGone
            return await self._keeper.keep(message, places, fields)
        except NotKept as error:
            return self._refused(message, error.reply, error.detail)
        except MailError as error:
            return self._refused(message, reply_to(error), error.detail or error.text)

    async def _places(self, message: Message, quarantined: bool) -> list[LocalPlace]:
        """Where each local copy goes; one copy for a mailbox that is reached in several ways."""
        found: dict[tuple[str, str], LocalPlace] = {}
        for destination in message.destinations:
            for mailbox in destination.local:
                placement = await self._hooks.place(
                    PlaceContext(
                        session=message.session, queue_id=message.queue_id, envelope=message.envelope,
                        recipient=destination.recipient, account=mailbox.account, detail=mailbox.detail,
                        quarantined=quarantined, content=message.content,
                    )
                )  # fmt: skip
                if placement is None:
                    placement = _QUARANTINE if quarantined else _DEFAULT
                target = Target(
                    account=mailbox.account, mailbox=placement.mailbox, flags=placement.flags, create=placement.create
                )
                key = (mailbox.account, placement.mailbox)
                if key not in found:
                    found[key] = LocalPlace(destination, mailbox, target)
        return list(found.values())

    def _refused(self, message: Message, reply: Reply, reason: str) -> Reply:
        session, sender = message.session, message.envelope.sender
        self._hooks.emit(
            Refused(
                session=session.session, service=session.service, stage="message", peer=session.peer,
                sender=str(sender or ""), recipient="", code=reply.code, reason=reason or reply.text,
            )
        )  # fmt: skip
        return reply


def _forwarded_before(message: Message) -> bool:
    forwarding = [str(d.recipient.address).lower().encode() for d in message.destinations if d.forwarded]
    if not forwarding:
        return False
    seen = delivered_to(message.content.head())
    return any(address in seen for address in forwarding)
