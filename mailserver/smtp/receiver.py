"""What port 25 and submission have in common: the policy of one service, asked by its connections.

A method returns None when the command may be obeyed, or the reply that refuses it. Nothing here knows sockets.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from mailserver.hooks.contexts import ConnectContext, HeloContext, MailContext, RcptContext
from mailserver.hooks.dispatch import Hooks
from mailserver.mime.view import MessageView
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.events import Refused
from mailserver.model.ids import new_queue_id
from mailserver.model.reply import Reply
from mailserver.model.verdict import Defer, Reject
from mailserver.net.login import LoginService
from mailserver.net.settings import LimitsSettings
from mailserver.net.space import DiskSpace
from mailserver.ports.store import MailStore
from mailserver.smtp.intake import ContentFilter, HeaderEditor, Intake
from mailserver.smtp.keeping import Message
from mailserver.smtp.pipeline import Pipeline
from mailserver.smtp.resolving import UNKNOWN, Resolver
from mailserver.smtp.session import SmtpSession
from mailserver.smtp.transaction import Destination, Transaction, make_envelope
from mailserver.wire.future_release import HoldLimit
from mailserver.wire.smtp import MailArguments, RcptArguments

__all__ = ["Parts", "Receiver", "Refusal"]

Stage = Literal["connect", "helo", "mail", "rcpt", "message"]

_TOO_BIG = Reply(552, "5.3.4", "The message is larger than this server takes")
_NO_ROOM = Reply(452, "4.3.1", "The disk is nearly full, try again later")
_NO_POSTMASTER = Reply(550, "5.1.1", "No domain is served here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every receiver works with."""

    hostname: str
    limits: LimitsSettings
    hooks: Hooks
    store: MailStore
    resolver: Resolver
    pipeline: Pipeline
    login: LoginService
    max_size: int
    space: DiskSpace | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Refusal:
    """A refusal, with whether the connection ends with it."""

    __slots__ = ("close", "reply")

    def __init__(self, reply: Reply, *, close: bool = False) -> None:
        self.reply = reply
        self.close = close


class Receiver(ABC):
    """The policy of one service; `ingress.py` and `submission.py` say what is special."""

    service = "smtp"
    #: Are bare line ends made into CRLF?
    normalize = False
    #: Is AUTH offered (where the connection may)?
    with_auth = False
    #: Must a client wait for the greeting, and for the end of a group of commands (RFC 2920 §3.1)?
    in_turn = True
    #: Does a recipient that is not there cost a pause?
    pauses = True
    #: Wait before the greeting, in seconds.
    greet_delay = 0.0

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def connect(self, session: SmtpSession) -> Refusal | None:
        """Before the greeting."""
        verdict = await self.parts.hooks.connect(ConnectContext(session=session.facts))
        session.found_at_connect = verdict.findings
        return self._refusal(verdict, session, "connect") if isinstance(verdict, Reject | Defer) else None

    async def helo(self, session: SmtpSession) -> Refusal | None:
        """After EHLO or HELO, with the name in the facts."""
        found = session.found_at_connect
        verdict = await self.parts.hooks.helo(HeloContext(session=session.facts, findings=found))
        session.found_at_helo = verdict.findings
        return self._refusal(verdict, session, "helo") if isinstance(verdict, Reject | Defer) else None

    async def mail(self, session: SmtpSession, transaction: Transaction, arguments: MailArguments) -> Refusal | None:
        """MAIL; on success the transaction has begun."""
        if arguments.size is not None and arguments.size > self.parts.max_size:
            return self.refuse(session, "mail", _TOO_BIG, arguments.sender)
        size = self.parts.max_size if arguments.size is None else arguments.size
        if self.parts.space is not None and self.parts.space.fault(size):
            return self.refuse(session, "mail", _NO_ROOM, arguments.sender)
        envelope = make_envelope(arguments)
        refusal = await self.check_sender(session, envelope)
        if refusal is not None:
            return refusal
        found = session.found_at_connect + session.found_at_helo
        verdict = await self.parts.hooks.mail(MailContext(session=session.facts, envelope=envelope, findings=found))
        if isinstance(verdict, Reject | Defer):
            return self._refusal(verdict, session, "mail", arguments.sender)
        transaction.begin(arguments, envelope, found + verdict.findings)
        return None

    async def rcpt(self, session: SmtpSession, transaction: Transaction, arguments: RcptArguments) -> Refusal | None:
        """RCPT; on success the recipient was added."""
        resolver, hooks = self.parts.resolver, self.parts.hooks
        address = arguments.address or resolver.postmaster()
        sender = transaction.arguments.sender
        if address is None:
            return self.refuse(session, "rcpt", _NO_POSTMASTER, sender, "postmaster")
        recipient = Recipient(
            address=address, notify=arguments.notify, original_recipient=arguments.original_recipient
        )
        local = resolver.is_local(address)
        answer: Destination | Reply = await resolver.resolve(recipient) if local else self.outside(session, recipient)
        known = isinstance(answer, Destination)
        verdict = await hooks.rcpt(
            RcptContext(
                session=session.facts, envelope=transaction.envelope(), recipient=recipient, known=known, local=local,
                findings=transaction.findings,
            )
        )
        if isinstance(verdict, Reject | Defer):
            return self._refusal(verdict, session, "rcpt", sender, str(address))
        if isinstance(answer, Reply):
            if answer is UNKNOWN and self.pauses and not session.facts.trusted:
                await self.parts.sleep(self.parts.limits.unknown_recipient_delay)
            return self.refuse(session, "rcpt", answer, sender, str(address))
        full = await resolver.refuse_for_quota(answer, transaction.arguments.size or 0)
        if full is not None:
            return self.refuse(session, "rcpt", full, sender, str(address))
        transaction.add(answer, verdict.findings)
        return None

    async def check_sender(self, session: SmtpSession, envelope: Envelope) -> Refusal | None:
        """May this session send with this envelope sender?"""
        return None

    def hold_limit(self) -> HoldLimit | None:
        """What FUTURERELEASE may ask for; None: it is not offered."""
        return None

    def offers_dsn(self, session: SmtpSession) -> bool:
        """May this client say what its sender is to be told (RFC 3461)?"""
        return True

    @abstractmethod
    def outside(self, session: SmtpSession, recipient: Recipient) -> Destination | Reply:
        """What becomes of a recipient in a domain that we do not serve?"""
        ...

    def intake(self, session: SmtpSession, transaction: Transaction) -> Intake:
        """Begin to take in the message of a transaction."""
        limits = self.parts.limits
        return Intake(
            self.parts.store.begin(transaction.arguments.size or 0), max_size=self.parts.max_size,
            longest_line=limits.message_line, normalize=self.normalize, header_size=limits.header_size,
            editor=self.header_editor(session, transaction), content_filter=self.content_filter(),
        )  # fmt: skip

    def content_filter(self) -> ContentFilter | None:
        """What takes things out of a message on its way in; one for each message."""
        return None

    def header_editor(self, session: SmtpSession, transaction: Transaction) -> HeaderEditor | None:
        """What completes the header on its way in."""
        return None

    async def finish(
        self, session: SmtpSession, transaction: Transaction, intake: Intake, client_gone: Callable[[], bool],
        answer: Callable[[Reply], None] = lambda reply: None,
    ) -> Reply:  # fmt: skip
        """The message is complete: check it and keep it; `answer` gets the reply early if it is kept.

        Raises ClientGone.
        """
        refusal = await intake.finish() or await self.check_message(session, transaction, intake)
        if refusal is not None:
            self.refuse(session, "message", refusal, transaction.arguments.sender)
            return refusal
        message = Message(
            session=session.facts, queue_id=new_queue_id(), envelope=transaction.envelope(),
            destinations=transaction.destinations, content=intake.content, view=MessageView(intake.content),
            client_gone=client_gone, answer=answer, findings=transaction.findings,
        )  # fmt: skip
        return await self.parts.pipeline.deliver(message)

    async def check_message(self, session: SmtpSession, transaction: Transaction, intake: Intake) -> Reply | None:
        """Look at a complete message before the hooks do."""
        return None

    def refuse(
        self, session: SmtpSession, stage: Stage, reply: Reply, sender: EmailAddress | None = None, recipient: str = "",
        *, reason: str = "", close: bool = False,
    ) -> Refusal:  # fmt: skip
        """Make a refusal, and tell observers of it."""
        facts = session.facts
        self.parts.hooks.emit(
            Refused(
                session=facts.session, service=facts.service, stage=stage, peer=facts.peer, sender=str(sender or ""),
                recipient=recipient, code=reply.code, reason=reason or reply.text,
            )
        )  # fmt: skip
        return Refusal(reply, close=close)

    def _refusal(
        self, verdict: Reject | Defer, session: SmtpSession, stage: Stage, sender: EmailAddress | None = None,
        recipient: str = "",
    ) -> Refusal:  # fmt: skip
        return self.refuse(session, stage, verdict.reply, sender, recipient, reason=verdict.reason, close=verdict.close)
