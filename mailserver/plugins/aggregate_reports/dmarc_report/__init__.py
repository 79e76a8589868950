"""Aggregate reports of DMARC (RFC 9990): what came in a domain's name is told to it if it asks, and what others tell of
our domains is read.

`counting.py` makes rows, `record.py` finds out who wants them, `feedback.py` writes them, `recognising.py` knows those
of others, `sources.py` adds them up. In `plugin_order` it stands before DMARC, so that it knows reports when DMARC
tells of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from pydantic import Field

from mailserver import api
from mailserver.plugins.aggregate_reports.dmarc_report.counting import facts, policy
from mailserver.plugins.aggregate_reports.dmarc_report.feedback import FORM, lines, xml
from mailserver.plugins.aggregate_reports.dmarc_report.recognising import TYPES, Recognised
from mailserver.plugins.aggregate_reports.dmarc_report.record import confirmed, own_records, read_targets
from mailserver.plugins.aggregate_reports.dmarc_report.sources import sources
from mailserver.plugins.aggregate_reports.document import Heading
from mailserver.plugins.aggregate_reports.kind import Counted, Found, Kind, Limits, Received, ReceivedPart
from mailserver.plugins.aggregate_reports.running import reporting
from mailserver.plugins.aggregate_reports.settings import AggregateReportSettings
from mailserver.plugins.aggregate_reports.targets import Target

__all__ = ["DmarcReportSettings", "plugin"]

_NAME = "dmarc_report"
_MOST_ROWS = 100


class DmarcReportSettings(AggregateReportSettings):
    """[plugins.dmarc_report]"""

    send: bool = Field(
        True,
        description="Tell other domains every day what came here in their name, if they ask: from which servers, how"
        " much, and whether it was proved. No address of a person is in it. Off: it is not counted either.",
    )


class DmarcReports(Kind):
    """A row is a kind of mail: from one server, in one name, with one outcome."""

    name = _NAME
    form = FORM
    limits = Limits(rows=5_000, day=1_000, kept=5_000, shown=200)
    null_return_path = True

    def __init__(self, host: api.Host, settings: AggregateReportSettings) -> None:
        super().__init__(host, settings)
        self._recognised = Recognised()
        self._reader = api.Confined("mailserver.mime.dmarc_feedback", "feedback_json")

    def counted(self, event: api.Event) -> Counted | None:
        """Mail of domains that ask for reports (RFC 9990 §3.1), reports aside (ATTACKS F08)."""
        if not isinstance(event, api.DmarcEvaluated) or self._recognised.is_report(event):
            return None
        if not self.settings.send or not event.rua:
            return None
        return Counted(event.policy_domain, orjson.dumps(facts(event)).decode(), orjson.dumps(policy(event)).decode())

    async def targets(self, domain: str) -> tuple[Target, ...]:
        """In its record, by mail only."""
        record = api.find_dmarc((await self.host.resolver.txt(f"_dmarc.{domain}")).records)
        return read_targets(record.rua) if record is not None else ()

    async def places(self, domain: str, target: Target) -> tuple[Target, ...]:
        """If that agrees."""
        return await confirmed(self.host.resolver, domain, target)

    def write(self, heading: Heading, found: Found) -> tuple[bytes, list[str]]:
        """XML."""
        return xml(heading, found), lines(found.rows)

    def told(self, found: Found) -> Mapping[str, Any]:
        """The rows with most messages."""
        messages = found.lost + sum(row["count"] for row in found.rows)
        return {"messages": messages, "rows": found.rows[:_MOST_ROWS]}

    def recognise(self, ctx: api.MessageContext, *, listed: bool) -> bool:
        """By its subject."""
        return self._recognised.look(ctx.queue_id, ctx.message, listed=listed)

    def proved(self, queue_id: api.QueueId) -> bool:
        """By DMARC."""
        return self._recognised.forget(queue_id)

    async def read(self, message: bytes, thread: api.DatabaseThread, *, proved: bool) -> Received:
        """In a process of its own (ATTACKS L14)."""
        part = await thread.aside(api.find_part, message, TYPES)
        if part is None:
            raise api.BadFile("no file is attached")
        found: dict[str, Any] = orjson.loads(await self._reader.run(part[1]))
        if "fault" in found:
            raise api.BadFile(found["fault"])
        kept = ("p", "messages", "failed", "refused", "quarantined", "rows")
        told = {name: found[name] for name in kept} | {"unlisted": found["left"], "proved": proved}
        return Received(
            organisation=found["organisation"], contact=found["contact"], id=found["id"], begins=found["begins"],
            ends=found["ends"], doubtful=not proved,
            parts=(ReceivedPart(domain=found["domain"], failed=found["failed"], facts=told),),
        )  # fmt: skip

    def summed_up(self, db: sqlite3.Connection, domain: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """What others report by source, if that is asked."""
        return {"sources": sources(db, domain) if arguments.get("sources", False) else []}

    def own_records(self, domain: str, address: api.EmailAddress) -> Sequence[tuple[str, str]]:
        """That of the domain, and that of another by which it agrees."""
        return own_records(domain, address)

    def is_record(self, text: bytes) -> bool:
        """Of DMARC."""
        return api.find_dmarc([text]) is not None

    def is_enough(self, published: Sequence[bytes], text: str) -> bool:
        """Whether it asks for reports, where it should."""
        record = api.find_dmarc(published)
        return record is not None and ("rua=" not in text or bool(record.rua))


plugin = api.Plugin(
    name=_NAME, setup=partial(reporting, DmarcReports), settings=DmarcReportSettings,
    doc="Reports to other domains what came in their name (DMARC), and reads their reports about yours.",
)  # fmt: skip
