"""Mail from programs on this machine (sendmail(1)): over a Unix socket, where the kernel says which user it is.

They are as bound as users who log in: a user's own addresses only, in the envelope and in the header; root and the
server's own user may use every address of the domains that are served, and no other. Limits count by user.
"""

from __future__ import annotations

from dataclasses import replace

from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Recipient
from mailserver.model.ids import AccountId
from mailserver.model.reply import Reply
from mailserver.net.rates import SlidingCounter
from mailserver.ports.clock import Clock
from mailserver.ports.queue import MailQueue
from mailserver.smtp.compose import HeaderCompletion
from mailserver.smtp.intake import HeaderEditor
from mailserver.smtp.local_header import LocalCompletion
from mailserver.smtp.local_users import LocalUser, LocalUsers
from mailserver.smtp.receiver import Parts, Refusal
from mailserver.smtp.resolving import UNKNOWN
from mailserver.smtp.session import SmtpSession
from mailserver.smtp.settings import SendmailSettings, SubmissionSettings
from mailserver.smtp.submission import Submission
from mailserver.smtp.transaction import Transaction, make_envelope
from mailserver.wire.smtp import MailArguments, RcptArguments
from mailserver.wire.xtext import encode_xtext

__all__ = ["LocalSubmission"]

_DAY = 86_400.0
_STRANGER = Reply(554, "5.7.0", "It is not known which user this is")
_ENOUGH = Reply(450, "4.7.1", "You have sent as many messages as a user of this machine may in a day")


class LocalSubmission(Submission):
    """`facts.peer` is "uid:33" (`net.listener`)."""

    service = "sendmail"
    with_auth = False
    #: Programs may write a whole dialogue into `sendmail -bs`.
    in_turn = False
    #: Whoever is on this machine can read the names of its users anyway.
    pauses = False

    def __init__(
        self, parts: Parts, settings: SendmailSettings, submission: SubmissionSettings, users: LocalUsers,
        queue: MailQueue, clock: Clock,
    ) -> None:  # fmt: skip
        super().__init__(replace(parts, max_size=min(parts.max_size, settings.max_size)), submission, queue, clock)
        self._limit = settings.messages_per_day
        self._users = users
        self._sent = SlidingCounter(_DAY, clock)

    def update(self, settings: SendmailSettings) -> None:
        """Other users, and another limit, for what comes from now on."""
        self._limit = settings.messages_per_day
        self._users.update(settings)

    async def connect(self, session: SmtpSession) -> Refusal | None:
        """Who is it?"""
        mark, _, uid = session.facts.peer.partition(":")
        user = await self._users.find(int(uid)) if mark == "uid" and uid.isdecimal() else _STRANGER
        if isinstance(user, Reply):
            return self.refuse(session, "connect", user, close=True)
        session.identified(user)
        return await super().connect(session)

    async def mail(self, session: SmtpSession, transaction: Transaction, arguments: MailArguments) -> Refusal | None:
        """The sender is completed and checked; reports go to the postmaster when it is nobody's address."""
        user, sender = self._user(session), arguments.sender
        if not user.privileged and self._sent.count(user.uid) >= self._limit:
            return self.refuse(session, "mail", _ENOUGH, sender)
        if sender is not None and self._users.is_here(sender.domain):
            arguments = replace(arguments, sender=self._users.author(user, sender.local))
        session.author = arguments.sender or user.address
        refusal = await super().mail(session, transaction, arguments)
        if refusal is not None:
            return refusal
        self._sent.add(user.uid)
        sender = arguments.sender
        if sender is not None and await self.parts.resolver.resolve(Recipient(address=sender)) is UNKNOWN:
            arguments = replace(arguments, sender=EmailAddress("postmaster", sender.domain))
            transaction.begin(arguments, make_envelope(arguments))
        return None

    async def rcpt(self, session: SmtpSession, transaction: Transaction, arguments: RcptArguments) -> Refusal | None:
        """Names of this machine are completed; a user without a mailbox is the postmaster's business."""
        given = address = arguments.address
        if address is not None and self._users.is_here(address.domain):
            address = self._users.recipient(self._user(session), address.local)
        if address is not None and await self.parts.resolver.resolve(Recipient(address=address)) is UNKNOWN:
            address = await self._users.stand_in(address) or address
        if address is not None and address != given:
            original = arguments.original_recipient
            if original is None and str(given).isascii():
                # RFC 3461 §5.2.7.1: what the recipient was called first stays known.
                original = f"rfc822;{encode_xtext(str(given))}"
            arguments = replace(arguments, address=address, original_recipient=original)
        return await super().rcpt(session, transaction, arguments)

    def header_editor(self, session: SmtpSession, transaction: Transaction) -> HeaderEditor:
        """As for all who submit; and addresses without a domain are completed."""
        completion = HeaderCompletion(self.parts.hostname, session.author, self._clock.time())
        return LocalCompletion(self._users, self._user(session), completion)

    async def allowed(self, session: SmtpSession, account: AccountId, address: EmailAddress) -> Reply | None:
        """The configuration's addresses, and those of the account that has the user's address."""
        user = self._user(session)
        if self._users.may_use(user, address):
            return None
        if user.privileged:
            return Reply(553, "5.7.1", f"{address} is of a domain that is not served here; {user.address} is yours")
        refusal = await super().allowed(session, account, address)
        if refusal is None or refusal.code < 500:
            return refusal
        return Reply(
            553, "5.7.1",
            f"{user.name} may not write as {address}, only as {user.address}; sendmail.users can allow more",
        )  # fmt: skip

    def _user(self, session: SmtpSession) -> LocalUser:
        if session.local is None:
            raise RuntimeError("a session of this service begins with its user")
        return session.local
