"""Filters that speak the milter protocol: Rspamd, OpenDKIM, clamav-milter, and many more, unchanged.

`connection.py` speaks with one of them, `conversation.py` knows what it was told of a session, `verdicts.py` turns its
answers into ours. All mail of a filter's services is shown to it, of trusted clients and of users who logged in as
well: what it is for, only the operator knows, and signing or looking for viruses are for those too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from mailserver import api
from mailserver.plugins.milter.connection import MilterAway, MilterFailed
from mailserver.plugins.milter.conversation import Conversation, Outcome
from mailserver.plugins.milter.settings import MilterSettings, OneMilter
from mailserver.plugins.milter.verdicts import changed, junk_field, quarantined, refusal

__all__ = ["plugin"]

_log = structlog.get_logger()
_AWAY = api.Reply(451, "4.3.0", "A filter of this server cannot be asked now, try again later")


class _Milter:
    """One filter, and its conversations by session, the one that was used last at the end."""

    def __init__(self, own: OneMilter, settings: MilterSettings, host: api.Host) -> None:
        self._own = own
        self._settings = settings
        self._host = host
        self._endpoint = api.Endpoint.parse(own.address)
        self._conversations: OrderedDict[api.SessionId, Conversation] = OrderedDict()
        self._rests_until = 0.0

    async def mail(self, ctx: api.MailContext) -> api.Verdict | None:
        """At MAIL."""
        return await self._ask(
            ctx.session, lambda conversation: _bare(conversation.mail(ctx.session, ctx.envelope, ctx.findings))
        )

    async def rcpt(self, ctx: api.RcptContext) -> api.Verdict | None:
        """At RCPT; addresses that are not there are refused anyway."""
        if not ctx.known:
            return None
        return await self._ask(ctx.session, lambda conversation: _bare(conversation.rcpt(ctx.recipient)))

    async def message(self, ctx: api.MessageContext) -> api.Verdict | None:
        """At the end of data."""
        return await self._ask(ctx.session, lambda conversation: conversation.message(ctx), ctx)

    async def _ask(
        self, session: api.Session, ask: Callable[[Conversation], Awaitable[Outcome]],
        ctx: api.MessageContext | None = None,
    ) -> api.Verdict | None:  # fmt: skip
        if session.service not in self._own.services:
            return None
        if self._host.clock.monotonic() < self._rests_until:
            # What it was told before is not the whole story any more.
            self.forget(session.session)
            return self._away("it failed a moment ago")
        try:
            conversation = self._conversation(session.session)
        except MilterFailed as error:
            return self._away(str(error))
        conversation.busy += 1
        try:
            answer, edits = await ask(conversation)
        except BaseException as error:
            # Whatever the filter was told last, nobody knows what it made of it.
            conversation.close()
            if not isinstance(error, MilterFailed):
                raise
            if isinstance(error, MilterAway):
                # Nothing else: a message on which it fails must not open the door to others.
                self._rests_until = self._host.clock.monotonic() + self._settings.rest
            _log.warning("a filter failed", milter=self._own.shown, error=str(error), on_error=self._own.on_error)
            return self._away(str(error))
        finally:
            conversation.busy -= 1
            if session.session not in self._conversations:
                conversation.close()
        return self._verdict(answer, edits, ctx)

    def _verdict(
        self, answer: api.MilterAnswer, edits: list[api.MilterEdit], ctx: api.MessageContext | None
    ) -> api.Verdict | None:
        shown = self._own.shown
        if ctx is None:
            return refusal(answer, shown)
        if answer.kind == "discard" and self._settings.discard == "junk":
            return quarantined("it wanted to drop it", shown, api.Accept(), ctx)
        refused = refusal(answer, shown)
        if refused is not None:
            return refused
        accepted, why = changed(edits, shown)
        if why is not None:
            return quarantined(why, shown, accepted, ctx)
        mark = junk_field(accepted, self._settings.junk_fields) if ctx.session.account is None else ""
        if mark:
            words = f"The filter {shown} says that it is junk ({mark})"
            findings = api.Findings((), (api.Reason("milter", 0.0, words),))
            return api.Quarantine(words, findings=findings, changes=accepted.changes, body=accepted.body)
        return accepted if edits else None

    def _away(self, why: str) -> api.Verdict | None:
        if self._own.on_error == "skip":
            return None
        text = f"The filter {self._own.shown} could not be asked: {why}"
        return api.Defer(_AWAY, reason=text, findings=api.Findings((), (api.Reason("milter", 0.0, text),)))

    def _conversation(self, session: api.SessionId) -> Conversation:
        found = self._conversations.get(session)
        if found is None:
            if len(self._conversations) >= self._settings.most_connections:
                idle = next((key for key, one in self._conversations.items() if not one.busy), None)
                if idle is None:
                    raise MilterFailed("all its connections are in use (most_connections)")
                self._conversations.pop(idle).close()
            found = Conversation(self._endpoint, self._host.resolver, self._settings, self._host.hostname)
            self._conversations[session] = found
        self._conversations.move_to_end(session)
        return found

    def forget(self, session: api.SessionId) -> None:
        """The session has ended."""
        found = self._conversations.pop(session, None)
        if found is not None and not found.busy:
            found.close()

    def close(self) -> None:
        """The plugin ends."""
        for session in list(self._conversations):
            self.forget(session)


async def _bare(answer: Awaitable[api.MilterAnswer]) -> Outcome:
    return await answer, []


@asynccontextmanager
async def _setup(registry: api.Registry, settings: MilterSettings, host: api.Host) -> AsyncIterator[None]:
    milters = [_Milter(own, settings, host) for own in settings.milters]
    for milter in milters:
        registry.on_mail(milter.mail)
        registry.on_rcpt(milter.rcpt)
        registry.on_message(milter.message)

    def sink(event: api.Event) -> None:
        """Observers may miss an event when there are very many; a connection would stay open then."""
        if isinstance(event, api.SessionClosed):
            for milter in milters:
                milter.forget(event.session)

    if milters:
        registry.event_sink(sink)
    try:
        yield
    finally:
        for milter in milters:
            milter.close()


plugin = api.Plugin(
    name="milter", setup=_setup, settings=MilterSettings, timeout=600.0,
    doc="Asks filters that speak the milter protocol, such as OpenDKIM, clamav-milter or Rspamd's proxy.",
)  # fmt: skip
