"""TLS reports (RFC 8460): what became of TLS with other servers is told to those who ask, and what others tell is read.

`counting.py` makes rows, `record.py` finds out who wants them, `report.py` writes them, `reading.py` reads those of
others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import Field

from mailserver import api
from mailserver.plugins.aggregate_reports.document import Heading
from mailserver.plugins.aggregate_reports.kind import Counted, Found, Kind, Limits, Received
from mailserver.plugins.aggregate_reports.running import reporting
from mailserver.plugins.aggregate_reports.settings import AggregateReportSettings
from mailserver.plugins.aggregate_reports.targets import Target
from mailserver.plugins.aggregate_reports.tlsrpt.counting import counted, without_details
from mailserver.plugins.aggregate_reports.tlsrpt.reading import read_message
from mailserver.plugins.aggregate_reports.tlsrpt.record import own_record, read_records
from mailserver.plugins.aggregate_reports.tlsrpt.report import FORM, lines, policies, report_json

__all__ = ["TlsReportSettings", "plugin"]

_NAME = "tlsrpt"


class TlsReportSettings(AggregateReportSettings):
    """[plugins.tlsrpt]"""

    send: bool = Field(True, description="Tell other domains every day how TLS with their servers went, if they ask.")


class TlsReports(Kind):
    """A row is a policy with sessions that went well, or that failed for the same reason."""

    name = _NAME
    form = FORM
    limits = Limits(rows=2_000, day=2_000, kept=20_000, shown=500)
    # RFC 8460 §3.
    one_is_enough = True

    def counted(self, event: api.Event) -> Counted | None:
        """Connections to other servers, but for our own mail: a report must not cause the next (ATTACKS F08)."""
        return None if not isinstance(event, api.TlsAttempted) or event.own else counted(event)

    def coarser(self, facts: str) -> str:
        """The policy and the result, of which there are few."""
        return without_details(facts)

    async def targets(self, domain: str) -> tuple[Target, ...]:
        """In its record, by mail or HTTPS."""
        return read_records((await self.host.resolver.txt(f"_smtp._tls.{domain}")).records)

    def write(self, heading: Heading, found: Found) -> tuple[bytes, list[str]]:
        """JSON."""
        rows = policies(found.rows)
        return report_json(heading, rows), lines(rows)

    def told(self, found: Found) -> Mapping[str, Any]:
        """The same by policy."""
        return {"policies": policies(found.rows)}

    def recognise(self, ctx: api.MessageContext, *, listed: bool) -> bool:
        """By its type."""
        return listed or b"tlsrpt" in (ctx.message.value(b"content-type") or b"").lower()

    async def read(self, message: bytes, thread: api.DatabaseThread, *, proved: bool) -> Received:
        """In a thread, where JSON does no harm."""
        return await thread.aside(read_message, message)

    def is_ours(self, domain: str) -> bool:
        """Of DANE, the policy is that of the mail server's name."""
        return super().is_ours(domain) or domain == self.host.hostname.lower()

    def own_records(self, domain: str, address: api.EmailAddress) -> Sequence[tuple[str, str]]:
        """One."""
        return [own_record(domain, str(address))]

    def is_record(self, text: bytes) -> bool:
        """Of this version."""
        return text.startswith(b"v=TLSRPTv1")

    def is_enough(self, published: Sequence[bytes], text: str) -> bool:
        """Whether it names a place."""
        return bool(read_records(published))


plugin = api.Plugin(
    name=_NAME, setup=partial(reporting, TlsReports), settings=TlsReportSettings,
    doc="Reports to other domains how TLS with them goes, and reads their reports about us.",
)  # fmt: skip
