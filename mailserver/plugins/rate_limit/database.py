"""`sending.db`: what accounts have sent, for the limits of a day. Functions run in the ledger's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mailserver import api

__all__ = ["MOST_KNOWN", "Changes", "Stored", "knows", "load", "open_database", "write"]

_VERSION = 1
_SCHEMA = (
    """CREATE TABLE sent (
        account TEXT NOT NULL, hour INTEGER NOT NULL, messages INTEGER NOT NULL, recipients INTEGER NOT NULL,
        PRIMARY KEY (account, hour)
    ) WITHOUT ROWID""",
    """CREATE TABLE recipient (
        account TEXT NOT NULL, address TEXT NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
        PRIMARY KEY (account, address)
    ) WITHOUT ROWID""",
    "CREATE INDEX recipient_first ON recipient (first)",
    "CREATE TABLE alarm (account TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (account, name))",
)
#: Addresses that are remembered for one account; the least recently used ones go first.
MOST_KNOWN = 20_000


@dataclass(slots=True)
class Stored:
    """What counts today: by account, hour → messages and recipients, new address → when, limit → when it was told."""

    hours: dict[str, dict[int, list[int]]] = field(default_factory=dict)
    new: dict[str, dict[str, float]] = field(default_factory=dict)
    alarms: dict[tuple[str, str], float] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """What is to be added: (account, hour) → messages and recipients, (account, address) → first and last use."""

    sent: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    recipients: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    alarms: dict[tuple[str, str], float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.sent or self.recipients or self.alarms)


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    return api.open_side_database(path, _VERSION, _SCHEMA)


def load(db: sqlite3.Connection, since: float) -> Stored:
    """What happened after `since` (epoch seconds)."""
    stored = Stored()
    for account, hour, messages, recipients in db.execute("SELECT * FROM sent WHERE hour >= ?", (since // 3600,)):
        stored.hours.setdefault(account, {})[hour] = [messages, recipients]
    for account, address, first in db.execute(
        "SELECT account, address, first FROM recipient WHERE first >= ?", (since,)
    ):
        stored.new.setdefault(account, {})[address] = first
    for account, name, at in db.execute("SELECT account, name, at FROM alarm WHERE at >= ?", (since,)):
        stored.alarms[account, name] = at
    return stored


def knows(db: sqlite3.Connection, account: str, address: str) -> bool:
    """Has the account written to the address?"""
    row = db.execute("SELECT 1 FROM recipient WHERE account = ? AND address = ?", (account, address)).fetchone()
    return row is not None


def write(db: sqlite3.Connection, changes: Changes, since: float) -> None:
    """Add; what is from before `since` (epoch seconds) and counts no more is forgotten."""
    with api.transaction(db):
        db.executemany(
            "INSERT INTO sent VALUES (?, ?, ?, ?) ON CONFLICT (account, hour) DO UPDATE SET"
            " messages = messages + excluded.messages, recipients = recipients + excluded.recipients",
            [(account, hour, *counts) for (account, hour), counts in changes.sent.items()],
        )
        db.executemany(
            "INSERT INTO recipient VALUES (?, ?, ?, ?) ON CONFLICT (account, address) DO UPDATE SET"
            " last = max(last, excluded.last)",
            [(account, address, *times) for (account, address), times in changes.recipients.items()],
        )
        _put_alarms(db, changes.alarms)
        db.execute("DELETE FROM sent WHERE hour < ?", (since // 3600,))
        db.execute("DELETE FROM alarm WHERE at < ?", (since,))
        _forget(db, {account for account, _ in changes.recipients})


def _put_alarms(db: sqlite3.Connection, alarms: Mapping[tuple[str, str], float]) -> None:
    db.executemany("REPLACE INTO alarm VALUES (?, ?, ?)", [(*key, at) for key, at in alarms.items()])


def _forget(db: sqlite3.Connection, accounts: Iterable[str]) -> None:
    for account in accounts:
        (known,) = db.execute("SELECT count(*) FROM recipient WHERE account = ?", (account,)).fetchone()
        if known > MOST_KNOWN:
            db.execute(
                "DELETE FROM recipient WHERE (account, address) IN"
                " (SELECT account, address FROM recipient WHERE account = ? ORDER BY last LIMIT ?)",
                (account, known - MOST_KNOWN),
            )
