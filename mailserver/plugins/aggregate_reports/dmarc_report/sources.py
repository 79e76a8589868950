"""Who sends in our name, as others see it: what their reports say, added up by domain and source."""

from __future__ import annotations

import sqlite3
from typing import Any

from mailserver.plugins.aggregate_reports import database

__all__ = ["sources"]

#: Sources; and the newest reports, which are added up.
_MOST_SOURCES, _MOST_ADDED = 500, 1_000
_MOST_SENDERS = 5


def sources(db: sqlite3.Connection, domain: str) -> list[dict[str, Any]]:
    """Of a domain or ("") of all, those with most failures first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for report in database.received(db, domain, _MOST_ADDED):
        about = report["domain"]
        for row in report["rows"]:
            total = found.setdefault(
                (about, row["source"]),
                {"domain": about, "source": row["source"], "messages": 0, "failed": 0, "senders": []},
            )
            total["messages"] += row["count"]
            total["failed"] += row["count"] if "pass" not in (row["dkim"], row["spf"]) else 0
            if row["sender"] and row["sender"] not in total["senders"] and len(total["senders"]) < _MOST_SENDERS:
                total["senders"].append(row["sender"])
    ordered = sorted(found.values(), key=lambda one: (-one["failed"], -one["messages"], one["source"]))
    return ordered[:_MOST_SOURCES]
