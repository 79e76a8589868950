"""`quota_warning.db`: who was told that the mailbox is nearly full. Functions run in the database's thread."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from mailserver import api

__all__ = ["forget", "note", "open_database", "warned"]

_VERSION = 1
_SCHEMA = ("CREATE TABLE warned (account TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",)


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    return api.open_side_database(path, _VERSION, _SCHEMA)


def warned(db: sqlite3.Connection) -> dict[str, float]:
    """Account → when it was told (epoch seconds)."""
    return dict(db.execute("SELECT account, at FROM warned"))


def note(db: sqlite3.Connection, account: str, at: float) -> None:
    """It was told."""
    db.execute("REPLACE INTO warned VALUES (?, ?)", (account, at))


def forget(db: sqlite3.Connection, account: str) -> None:
    """It may be told again."""
    db.execute("DELETE FROM warned WHERE account = ?", (account,))
