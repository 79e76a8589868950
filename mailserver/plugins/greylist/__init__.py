"""Mail of unknown senders that looks bad is asked to come again in a while (RFC 6647): most of what is junk never does.

Only such mail. Who is known here, proves his domain, or sends a code that somebody waits for is never held up. Servers
are known by the domain that SPF proves where there is one, since large ones come from another address each time.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import structlog

from mailserver import api
from mailserver.plugins.greylist.database import Meeting, Met
from mailserver.plugins.greylist.ledger import Ledger, open_ledger
from mailserver.plugins.greylist.settings import GreylistSettings
from mailserver.plugins.greylist.urgent import is_urgent

__all__ = ["plugin"]

_log = structlog.get_logger()
_CHECK = "greylist"
#: Recipients of one message by whom it is known again.
_MOST_RECIPIENTS = 10
#: What may change in a return address from one attempt to the next (VERP, BATV).
_CHANGING = re.compile(r"[0-9]+|[=+].*", re.DOTALL)
_FOLDERS = frozenset(("", "Junk", "Rejects", "Trash"))


class _Greylist:
    """The hook, and what is learned."""

    def __init__(self, settings: GreylistSettings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._in_tar = 0

    def message(self, ctx: api.MessageContext) -> Awaitable[api.Verdict | None] | None:
        """After all checks of what does not depend on the recipient."""
        score, below = ctx.findings.score, self._settings.below
        doubtful = score >= self._settings.points and (not below or score < below)
        return self._judge(ctx) if doubtful and ctx.session.from_stranger else None

    async def _judge(self, ctx: api.MessageContext) -> api.Verdict | None:
        authors = [author.address for author in ctx.message.authors if author.address is not None]
        if any(ctx.findings.proves(author.domain) for author in authors):
            return None
        meeting = _meeting(ctx, authors)
        if meeting is None or _urgent(ctx.message):
            return None
        try:
            answer = await self._ledger.meet(meeting)
        except api.StorageFailure as error:
            _log.warning("greylist: unknown", id=ctx.queue_id, error=error.for_operator)
            return None
        if answer.met is Met.KNOWN:
            return None
        await self._tar()
        if answer.met is Met.CAME_AGAIN:
            return _accept(f"It was asked to come again, and did after {_minutes(answer.seconds)}")
        wait = self._settings.delay - answer.seconds
        words = f"You are not known here yet; please come again in {_minutes(wait)} (greylisting)"
        text = "Nobody here knows its sender, nothing proves who that is, and it looks like junk"
        text += f"; so its server was asked to come again in {_minutes(wait)}"
        found = api.Reason(_CHECK, 0.0, text, "Real mail servers do that by themselves")
        return api.Defer(api.Reply(451, "4.7.1", words), "greylisted", findings=api.Findings((), (found,)))

    async def _tar(self) -> None:
        if self._settings.tarpit and self._in_tar < self._settings.tarpits:
            self._in_tar += 1
            try:
                await asyncio.sleep(self._settings.tarpit)
            finally:
                self._in_tar -= 1

    def event(self, event: api.Event) -> None:
        """Whom our users write to, and whose mail went to an inbox."""
        if isinstance(event, api.Accepted):
            if event.account:
                for recipient in event.recipients:
                    self._ledger.note_written(recipient.lower())
        elif isinstance(event, api.Judged) and self._wanted(event):
            source = _source(event.peer, event.findings)
            if source and event.sender:
                self._ledger.note_known(source, event.sender.rpartition("@")[2].lower())

    def _wanted(self, event: api.Judged) -> bool:
        # What looks bad and passed for another reason makes nobody known.
        good = event.findings.score < (self._settings.points or 1.0)
        return good and not event.refused and event.mailbox not in _FOLDERS


def _meeting(ctx: api.MessageContext, authors: list[api.EmailAddress]) -> Meeting | None:
    source, sender = _source(ctx.session.peer, ctx.findings), ctx.envelope.sender
    if not source:
        return None
    local = _CHANGING.sub("#", sender.local.lower()) if sender is not None else ""
    claimed = [sender, *authors] if sender is not None else authors
    return Meeting(
        source=source, sender=f"{local}@{sender.domain}" if sender is not None else "",
        domain=sender.domain if sender is not None else ctx.session.helo.lower()[:255],
        recipients=tuple(sorted(one.address.key for one in ctx.envelope.recipients)[:_MOST_RECIPIENTS]),
        addresses=tuple(dict.fromkeys(address.key for address in claimed)),
    )  # fmt: skip


def _source(peer: str, findings: api.Findings) -> str:
    """A domain that SPF proves, else the network: IPv4 /24, IPv6 /64. "" for neither."""
    for result in findings.of("spf"):
        if result.result == "pass":
            named = result.value("smtp.mailfrom").rpartition("@")[2].lower()
            if named:
                return named
    address = api.parse_ip(peer)
    if address is None:
        return ""
    return str(ipaddress.ip_network(f"{address}/{24 if address.version == 4 else 64}", strict=False))


def _urgent(message: api.MessageView) -> bool:
    subject = message.value(b"subject") or b""
    return is_urgent(api.decode_words(subject), api.first_words(message.head) or "")


def _accept(text: str) -> api.Verdict:
    return api.Accept(findings=api.Findings((), (api.Reason(_CHECK, 0.0, text),)))


def _minutes(seconds: float) -> str:
    minutes = max(1, -int(-seconds // 60))
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


@asynccontextmanager
async def _setup(registry: api.Registry, settings: GreylistSettings, host: api.Host) -> AsyncIterator[None]:
    async with open_ledger(host.data_dir / ".server" / "greylist.db", host.clock, settings) as ledger:
        greylist = _Greylist(settings, ledger)
        registry.on_message(greylist.message)
        registry.event_sink(greylist.event)
        yield


plugin = api.Plugin(
    name="greylist", on_error="skip", setup=_setup, settings=GreylistSettings, timeout=60.0,
    doc="Asks unknown senders whose mail looks bad to come again.",
)  # fmt: skip
