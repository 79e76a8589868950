"""Reports about us, as they come by mail: a summary is kept, and the message is delivered like any other.

What looks like a report is remembered when it comes, and read only when it was accepted, one at a time and in the
database's thread: neither a bad report nor a hundred large ones can hold up or refuse mail.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable

import orjson
import structlog

from mailserver import api
from mailserver.plugins.tlsrpt.reading import MAX_MESSAGE, ReceivedReport, Unreadable, read_message
from mailserver.plugins.tlsrpt.settings import TlsReportSettings

__all__ = ["Receiver", "write_received"]

_log = structlog.get_logger()
_MOST_WAITING, _MOST_OCTETS = 50, 64 << 20
_MOST_RECEIVED = 20_000
#: Policies in reports.
MOST_A_DAY = 2_000


class Receiver:
    """The hook and the observer."""

    def __init__(self, host: api.Host, settings: TlsReportSettings, db: api.DatabaseThread) -> None:
        self._host = host
        self._db = db
        self._places = {api.EmailAddress.parse(text).key for text in settings.receive_at}
        self._waiting: dict[api.QueueId, tuple[bytes, bool]] = {}

    def message(self, ctx: api.MessageContext) -> Awaitable[None] | None:
        """Remember what looks like a report: nothing is decided here."""
        if ctx.session.account is not None or ctx.envelope.own:
            return None
        listed = any(one.address.key in self._places for one in ctx.envelope.recipients) if self._places else False
        if not listed and not _is_report(ctx.message):
            return None
        if ctx.content.size > MAX_MESSAGE:
            _log.info("tlsrpt.report_ignored", id=ctx.queue_id, reason=f"it has more than {MAX_MESSAGE} octets")
            return None
        return self._remember(ctx, listed)

    async def _remember(self, ctx: api.MessageContext, listed: bool) -> None:
        try:
            octets = await ctx.content.read(0, ctx.content.size)
        except api.MailError as error:
            _log.warning("tlsrpt.report_lost", id=ctx.queue_id, reason=error.for_operator)
            return
        # Those that were refused in the end are the oldest here.
        while self._waiting and (
            len(self._waiting) >= _MOST_WAITING
            or len(octets) + sum(len(one) for one, _ in self._waiting.values()) > _MOST_OCTETS
        ):
            del self._waiting[next(iter(self._waiting))]
        self._waiting[ctx.queue_id] = octets, listed

    def accepted(self, event: api.Accepted) -> Awaitable[None] | None:
        """Read it now."""
        found = self._waiting.pop(event.queue_id, None)
        return None if found is None else self._read(event, *found)

    async def _read(self, event: api.Accepted, octets: bytes, listed: bool) -> None:
        try:
            report = await self._db.aside(read_message, octets)
            rows = self._rows(report, listed)
            if not rows:
                raise Unreadable("it is about no domain that is served here")
            new = await self._db.run(write_received, rows)
        except (Unreadable, api.MailError) as error:
            _log.info("tlsrpt.report_ignored", id=event.queue_id, peer=event.peer, reason=str(error))
            return
        failed = sum(policy.bad for policy in report.policies)
        if new:
            _log.info("tlsrpt.report", id=event.queue_id, reporter=report.organisation, failed=failed)

    def _rows(self, report: ReceivedReport, listed: bool) -> list[tuple[object, ...]]:
        now = self._host.clock.time()
        return [
            (
                now, report.organisation, report.contact, report.id, number, report.begins, report.ends, policy.domain,
                policy.type, policy.good, policy.bad, orjson.dumps(policy.failures).decode(),
            )
            for number, policy in enumerate(report.policies)
            if listed or self._is_ours(policy.domain)
        ]  # fmt: skip

    def _is_ours(self, domain: str) -> bool:
        # Of DANE, the policy is that of the mail server's name.
        return self._host.directory.domain(domain) is not None or domain == self._host.hostname.lower()


def _is_report(message: api.MessageView) -> bool:
    return b"tlsrpt" in (message.value(b"content-type") or b"").lower()


def write_received(db: sqlite3.Connection, rows: list[tuple[object, ...]]) -> int:
    """Add a report's policies; how many are new (RFC 8460 §5.3: duplicates are known by the report's id).

    Raises Unreadable: too much came in a day. Then what came before it stays, whoever sends all that.
    """
    (at, *_), before = rows[0], db.total_changes
    (today,) = db.execute("SELECT count(*) FROM received WHERE at > ? - 86400", (at,)).fetchone()
    if today >= MOST_A_DAY:
        raise Unreadable("too many reports came within a day")
    with api.transaction(db):
        db.executemany(
            "INSERT OR IGNORE INTO received (at, reporter, contact, report_id, number, begins, ends, domain, type,"
            " good, bad, failures) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        new = db.total_changes - before
        db.execute("DELETE FROM received WHERE id <= (SELECT max(id) FROM received) - ?", (_MOST_RECEIVED,))
    return new
