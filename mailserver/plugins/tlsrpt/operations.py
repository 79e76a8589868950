"""What `mailserver report tls` asks for."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import orjson

from mailserver import api
from mailserver.plugins.tlsrpt import database
from mailserver.plugins.tlsrpt.collecting import Collector
from mailserver.plugins.tlsrpt.record import own_record
from mailserver.plugins.tlsrpt.sending import Reporter
from mailserver.plugins.tlsrpt.settings import TlsReportSettings

__all__ = ["Operations"]

_MOST = 500
_MOST_DOMAINS = 20


class Operations:
    """tlsrpt.show and tlsrpt.send."""

    def __init__(
        self, host: api.Host, settings: TlsReportSettings, db: api.DatabaseThread, collector: Collector,
        reporter: Reporter,
    ) -> None:  # fmt: skip
        self._host = host
        self._settings = settings
        self._db = db
        self._collector = collector
        self._reporter = reporter

    async def show(self, arguments: Mapping[str, Any]) -> Any:
        """What others report of us and we of others, the newest first; and the records by which reports come."""
        text = arguments.get("domain", "")
        if not isinstance(text, str):
            raise ValueError("domain must be text")
        domain = api.normalize_domain(text) if text else ""
        await self._collector.flush()
        return {
            "received": await self._db.run(_received, domain),
            "sent": await self._db.run(_sent, domain),
            "records": [await self._record(name) for name in self._domains(domain)],
        }

    def _domains(self, domain: str) -> list[str]:
        names = [one.name for one in self._host.directory.domains() if not domain or one.name == domain]
        return names[:_MOST_DOMAINS]

    async def _record(self, domain: str) -> dict[str, Any]:
        listed = [api.EmailAddress.parse(text) for text in self._settings.receive_at]
        own = [address for address in listed if address.domain == domain]
        address = next(iter(own + listed), api.EmailAddress(local="postmaster", domain=domain))
        name, text = own_record(domain, str(address))
        try:
            found = (await self._host.resolver.txt(name)).records
            published = [record.decode("latin-1") for record in found if record.startswith(b"v=TLSRPTv1")]
        except api.LookupFailed:
            return {"name": name, "text": text, "published": None}
        return {"name": name, "text": text, "published": published}

    async def send(self, arguments: Mapping[str, Any]) -> Any:
        """Send the reports whose time has come, without waiting for the next look."""
        return {"due": await self._reporter.once()}


def _received(db: sqlite3.Connection, domain: str) -> list[dict[str, Any]]:
    rows = database.select(
        db,
        "SELECT at, reporter, contact, report_id, begins, ends, domain, type, good, bad, failures FROM received"
        " WHERE ? IN ('', domain) ORDER BY begins DESC, id DESC LIMIT ?",
        (domain, _MOST),
    )
    for row in rows:
        row["failures"] = orjson.loads(row["failures"])
    return rows


def _sent(db: sqlite3.Connection, domain: str) -> list[dict[str, Any]]:
    rows = database.select(
        db,
        "SELECT id, day, domain, state, next, told, trouble FROM report WHERE ? IN ('', domain)"
        " ORDER BY day DESC, domain LIMIT ?",
        (domain, _MOST),
    )
    for row in rows:
        row["told"] = orjson.loads(row["told"])
        row["policies"] = database.load(db, row.pop("id"))
        for policy in row["policies"]:
            del policy["id"], policy["report"]
    return rows
