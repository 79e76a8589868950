"""Mail from our users (RFC 6409): authenticated, in their own name, its header completed."""

from __future__ import annotations

from mailserver.hooks.contexts import SenderContext
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.errors import MailError
from mailserver.model.ids import AccountId
from mailserver.model.reply import Reply
from mailserver.ports.clock import Clock
from mailserver.ports.queue import MailQueue
from mailserver.smtp.compose import HeaderCompletion, visible_senders
from mailserver.smtp.headercheck import check_header
from mailserver.smtp.intake import HeaderEditor, Intake
from mailserver.smtp.receiver import Parts, Receiver, Refusal
from mailserver.smtp.replies import reply_to
from mailserver.smtp.session import SmtpSession
from mailserver.smtp.settings import SubmissionSettings
from mailserver.smtp.transaction import Destination, Transaction
from mailserver.wire.future_release import HoldLimit

__all__ = ["Submission"]

_AUTH_REQUIRED = Reply(530, "5.7.0", "Authentication is required")
_NOT_YOURS = Reply(553, "5.7.1", "The sender address does not belong to your account")
_ONE_FROM = Reply(553, "5.7.1", "The message must have exactly one From field")
_TOO_MANY_HELD = Reply(552, "5.7.16", "Too many messages of yours wait for their time")
_UNREADABLE = Reply(553, "5.7.1", "An address in From or Sender cannot be read, or there are two Sender fields")


class Submission(Receiver):
    """A user may write as the addresses of the account only: MAIL FROM, From and Sender (ATTACKS E03)."""

    service = "submission"
    normalize = True
    with_auth = True

    def __init__(self, parts: Parts, settings: SubmissionSettings, queue: MailQueue, clock: Clock) -> None:
        super().__init__(parts)
        self._settings = settings
        self._queue = queue
        self._clock = clock

    def hold_limit(self) -> HoldLimit | None:
        """RFC 4865 §4.2: here, and on no other service."""
        longest = int(self._settings.hold_longest)
        return HoldLimit(self._clock.time(), longest) if longest else None

    async def check_sender(self, session: SmtpSession, envelope: Envelope) -> Refusal | None:
        """Authenticated, and an address of the account (or the null sender, for replies of programs)."""
        account = session.facts.account
        if account is None:
            return self.refuse(session, "mail", _AUTH_REQUIRED)
        if envelope.hold_until is not None and self._queue.held_for(account) >= self._settings.hold_messages:
            # RFC 4865 §6: the quota of an account.
            return self.refuse(session, "mail", _TOO_MANY_HELD, envelope.sender)
        if envelope.sender is None:
            return None
        reply = await self.allowed(session, account, envelope.sender)
        return None if reply is None else self.refuse(session, "mail", reply, envelope.sender)

    def outside(self, session: SmtpSession, recipient: Recipient) -> Destination | Reply:
        """A user's mail goes everywhere: into the queue."""
        return Destination(recipient, remote=[recipient.address])

    def header_editor(self, session: SmtpSession, transaction: Transaction) -> HeaderEditor:
        """Date, Message-ID and From are added where they are missing, Bcc is taken away."""
        return HeaderCompletion(self.parts.hostname, transaction.arguments.sender, self._clock.time())

    async def check_message(self, session: SmtpSession, transaction: Transaction, intake: Intake) -> Reply | None:
        """The addresses that readers will see."""
        head = intake.content.head()
        refusal = check_header(head, self.parts.limits)
        if refusal is not None:
            return refusal
        account = session.facts.account
        if account is None:
            return _AUTH_REQUIRED
        authors = visible_senders(head)
        if authors.from_fields != 1:
            return _ONE_FROM
        if authors.unreadable:
            return _UNREADABLE
        for address in authors.addresses:
            refusal = await self.allowed(session, account, address)
            if refusal is not None:
                return refusal
        return None

    async def allowed(self, session: SmtpSession, account: AccountId, address: EmailAddress) -> Reply | None:
        """None: this session may write as `address`."""
        if address.key == account:
            return None
        try:
            allowed = await self.parts.hooks.sender_allowed(SenderContext(account=account, address=address))
        except MailError as error:
            return reply_to(error)
        return None if allowed else _NOT_YOURS
