"""What `mailserver report dmarc` asks for."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import orjson

from mailserver import api
from mailserver.plugins.dmarc_report import database
from mailserver.plugins.dmarc_report.collecting import Collector
from mailserver.plugins.dmarc_report.record import own_record
from mailserver.plugins.dmarc_report.sending import Reporter
from mailserver.plugins.dmarc_report.settings import DmarcReportSettings

__all__ = ["Operations"]

_MOST = 200
_MOST_ROWS = 100
_MOST_DOMAINS = 20
#: Of so many reports that are added up.
_MOST_SOURCES, _MOST_ADDED = 500, 1_000


class Operations:
    """dmarc_report.show and dmarc_report.send."""

    def __init__(
        self, host: api.Host, settings: DmarcReportSettings, db: api.DatabaseThread, collector: Collector,
        reporter: Reporter,
    ) -> None:  # fmt: skip
        self._host = host
        self._settings = settings
        self._db = db
        self._collector = collector
        self._reporter = reporter

    async def show(self, arguments: Mapping[str, Any]) -> Any:
        """What others report of us and we of others, the newest first; what they report by source if that is asked,
        those with most failures first; and the records by which reports come."""
        text, added_up = arguments.get("domain", ""), arguments.get("sources", False)
        if not isinstance(text, str):
            raise ValueError("domain must be text")
        domain = api.normalize_domain(text) if text else ""
        await self._collector.flush()
        return {
            "received": await self._db.run(_received, domain),
            "sources": await self._db.run(_sources, domain) if added_up else [],
            "sent": await self._db.run(_sent, domain),
            "records": [row for name in self._domains(domain) for row in await self._records(name)],
        }

    def _domains(self, domain: str) -> list[str]:
        names = [one.name for one in self._host.directory.domains() if not domain or one.name == domain]
        return names[:_MOST_DOMAINS]

    async def _records(self, domain: str) -> list[dict[str, Any]]:
        listed = [api.EmailAddress.parse(text) for text in self._settings.receive_at]
        own = [address for address in listed if address.domain == domain]
        address = next(iter(own + listed), api.EmailAddress(local="postmaster", domain=domain))
        rows = [await self._record(*own_record(domain, str(address)))]
        if not _related(address.domain, domain):
            # RFC 9990 §4: reports to another organisation come only if that agrees.
            rows.append(await self._record(f"{domain}._report._dmarc.{address.domain}", "v=DMARC1"))
        return rows

    async def _record(self, name: str, text: str) -> dict[str, Any]:
        try:
            found = (await self._host.resolver.txt(name)).records
        except api.LookupFailed:
            return {"name": name, "text": text, "published": None, "asks": False}
        published = [record for record in found if api.find_dmarc([record]) is not None]
        record = api.find_dmarc(published)
        asks = record is not None and ("rua=" not in text or bool(record.rua))
        return {
            "name": name, "text": text, "asks": asks,
            "published": [one.decode("latin-1") for one in published],
        }  # fmt: skip

    async def send(self, arguments: Mapping[str, Any]) -> Any:
        """Send the reports whose time has come, without waiting for the next look."""
        return {"due": await self._reporter.once()}


def _related(one: str, other: str) -> bool:
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")


def _received(db: sqlite3.Connection, domain: str) -> list[dict[str, Any]]:
    rows = database.select(
        db,
        "SELECT at, organisation, contact, report_id, proved, domain, p, begins, ends, messages, failed, refused,"
        " quarantined, unlisted, rows FROM received WHERE ? IN ('', domain) ORDER BY begins DESC, id DESC LIMIT ?",
        (domain, _MOST),
    )
    for row in rows:
        row["proved"], row["rows"] = bool(row["proved"]), orjson.loads(row["rows"])
    return rows


def _sources(db: sqlite3.Connection, domain: str) -> list[dict[str, Any]]:
    """What the newest reports say, by domain and source."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    reports = db.execute(
        "SELECT domain, rows FROM received WHERE ? IN ('', domain) ORDER BY id DESC LIMIT ?", (domain, _MOST_ADDED)
    )
    for about, rows in reports:
        for row in orjson.loads(rows):
            total = found.setdefault(
                (about, row["source"]),
                {"domain": about, "source": row["source"], "messages": 0, "failed": 0, "senders": []},
            )
            total["messages"] += row["count"]
            total["failed"] += row["count"] if "pass" not in (row["dkim"], row["spf"]) else 0
            if row["sender"] and row["sender"] not in total["senders"] and len(total["senders"]) < 5:
                total["senders"].append(row["sender"])
    ordered = sorted(found.values(), key=lambda one: (-one["failed"], -one["messages"], one["source"]))
    return ordered[:_MOST_SOURCES]


def _sent(db: sqlite3.Connection, domain: str) -> list[dict[str, Any]]:
    rows = database.select(
        db,
        "SELECT id, day, domain, state, next, told, trouble FROM report WHERE ? IN ('', domain)"
        " ORDER BY day DESC, domain LIMIT ?",
        (domain, _MOST),
    )
    for row in rows:
        row["told"] = orjson.loads(row["told"])
        found = database.load(db, row.pop("id"))
        row["messages"] = found["lost"] + sum(one["count"] for one in found["rows"])
        row["rows"] = found["rows"][:_MOST_ROWS]
    return rows
