"""What `mailserver report` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailserver import api
from mailserver.plugins.aggregate_reports import database
from mailserver.plugins.aggregate_reports.collecting import Collector
from mailserver.plugins.aggregate_reports.kind import Kind
from mailserver.plugins.aggregate_reports.sending import Reporter

__all__ = ["Operations"]

_MOST_DOMAINS = 20


class Operations:
    """`….show` and `….send`."""

    def __init__(self, kind: Kind, db: api.DatabaseThread, collector: Collector, reporter: Reporter) -> None:
        self._kind = kind
        self._db = db
        self._collector = collector
        self._reporter = reporter

    async def show(self, arguments: Mapping[str, Any]) -> Any:
        """What others report of us and we of others, the newest first; and the records by which reports come."""
        text = api.text_argument(arguments, "domain")
        domain = api.normalize_domain(text) if text else ""
        await self._collector.flush()
        return {
            "received": await self._db.run(database.received, domain, self._kind.limits.shown),
            "sent": await self._db.run(database.sent, self._kind, domain),
            "records": [row for name in self._domains(domain) for row in await self._records(name)],
            **await self._db.run(self._kind.summed_up, domain, arguments),
        }

    def _domains(self, domain: str) -> list[str]:
        served = self._kind.host.directory.domains()
        return [one.name for one in served if not domain or one.name == domain][:_MOST_DOMAINS]

    async def _records(self, domain: str) -> list[dict[str, Any]]:
        listed = [api.EmailAddress.parse(text) for text in self._kind.settings.receive_at]
        own = [address for address in listed if address.domain == domain]
        address = next(iter(own + listed), api.EmailAddress(local="postmaster", domain=domain))
        return [await self._record(name, text) for name, text in self._kind.own_records(domain, address)]

    async def _record(self, name: str, text: str) -> dict[str, Any]:
        try:
            answer = await self._kind.host.resolver.txt(name)
        except api.LookupFailed:
            return {"name": name, "text": text, "published": None, "asks": False}
        published = [record for record in answer.records if self._kind.is_record(record)]
        return {
            "name": name, "text": text, "asks": self._kind.is_enough(published, text),
            "published": [record.decode("latin-1") for record in published],
        }  # fmt: skip

    async def send(self, arguments: Mapping[str, Any]) -> Any:
        """Send the reports whose time has come, without waiting for the next look."""
        return {"due": await self._reporter.once()}
