"""Reports about us, as they come by mail: a summary is kept, and the message is delivered like any other.

What looks like a report is remembered when it comes, and read only when it was accepted, one at a time and in a process
of its own (ATTACKS L14): neither a bad report nor a hundred large ones can hold up or refuse mail, or do harm.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from mailserver import api
from mailserver.plugins.dmarc_report import database
from mailserver.plugins.dmarc_report.settings import DmarcReportSettings

__all__ = ["TYPES", "Receiver"]

_log = structlog.get_logger()
_MAX_MESSAGE = 16 << 20
_MOST_WAITING, _MOST_OCTETS = 50, 64 << 20
#: Reports that were recognised, so that they are not counted; a few seconds' worth.
_MOST_KNOWN = 1_000
#: RFC 9990 §3.5.2, RFC 7489 §7.2.1.1, and what is seen in the wild.
TYPES = (
    "application/gzip", "application/x-gzip", "application/zip", "application/x-zip", "application/x-zip-compressed",
    "text/xml", "application/xml", "application/octet-stream",
)  # fmt: skip
_SUBJECT = b"report domain:"
_TLS_REPORT = b"tlsrpt"


class _Ignored(Exception):
    """In words."""


@dataclass(slots=True)
class _Waiting:
    octets: bytes
    listed: bool


class Receiver:
    """The hook and the observer."""

    def __init__(self, host: api.Host, settings: DmarcReportSettings, db: api.DatabaseThread) -> None:
        self._host = host
        self._db = db
        self._places = {api.EmailAddress.parse(text).key for text in settings.receive_at}
        self._waiting: dict[api.QueueId, _Waiting] = {}
        #: Messages that look like a report, and whether DMARC has proved their author.
        self._known: dict[api.QueueId, bool] = {}
        self._reader = api.Confined("mailserver.mime.dmarc_feedback", "feedback_json")

    def is_report(self, event: api.DmarcEvaluated) -> bool:
        """Whether this is a report of somebody who is who he says he is."""
        if event.queue_id not in self._known:
            return False
        self._known[event.queue_id] = event.passed
        return event.passed

    def message(self, ctx: api.MessageContext) -> Awaitable[None] | None:
        """Remember what looks like a report: nothing is decided here."""
        if ctx.session.account is not None or ctx.envelope.own:
            return None
        listed = any(one.address.key in self._places for one in ctx.envelope.recipients) if self._places else False
        named = _is_report(ctx.message)
        if not listed and not named:
            return None
        if named:
            if len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[ctx.queue_id] = False
        if _is_tls_report(ctx.message):
            return None
        if ctx.content.size > _MAX_MESSAGE:
            _log.info("dmarc_report.ignored", id=ctx.queue_id, reason=f"it has more than {_MAX_MESSAGE} octets")
            return None
        return self._remember(ctx, listed)

    async def _remember(self, ctx: api.MessageContext, listed: bool) -> None:
        try:
            octets = await ctx.content.read(0, ctx.content.size)
        except api.MailError as error:
            _log.warning("dmarc_report.lost", id=ctx.queue_id, reason=error.for_operator)
            return
        # Those that were refused in the end are the oldest here.
        while self._waiting and (
            len(self._waiting) >= _MOST_WAITING
            or len(octets) + sum(len(one.octets) for one in self._waiting.values()) > _MOST_OCTETS
        ):
            del self._waiting[next(iter(self._waiting))]
        self._waiting[ctx.queue_id] = _Waiting(octets, listed)

    def accepted(self, event: api.Accepted) -> Awaitable[None] | None:
        """Read it now."""
        proved = self._known.pop(event.queue_id, False)
        found = self._waiting.pop(event.queue_id, None)
        return None if found is None else self._read(event, found, proved)

    async def _read(self, event: api.Accepted, waiting: _Waiting, proved: bool) -> None:
        try:
            report = await self._report(waiting.octets)
            domain = report["domain"]
            if not waiting.listed and self._host.directory.domain(domain) is None:
                raise _Ignored("it is about no domain that is served here")
            new = await self._db.run(database.write_received, self._row(report, proved))
            if new is None:
                raise _Ignored("too many reports came within a day")
        except (_Ignored, api.ConfinedFailed, api.MailError) as error:
            _log.info("dmarc_report.ignored", id=event.queue_id, peer=event.peer, reason=str(error))
            return
        if new:
            who, failed = report["organisation"], report["failed"]
            _log.info("dmarc_report.received", id=event.queue_id, reporter=who, domain=domain, failed=failed)

    async def _report(self, octets: bytes) -> dict[str, Any]:
        """Raises _Ignored, ConfinedFailed, MailError."""
        part = await self._db.aside(api.find_part, octets, TYPES)
        if part is None:
            raise _Ignored("no file is attached")
        report: dict[str, Any] = orjson.loads(await self._reader.run(part[1]))
        if "fault" in report:
            raise _Ignored(report["fault"])
        return report

    def _row(self, report: dict[str, Any], proved: bool) -> dict[str, Any]:
        same = (
            "organisation", "contact", "domain", "p", "begins", "ends", "messages", "failed", "refused", "quarantined",
        )  # fmt: skip
        return {name: report[name] for name in same} | {
            "at": self._host.clock.time(), "report_id": report["id"], "proved": int(proved),
            "unlisted": report["left"], "rows": orjson.dumps(report["rows"]).decode(),
        }  # fmt: skip


def _is_report(message: api.MessageView) -> bool:
    """By the subject (RFC 9990 §3.5.2), which those of TLS have, too."""
    return (message.value(b"subject") or b"").strip().lower().startswith(_SUBJECT)


def _is_tls_report(message: api.MessageView) -> bool:
    value = message.value(b"content-type")
    return value is not None and _TLS_REPORT in value.lower()
