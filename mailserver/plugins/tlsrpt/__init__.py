"""TLS reports (RFC 8460): what became of TLS with other servers is told to those who ask, and what others tell is read.

`collecting.py` counts, `sending.py` sends a day's reports (`record.py`: where to; `report.py`: what; `identity.py`: in
whose name), `receiving.py` and `reading.py` take in those of others, `operations.py` shows them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from mailserver import api
from mailserver.plugins.tlsrpt.collecting import Collector
from mailserver.plugins.tlsrpt.database import open_database
from mailserver.plugins.tlsrpt.operations import Operations
from mailserver.plugins.tlsrpt.receiving import Receiver
from mailserver.plugins.tlsrpt.sending import Reporter
from mailserver.plugins.tlsrpt.settings import TlsReportSettings

__all__ = ["plugin"]


@asynccontextmanager
async def _setup(registry: api.Registry, settings: TlsReportSettings, host: api.Host) -> AsyncIterator[None]:
    async with api.database_thread(host.data_dir / ".server" / "tlsrpt.db", open_database) as db:
        collector = Collector(db, host.clock, host.hostname, settings.delay)
        reporter = Reporter(host, settings, db, collector)
        receiver = Receiver(host, settings, db)
        operations = Operations(host, settings, db, collector, reporter)
        registry.event_sink(collector.observe)
        registry.on_message(receiver.message)
        registry.observe(api.Accepted, receiver.accepted)
        registry.operation("tlsrpt.show", operations.show)
        registry.operation("tlsrpt.send", operations.send)
        sending = asyncio.create_task(reporter.run(), name="tls reports")
        try:
            yield
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            await collector.flush()


plugin = api.Plugin(
    name="tlsrpt", setup=_setup, settings=TlsReportSettings,
    doc="Reports to other domains how TLS with them goes, and reads their reports about us.",
)  # fmt: skip
