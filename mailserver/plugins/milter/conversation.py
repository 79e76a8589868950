"""What one filter knows of one session: connect, helo, and then message after message, in its order of steps.

The filter hears of a session when that begins a message, and not before: clients that only come and go cost nothing,
and by then the client's name is known. What it would have refused earlier is refused at MAIL. At the end of data it is
made sure that the filter knows exactly the envelope that counts; if a recipient that it agreed to was refused by
somebody else, it is told anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailserver import api
from mailserver.plugins.milter.connection import MilterConnection, MilterFailed
from mailserver.plugins.milter.macros import (
    client_of,
    mail_macros,
    message_macros,
    rcpt_macros,
    session_macros,
    stage_macros,
)
from mailserver.plugins.milter.settings import MilterSettings

__all__ = ["Conversation", "Outcome"]

Outcome = tuple[api.MilterAnswer, list[api.MilterEdit]]
_CONTINUE = api.MilterAnswer("continue")
_EARLY = ("accept", "discard")
_PASSES = ("accept", "continue", "skip", "discard")
_STEP = api.MilterStep


class Conversation:
    """Used by one task at a time. Methods raise MilterFailed; the next MAIL begins anew then."""

    def __init__(
        self, endpoint: api.Endpoint, resolver: api.Resolver, settings: MilterSettings, hostname: str
    ) -> None:
        self._endpoint = endpoint
        self._resolver = resolver
        self._settings = settings
        self._hostname = hostname
        self._connection: MilterConnection | None = None
        #: The answer to connect or helo, when it holds for all that follows.
        self._standing: api.MilterAnswer | None = None
        self._greeted: tuple[str, str] | None = None
        #: The recipients that the filter agreed to; None outside of a transaction.
        self._told: list[api.Recipient] | None = None
        self._sender: api.EmailAddress | None = None
        #: What it said of this message before its end: that it has seen enough, or that the message is to vanish.
        self._early: api.MilterAnswer | None = None
        self._macros: dict[str, str] = {}
        self.busy = 0

    def close(self) -> None:
        """The session has ended, or there is no going on with this filter."""
        connection, self._connection = self._connection, None
        self._standing = self._greeted = self._told = self._early = None
        self._macros = {}
        if connection is not None:
            connection.close()

    async def mail(self, session: api.Session, envelope: api.Envelope, findings: api.Findings) -> api.MilterAnswer:
        """A message begins."""
        self._early = None
        used = self._connection is not None
        try:
            return await self._mail(session, envelope, findings)
        except MilterFailed:
            self.close()
            if not used:
                raise
        # A filter may close a connection that was idle for long; that says nothing about a new one.
        return await self._mail(session, envelope, findings)

    async def _mail(self, session: api.Session, envelope: api.Envelope, findings: api.Findings) -> api.MilterAnswer:
        connection = await self._ready(session, findings)
        if self._standing is not None:
            return self._heard(self._standing)
        if self._told is not None:
            connection.tell(api.milter.command("A"))
        self._told, self._sender = [], envelope.sender
        client = client_of(session, findings)
        self._macros = session_macros(session, client, self._hostname) | mail_macros(session, envelope)
        self._tell_macros(connection, "M")
        step = api.milter.command("M", f"<{envelope.sender or ''}>", *_mail_parameters(envelope))
        return self._heard(await self._step(step, _STEP.NO_MAIL, _STEP.SILENT_MAIL))

    async def rcpt(self, recipient: api.Recipient) -> api.MilterAnswer:
        """One more recipient; a refusal is for this one alone."""
        connection = self._connection
        if connection is None or self._told is None or self._early is not None:
            return _CONTINUE
        self._tell_macros(connection, "R", rcpt_macros(recipient))
        parameters = [f"ORCPT={recipient.original_recipient}"] if recipient.original_recipient else []
        step = api.milter.command("R", f"<{recipient.address}>", *parameters)
        answer = await self._step(step, _STEP.NO_RCPT, _STEP.SILENT_RCPT)
        if answer.kind in _EARLY:
            self._early = answer
        elif answer.kind in _PASSES:
            self._told.append(recipient)
        return _CONTINUE if answer.kind == "discard" else answer

    async def message(self, ctx: api.MessageContext) -> Outcome:
        """The whole message; what the filter changes comes with its answer."""
        if self._early is None and (
            self._told != list(ctx.envelope.recipients) or self._sender != ctx.envelope.sender
        ):
            answer = await self._tell_again(ctx)
            if answer.kind not in _PASSES:
                return answer, []
        connection = await self._ready(ctx.session, ctx.findings)
        early, self._early = self._early, None
        if early is None:
            early = await self._content(connection, ctx)
        if early is not None:
            # The filter may still wait for the end; it learns that there is none.
            connection.tell(api.milter.command("A"))
            self._told = None
            return early, []
        self._tell_macros(connection, "E")
        outcome = await connection.end(api.milter.command("E"))
        self._told = None
        return outcome

    async def _tell_again(self, ctx: api.MessageContext) -> api.MilterAnswer:
        answer = await self.mail(ctx.session, ctx.envelope, ctx.findings)
        for recipient in ctx.envelope.recipients:
            if answer.kind not in _PASSES or self._early is not None:
                break
            answer = await self.rcpt(recipient)
        return answer

    async def _ready(self, session: api.Session, findings: api.Findings) -> MilterConnection:
        """Connected, and the filter knows the client and its name."""
        if self._connection is None:
            self._connection = await MilterConnection.open(self._endpoint, self._resolver, self._settings)
            self._told = self._greeted = None
            client = client_of(session, findings)
            self._tell_macros(self._connection, "C", session_macros(session, client, self._hostname))
            step = api.milter.connect(client.name, client.peer, client.port)
            self._standing = _lasting(await self._step(step, _STEP.NO_CONNECT, _STEP.SILENT_CONNECT))
        connection = self._connection
        if self._standing is None and self._greeted != (session.helo, session.tls):
            if self._told is not None:
                connection.tell(api.milter.command("A"))
                self._told = None
            self._tell_macros(connection, "H", session_macros(session, client_of(session, findings), self._hostname))
            step = api.milter.command("H", session.helo)
            self._standing = _lasting(await self._step(step, _STEP.NO_HELO, _STEP.SILENT_HELO))
            self._greeted = (session.helo, session.tls)
        return connection

    def _tell_macros(
        self, connection: MilterConnection, stage: str, more: Mapping[str, str] | None = None
    ) -> None:
        self._macros |= more or {}
        connection.tell(stage_macros(stage, connection.agreed, self._macros))

    async def _step(self, octets: bytes, without: api.MilterStep, silent: api.MilterStep) -> api.MilterAnswer:
        connection = self._connection
        if connection is None:
            raise MilterFailed("there is no connection")
        return _CONTINUE if connection.agreed.steps & without else await connection.ask(octets, silent)

    def _heard(self, answer: api.MilterAnswer) -> api.MilterAnswer:
        """The answer to MAIL."""
        if answer.kind in _EARLY:
            self._early = answer
            return _CONTINUE
        if answer.kind not in _PASSES:
            self._told = None
        return answer

    async def _content(self, connection: MilterConnection, ctx: api.MessageContext) -> api.MilterAnswer | None:
        """Header and body; None when the filter wants to see the end, else the answer that ends it."""
        head, end = ctx.message.head, ctx.message.header_size
        self._macros |= message_macros(ctx.queue_id)
        if connection.agreed.version >= 4:
            self._tell_macros(connection, "T")
            answer = await self._step(api.milter.command("T"), _STEP.NO_DATA, _STEP.SILENT_DATA)
            if answer.kind != "continue":
                return answer
        if not connection.agreed.steps & _STEP.NO_HEADERS:
            leading = bool(connection.agreed.steps & _STEP.LEADING_SPACE)
            for _, start, stop in ctx.message.fields:
                name, _, value = head[start:stop].removesuffix(b"\n").removesuffix(b"\r").partition(b":")
                step = api.milter.header(name.rstrip(b" \t"), value, leading_space=leading)
                answer = await connection.ask(step, _STEP.SILENT_HEADERS)
                if answer.kind != "continue":
                    return answer
        self._tell_macros(connection, "N")
        answer = await self._step(api.milter.command("N"), _STEP.NO_END_OF_HEADER, _STEP.SILENT_END_OF_HEADER)
        if answer.kind != "continue":
            return answer
        return None if connection.agreed.steps & _STEP.NO_BODY else await _body(connection, ctx.content, end)


async def _body(connection: MilterConnection, content: api.Content, position: int) -> api.MilterAnswer | None:
    while chunk := await content.read(position, api.milter.CHUNK):
        position += len(chunk)
        answer = await connection.ask(api.milter.body(chunk), _STEP.SILENT_BODY)
        if answer.kind == "skip":
            return None
        if answer.kind != "continue":
            return answer
    return None


def _lasting(answer: api.MilterAnswer) -> api.MilterAnswer | None:
    return None if answer.kind in ("continue", "skip") else answer


def _mail_parameters(envelope: api.Envelope) -> list[str]:
    found = [] if envelope.declared_size is None else [f"SIZE={envelope.declared_size}"]
    if envelope.body is api.Body.EIGHT_BIT_MIME:
        found.append(f"BODY={envelope.body.value}")
    return [*found, "SMTPUTF8"] if envelope.smtputf8 else found
