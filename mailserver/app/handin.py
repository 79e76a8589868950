"""`mailserver send`, and `sendmail` while no server runs: without SMTP, but on the way that submitted mail takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from mailserver.app.application import Application
from mailserver.hooks.arguments import account_named
from mailserver.mime.addresses import parse_addresses
from mailserver.mime.headers import field_value, fields, header_block_end, unfold
from mailserver.model.address import EmailAddress
from mailserver.model.errors import InvalidInput, LimitReached, MailError
from mailserver.model.reply import Reply
from mailserver.net.facts import session_facts
from mailserver.net.unix import local_peer
from mailserver.smtp.receiver import Receiver
from mailserver.smtp.session import SmtpSession
from mailserver.smtp.transaction import Transaction
from mailserver.wire.future_release import Hold, date_time
from mailserver.wire.smtp import BadArgument, MailArguments, RcptArguments, parse_mail, parse_rcpt

__all__ = ["BodyReader", "hand_in", "hand_in_local"]

_RECIPIENT_FIELDS = (b"to", b"cc", b"bcc")


class BodyReader(Protocol):
    """The octets that come with a request."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """All of them, once."""
        ...


async def hand_in(
    app: Application, sender: str, recipients: Sequence[str], body: BodyReader, hold_until: float | None = None
) -> dict[str, Any]:
    """Submit the message as the account `sender`, to `recipients` or else to those that its header names, to be sent at
    once or at a time (epoch seconds).

    Raises:
        MailError: with the words that an SMTP client would have got; nothing was kept.
    """
    account = account_named(app.directory, sender)
    receiver = app.smtp.submission
    session = SmtpSession(session_facts("submission", ("127.0.0.1", 0), None, trusted=True, tls=None))
    session.greeted("localhost", esmtp=True)
    session.logged_in(account.account)
    chunks = body.chunks()
    head = await _head(chunks, app.loaded.config.limits.header_size)
    arguments = MailArguments(EmailAddress.parse(sender), size=body.size, hold=_hold(receiver, hold_until))
    transaction = await _envelope(receiver, session, arguments, list(recipients) or _named(head))
    intake = receiver.intake(session, transaction)
    async with intake.content:
        await intake.feed(head)
        async for chunk in chunks:
            await intake.feed(chunk)
        reply = await receiver.finish(session, transaction, intake, lambda: False)
    _check(reply)
    return {"recipients": [str(d.recipient.address) for d in transaction.destinations], "text": reply.text}


async def hand_in_local(
    app: Application, uid: int, mail: str, recipients: Sequence[str], arguments: Sequence[str], body: BodyReader
) -> dict[str, Any]:
    """Submit the message as a user of this machine; `mail` and `arguments` are what follows MAIL and RCPT.

    The reply that counts (code 0: all recipients were refused), and the recipients that were refused.
    """
    receiver = app.smtp.local
    facts = session_facts("sendmail", (local_peer(uid), 0), None, trusted=True, tls=None)
    session, transaction = SmtpSession(facts), Transaction()
    session.greeted("localhost", esmtp=True)
    try:
        refusal = await receiver.connect(session)
        if refusal is None:
            told = parse_mail(mail.encode(), hold=receiver.hold_limit(), dsn=True)
            refusal = await receiver.mail(session, transaction, told)
        if refusal is not None:
            return _told(refusal.reply, [])
        refused = []
        for recipient, argument in zip(recipients, arguments, strict=True):
            reply = await _recipient(receiver, session, transaction, argument)
            if reply is not None:
                refused.append([recipient, reply.code, f"{reply.status} {reply.text}"])
    except BadArgument as error:
        return _told(error.reply, [])
    if not transaction.destinations:
        return {"code": 0, "text": "", "refused": refused}
    intake = receiver.intake(session, transaction)
    async with intake.content:
        async for chunk in body.chunks():
            await intake.feed(chunk)
        return _told(await receiver.finish(session, transaction, intake, lambda: False), refused)


async def _recipient(receiver: Receiver, session: SmtpSession, transaction: Transaction, argument: str) -> Reply | None:
    try:
        arguments = parse_rcpt(argument.encode(), smtputf8=transaction.arguments.smtputf8, dsn=True)
    except BadArgument as error:
        return error.reply
    refusal = await receiver.rcpt(session, transaction, arguments)
    return None if refusal is None else refusal.reply


def _told(reply: Reply, refused: list[list[Any]]) -> dict[str, Any]:
    return {"code": reply.code, "text": f"{reply.status} {reply.text}".strip(), "refused": refused}


def _hold(receiver: Receiver, until: float | None) -> Hold | None:
    """As HOLDUNTIL asks for it (RFC 4865). Raises InvalidInput."""
    if until is None:
        return None
    limit = receiver.hold_limit()
    if limit is None:
        raise InvalidInput("messages are not held for later: submission.hold_longest is 0s")
    if not limit.now < until <= limit.now + limit.longest:
        latest = date_time(limit.now + limit.longest)
        raise InvalidInput(f"a message is held until {latest} at most, and not until a time in the past")
    return Hold(until, f"until;{date_time(until)}")


async def _head(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """The first octets, with the whole header."""
    head = bytearray()
    async for chunk in chunks:
        head += chunk
        if b"\n\n" in head or b"\n\r\n" in head or len(head) > limit:
            break
    return bytes(head)


def _named(head: bytes) -> list[str]:
    """The addresses in To, Cc and Bcc."""
    header = head[: header_block_end(head)]
    found: dict[str, None] = {}
    for name, start, end in fields(header):
        if name in _RECIPIENT_FIELDS:
            for entry in parse_addresses(unfold(field_value(header, start, end))):
                if entry.mailbox is not None and entry.domain is not None and entry.is_mailbox:
                    found[f"{entry.mailbox.decode(errors='replace')}@{entry.domain.decode(errors='replace')}"] = None
    if not found:
        raise InvalidInput("the message names no recipient in To, Cc or Bcc; give one with --to ADDRESS")
    return list(found)


async def _envelope(
    receiver: Receiver, session: SmtpSession, arguments: MailArguments, recipients: Sequence[str]
) -> Transaction:
    transaction = Transaction()
    refusal = await receiver.mail(session, transaction, arguments)
    if refusal is not None:
        _check(refusal.reply)
    limit = receiver.parts.limits.recipients
    if len(recipients) > limit:
        raise LimitReached(f"a message has at most {limit} recipients (limits.recipients)")
    for recipient in recipients:
        refusal = await receiver.rcpt(session, transaction, RcptArguments(EmailAddress.parse(recipient)))
        if refusal is not None:
            _check(refusal.reply, f"{recipient}: ")
    return transaction


def _check(reply: Reply, about: str = "") -> None:
    if reply.code >= 400:
        raise MailError(f"{about}{reply.text} ({reply.code})", status=reply.status, temporary=reply.code < 500)
