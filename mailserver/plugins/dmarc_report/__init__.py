"""Aggregate reports of DMARC (RFC 9990): what came in a domain's name is told to it if it asks, and what others tell of
our domains is read.

`collecting.py` counts, `sending.py` sends a day's reports (`record.py`: where to; `feedback.py`: what), `receiving.py`
takes in those of others, `operations.py` shows them all. In `plugin_order` it stands before DMARC, so that it knows
reports when DMARC tells of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from mailserver import api
from mailserver.plugins.dmarc_report.collecting import Collector
from mailserver.plugins.dmarc_report.database import open_database
from mailserver.plugins.dmarc_report.operations import Operations
from mailserver.plugins.dmarc_report.receiving import Receiver
from mailserver.plugins.dmarc_report.sending import Reporter
from mailserver.plugins.dmarc_report.settings import DmarcReportSettings

__all__ = ["plugin"]


@asynccontextmanager
async def _setup(registry: api.Registry, settings: DmarcReportSettings, host: api.Host) -> AsyncIterator[None]:
    async with api.database_thread(host.data_dir / ".server" / "dmarc_report.db", open_database) as db:
        collector = Collector(db, host.clock, host.hostname, settings.delay)
        reporter = Reporter(host, settings, db, collector)
        receiver = Receiver(host, settings, db)
        operations = Operations(host, settings, db, collector, reporter)

        def observe(event: api.Event) -> None:
            # A report about the mail that carried a report would lead to the next one, for ever (ATTACKS F08).
            if isinstance(event, api.DmarcEvaluated) and not receiver.is_report(event) and settings.send:
                collector.observe(event)

        registry.event_sink(observe)
        registry.on_message(receiver.message)
        registry.observe(api.Accepted, receiver.accepted)
        registry.operation("dmarc_report.show", operations.show)
        registry.operation("dmarc_report.send", operations.send)
        sending = asyncio.create_task(reporter.run(), name="dmarc reports")
        try:
            yield
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            await collector.flush()


plugin = api.Plugin(
    name="dmarc_report", setup=_setup, settings=DmarcReportSettings,
    doc="Reports to other domains what came in their name (DMARC), and reads their reports about yours.",
)  # fmt: skip
