"""`signatures.db`: good signatures that came, for `replays.py`. Functions run in its thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mailserver import api

__all__ = ["MOST_KEPT", "Seen", "open_signatures", "read", "write"]

_VERSION = 1
_SCHEMA = (
    """CREATE TABLE signature (
        hash BLOB PRIMARY KEY, first REAL NOT NULL, recipients INTEGER NOT NULL, last REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX signature_last ON signature (last)",
)
#: Some 6 MB in memory; those that came last are kept.
MOST_KEPT = 20_000
_KEPT_SECONDS = 30 * 86_400.0


class Seen(NamedTuple):
    """Times in epoch seconds."""

    first: float
    recipients: int
    last: float


def open_signatures(path: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error, OSError."""
    return api.open_side_database(path, _VERSION, _SCHEMA)


def read(db: sqlite3.Connection, now: float) -> dict[bytes, Seen]:
    """What is in it, the signature that came last at the end."""
    rows = db.execute(
        "SELECT hash, first, recipients, last FROM signature WHERE last >= ? ORDER BY last DESC LIMIT ?",
        (now - _KEPT_SECONDS, MOST_KEPT),
    ).fetchall()
    return {key: Seen(first, recipients, last) for key, first, recipients, last in reversed(rows)}


def write(db: sqlite3.Connection, rows: Mapping[bytes, Seen], now: float) -> None:
    """Put in, and forget what did not come for 30 days, or before the last 20,000."""
    with api.transaction(db):
        db.executemany(
            "INSERT OR REPLACE INTO signature VALUES (?, ?, ?, ?)", [(key, *seen) for key, seen in rows.items()]
        )
        db.execute("DELETE FROM signature WHERE last < ?", (now - _KEPT_SECONDS,))
        db.execute(
            "DELETE FROM signature WHERE last < (SELECT last FROM signature ORDER BY last DESC LIMIT 1 OFFSET ?)",
            (MOST_KEPT,),
        )
    db.execute("PRAGMA incremental_vacuum(64)").fetchall()
