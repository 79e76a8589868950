"""The commands that need one line each (RFC 5321 §4.1.1): what they check, and their replies.

A handler takes the octets behind the verb and returns the reply; the connection's loop is the only place that writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from mailserver.model.reply import Reply
from mailserver.smtp.receiver import Receiver, Refusal
from mailserver.smtp.session import SmtpSession
from mailserver.smtp.transaction import State, Transaction, refusal
from mailserver.wire.future_release import extension
from mailserver.wire.smtp import BadArgument, parse_helo, parse_mail, parse_rcpt

__all__ = ["CommandBase", "Commands"]

_OK = Reply(250, "2.0.0", "Ok").encode()
_MAIL_OK = Reply(250, "2.1.0", "Sender ok").encode()
_RCPT_OK = Reply(250, "2.1.5", "Recipient ok").encode()
_BYE = Reply(221, "2.0.0", "Goodbye").encode()
_VRFY = Reply(252, "2.5.0", "Send some mail, it will be tried").encode()
_NO_EXPN = Reply(502, "5.5.1", "EXPN is not offered").encode()
_HELP = Reply(214, "2.0.0", "See RFC 5321").encode()
_NO_ARGUMENT = Reply(501, "5.5.4", "This command takes no argument").encode()
_TOO_MANY = Reply(452, "4.5.3", "Too many recipients; send the rest in another transaction").encode()
_FAR_TOO_MANY = Reply(421, "4.5.3", "Far too many recipients").encode()


class CommandBase(ABC):
    """What handlers work with; the connection has it all."""

    session: SmtpSession
    transaction: Transaction
    receiver: Receiver
    #: True when the connection ends after the replies are sent.
    closing: bool

    def say(self, refused: Refusal) -> bytes:
        """The reply of a refusal; ends the connection if it says so."""
        self.closing = self.closing or refused.close or refused.reply.code == 421
        return refused.reply.encode()

    @abstractmethod
    def can_start_tls(self) -> bool:
        """Is STARTTLS possible now?"""
        ...

    @abstractmethod
    def unread(self) -> bool:
        """Did the client send more before it could know our reply?"""
        ...


class Commands(CommandBase):
    """HELO, EHLO, MAIL, RCPT, RSET, NOOP, VRFY, EXPN, HELP, QUIT."""

    async def smtp_HELO(self, argument: bytes) -> bytes:  # noqa: N802
        """RFC 5321 §4.1.1.1."""
        return await self._greet(argument, esmtp=False)

    async def smtp_EHLO(self, argument: bytes) -> bytes:  # noqa: N802
        """RFC 5321 §4.1.1.1; the list of §4.1.1.1 ehlo-ok-rsp."""
        return await self._greet(argument, esmtp=True)

    async def _greet(self, argument: bytes, *, esmtp: bool) -> bytes:
        name = parse_helo(argument)
        if self.session.facts.helo:
            self.session.junk += 1
        await self.end_transaction()
        self.session.greeted(name, esmtp=esmtp)
        self.transaction = Transaction(State.START)
        refused = await self.receiver.helo(self.session)
        if refused is not None:
            return self.say(refused)
        self.transaction.state = State.READY
        hostname = self.receiver.parts.hostname
        if not esmtp:
            return f"250 {hostname}\r\n".encode()
        lines = [hostname, *self._extensions()]
        return "".join(f"250{'-' if at < len(lines) else ' '}{line}\r\n" for at, line in enumerate(lines, 1)).encode()

    def _extensions(self) -> list[str]:
        parts, facts = self.receiver.parts, self.session.facts
        lines = [
            "PIPELINING", f"SIZE {parts.max_size}", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES",
            f"LIMITS RCPTMAX={parts.limits.recipients}",
        ]  # fmt: skip
        if self.receiver.offers_dsn(self.session):
            lines.append("DSN")
        if facts.tls:
            lines.append("REQUIRETLS")
        elif self.can_start_tls():
            lines.append("STARTTLS")
        hold = self.receiver.hold_limit()
        if hold is not None:
            lines.append(extension(hold))
        if self.receiver.with_auth and facts.account is None:
            mechanisms = parts.login.mechanisms(facts)
            if mechanisms:
                lines.append("AUTH " + " ".join(mechanisms))
        return lines

    async def smtp_MAIL(self, argument: bytes) -> bytes:  # noqa: N802
        """RFC 5321 §4.1.1.2."""
        out_of_order = refusal("MAIL", self.transaction.state)
        if out_of_order is not None:
            return out_of_order
        facts = self.session.facts
        arguments = parse_mail(
            argument, require_tls=bool(facts.tls), auth=self.receiver.with_auth, hold=self.receiver.hold_limit(),
            dsn=self.receiver.offers_dsn(self.session),
        )  # fmt: skip
        refused = await self.receiver.mail(self.session, self.transaction, arguments)
        return _MAIL_OK if refused is None else self.say(refused)

    async def smtp_RCPT(self, argument: bytes) -> bytes:  # noqa: N802
        """RFC 5321 §4.1.1.3."""
        transaction = self.transaction
        out_of_order = refusal("RCPT", transaction.state)
        if out_of_order is not None:
            return out_of_order
        limit = self.receiver.parts.limits.recipients
        if len(transaction.destinations) >= limit:
            transaction.refused += 1
            if transaction.refused >= limit:
                self.closing = True
                return _FAR_TOO_MANY
            return _TOO_MANY
        arguments = parse_rcpt(
            argument, smtputf8=transaction.arguments.smtputf8, dsn=self.receiver.offers_dsn(self.session)
        )
        refused = await self.receiver.rcpt(self.session, transaction, arguments)
        return _RCPT_OK if refused is None else self.say(refused)

    async def smtp_RSET(self, argument: bytes) -> bytes:  # noqa: N802
        """RFC 5321 §4.1.1.5."""
        if argument:
            return _NO_ARGUMENT
        self.session.junk += 1
        await self.end_transaction()
        return _OK

    async def smtp_NOOP(self, argument: bytes) -> bytes:  # noqa: N802
        """RFC 5321 §4.1.1.9; the argument has no meaning."""
        self.session.junk += 1
        return _OK

    async def smtp_VRFY(self, argument: bytes) -> bytes:  # noqa: N802
        """RFC 5321 §3.5.3: nothing is verified, so that nobody can guess addresses; the same for known and unknown."""
        self.session.junk += 1
        if not argument:
            raise BadArgument(501, "5.5.4", "Syntax: VRFY address")
        return _VRFY

    async def smtp_EXPN(self, argument: bytes) -> bytes:  # noqa: N802
        """RFC 5321 §3.5.2."""
        self.session.junk += 1
        return _NO_EXPN

    async def smtp_HELP(self, argument: bytes) -> bytes:  # noqa: N802
        """RFC 5321 §4.1.1.8."""
        self.session.junk += 1
        return _HELP

    async def smtp_QUIT(self, argument: bytes) -> bytes:  # noqa: N802
        """RFC 5321 §4.1.1.10."""
        if argument:
            return _NO_ARGUMENT
        self.closing = True
        return _BYE

    async def end_transaction(self) -> None:
        """Forget the transaction; what was gathered of a message is thrown away."""
        greeted = self.transaction.state is not State.START
        self.transaction = Transaction(State.READY if greeted else State.START)
