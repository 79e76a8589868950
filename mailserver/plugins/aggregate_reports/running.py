"""The setup of a plugin for one kind of report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from mailserver import api
from mailserver.plugins.aggregate_reports.collecting import Collector
from mailserver.plugins.aggregate_reports.database import open_database
from mailserver.plugins.aggregate_reports.kind import Kind
from mailserver.plugins.aggregate_reports.operations import Operations
from mailserver.plugins.aggregate_reports.receiving import Receiver
from mailserver.plugins.aggregate_reports.sending import Reporter
from mailserver.plugins.aggregate_reports.settings import AggregateReportSettings

__all__ = ["reporting"]


@asynccontextmanager
async def reporting(
    make: type[Kind], registry: api.Registry, settings: AggregateReportSettings, host: api.Host
) -> AsyncIterator[None]:
    """All that a plugin has, as long as it runs."""
    kind = make(host, settings)
    async with api.database_thread(host.data_dir / ".server" / f"{kind.name}.db", open_database) as db:
        collector = Collector(kind, db, host.clock, host.hostname, settings.delay)
        reporter = Reporter(kind, db, collector)
        receiver = Receiver(kind, db)
        operations = Operations(kind, db, collector, reporter)
        registry.event_sink(collector.observe)
        registry.on_message(receiver.message)
        registry.observe(api.Accepted, receiver.accepted)
        registry.operation(f"{kind.name}.show", operations.show)
        registry.operation(f"{kind.name}.send", operations.send)
        sending = asyncio.create_task(reporter.run(), name=kind.name)
        try:
            yield
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            await collector.flush()
