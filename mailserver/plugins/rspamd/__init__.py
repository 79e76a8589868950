"""Asks Rspamd what it thinks of a message, in its own protocol (POST /checkv2), and does what its action says.

What it found stands among the reasons for and against the message, so `why` shows it, and counts a little.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import structlog

from mailserver import api
from mailserver.plugins.rspamd.answer import BadAnswer, RspamdAnswer, header_changes, read_answer
from mailserver.plugins.rspamd.settings import RspamdSettings

__all__ = ["plugin"]

_log = structlog.get_logger()
_MAX_ANSWER = 4 << 20
_TIMEOUT = 60.0
_JUNK = ("add header", "rewrite subject", "quarantine")


class RspamdFailed(Exception):
    """The plugin's `on_error` says what follows."""


class _Rspamd:
    """The hook."""

    def __init__(self, settings: RspamdSettings, host: api.Host, web: api.ServiceWeb) -> None:
        self._settings = settings
        self._host = host
        self._web = web

    def message(self, ctx: api.MessageContext) -> Awaitable[api.Verdict | None] | None:
        """Before 250."""
        session = ctx.session
        if session.service not in self._settings.services or (session.trusted and session.account is None):
            return None
        return None if ctx.content.size > self._settings.max_size else self._message(ctx)

    async def _message(self, ctx: api.MessageContext) -> api.Verdict | None:
        try:
            answer = await self._web.post(
                "/checkv2", ctx.content, self._told(ctx), most=_MAX_ANSWER, within=_TIMEOUT
            )
            if answer.status != 200:
                raise BadAnswer(f"status {answer.status}")
            found = read_answer(answer.body)
        except (api.WebFailed, BadAnswer) as error:
            _log.warning("Rspamd gave no answer", error=str(error))
            raise RspamdFailed from None
        return self._verdict(found, ctx)

    def _told(self, ctx: api.MessageContext) -> list[tuple[str, str]]:
        session, sender = ctx.session, ctx.envelope.sender
        told = [("Queue-Id", ctx.queue_id), ("MTA-Name", self._host.hostname), ("From", f"<{sender or ''}>")]
        told += [("Rcpt", f"<{recipient.address}>") for recipient in ctx.envelope.recipients]
        if session.user:
            told.append(("IP", "127.0.0.1"))
        else:
            told += [("IP", session.peer), ("Helo", session.helo)]
        name = next((one.value("policy.ptr") for one in ctx.findings.of("iprev") if one.result == "pass"), "")
        if name:
            told.append(("Hostname", name))
        if session.account is not None:
            told.append(("User", session.account))
        if session.tls:
            told += [("TLS-Version", session.tls), ("TLS-Cipher", session.tls_cipher)]
        return told

    def _verdict(self, found: RspamdAnswer, ctx: api.MessageContext) -> api.Verdict:
        findings = api.Findings((), self._reasons(found))
        why = f"Rspamd: {found.action} ({found.score:.1f} points)"
        if found.action == "reject" or found.milter.get("reject") == "discard":
            reply = api.Reply(554, "5.7.1", found.message or "The message looks like junk")
            return api.Reject(reply, reason=why, findings=findings)
        if found.action == "soft reject" or (found.action == "greylist" and self._settings.greylist):
            reply = api.Reply(451, "4.7.1", found.message or "Try again later")
            return api.Defer(reply, reason=why, findings=findings)
        changes = header_changes(found, ctx.message.head)
        if found.action not in _JUNK and found.milter.get("reject") != "quarantine":
            return api.Accept(findings=findings, changes=changes)
        if ctx.session.account is not None:
            # What a user sends has no Junk to go to.
            reply = api.Reply(550, "5.7.1", found.message or "The message looks like junk, and is not sent")
            return api.Reject(reply, reason=why, findings=findings)
        return api.Quarantine(why, findings=findings, changes=changes)

    def _reasons(self, found: RspamdAnswer) -> tuple[api.Reason, ...]:
        weight = self._settings.weight
        reasons = [
            api.Reason("rspamd", round(score * weight, 2), f"Rspamd: {words or name}" + (f" ({name})" if words else ""))
            for name, score, words in found.symbols
        ]
        rest = found.score - sum(score for _, score, _ in found.symbols)
        if abs(rest) >= 0.05 and weight:
            reasons.append(api.Reason("rspamd", round(rest * weight, 2), "Rspamd: other signs"))
        return tuple(reasons)


@asynccontextmanager
async def _setup(registry: api.Registry, settings: RspamdSettings, host: api.Host) -> AsyncIterator[None]:
    if not settings.address:
        yield
        return
    endpoint = api.Endpoint.parse(settings.address)
    async with api.ServiceWeb(endpoint, host.resolver, most_at_once=settings.most_at_once) as web:
        registry.on_message(_Rspamd(settings, host, web).message)
        yield


plugin = api.Plugin(
    name="rspamd", setup=_setup, settings=RspamdSettings, timeout=90.0, doc="Asks Rspamd what it thinks of a message."
)
