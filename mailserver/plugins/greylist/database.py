"""`greylist.db`: who is asked to come again, who is known, and whom our users wrote to. Functions run in its thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mailserver import api

__all__ = ["MOST", "Answer", "Meeting", "Met", "meet", "note", "open_database", "prune"]

_VERSION = 1
_SCHEMA = (
    """CREATE TABLE waiting (
        source TEXT NOT NULL, sender TEXT NOT NULL, recipient TEXT NOT NULL, first REAL NOT NULL,
        PRIMARY KEY (source, sender, recipient)
    ) WITHOUT ROWID""",
    "CREATE INDEX waiting_first ON waiting (first)",
    """CREATE TABLE known (
        source TEXT NOT NULL, domain TEXT NOT NULL, last REAL NOT NULL, PRIMARY KEY (source, domain)
    ) WITHOUT ROWID""",
    "CREATE INDEX known_last ON known (last)",
    "CREATE TABLE written (address TEXT PRIMARY KEY, last REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX written_last ON written (last)",
)
#: Rows of each table; the oldest go first.
MOST = 100_000


class Met(Enum):
    """What is known of a sender."""

    KNOWN = "known"
    CAME_AGAIN = "came again"
    TOO_EARLY = "too early"


@dataclass(frozen=True, slots=True)
class Meeting:
    """A message: where it came from (a domain that SPF proves, or a network), from whom, and for whom.

    `addresses` are those that claim to be its sender; `domain` is that of the envelope.
    """

    source: str
    sender: str
    domain: str
    recipients: tuple[str, ...]
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """`seconds`: since it came first (0 when it is known)."""

    met: Met
    seconds: float = 0.0


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    return api.open_side_database(path, _VERSION, _SCHEMA)


def meet(
    db: sqlite3.Connection, meeting: Meeting, now: float, *, delay: float, window: float, remember: float
) -> Answer:
    """Look a message up, and note that it came. Times are seconds."""
    known = db.execute(
        "SELECT 1 FROM known WHERE source = ? AND domain = ? AND last > ?",
        (meeting.source, meeting.domain, now - remember),
    ).fetchone()
    if known or _written(db, meeting.addresses, now - remember):
        return Answer(Met.KNOWN)
    with api.transaction(db):
        first = now
        for recipient in meeting.recipients:
            key = (meeting.source, meeting.sender, recipient)
            row = db.execute(
                "SELECT first FROM waiting WHERE source = ? AND sender = ? AND recipient = ?", key
            ).fetchone()
            if row is not None and now - window < row[0] <= now:
                first = min(first, row[0])
            else:
                db.execute("REPLACE INTO waiting VALUES (?, ?, ?, ?)", (*key, now))
        if now - first < delay:
            return Answer(Met.TOO_EARLY, now - first)
        db.execute("DELETE FROM waiting WHERE source = ? AND sender = ?", (meeting.source, meeting.sender))
        db.execute("REPLACE INTO known VALUES (?, ?, ?)", (meeting.source, meeting.domain, now))
    return Answer(Met.CAME_AGAIN, now - first)


def _written(db: sqlite3.Connection, addresses: Sequence[str], since: float) -> bool:
    return any(
        db.execute("SELECT 1 FROM written WHERE address = ? AND last > ?", (address, since)).fetchone()
        for address in addresses
    )


def note(
    db: sqlite3.Connection, known: Mapping[tuple[str, str], float], written: Mapping[str, float]
) -> None:
    """Servers whose mail was wanted, and addresses that our users wrote to, with the time."""
    with api.transaction(db):
        db.executemany("REPLACE INTO known VALUES (?, ?, ?)", [(*key, at) for key, at in known.items()])
        db.executemany("REPLACE INTO written VALUES (?, ?)", list(written.items()))


def prune(db: sqlite3.Connection, *, waiting_since: float, known_since: float) -> None:
    """Forget what is too old, or too much."""
    with api.transaction(db):
        for table, column, since in (
            ("waiting", "first", waiting_since), ("known", "last", known_since), ("written", "last", known_since),
        ):  # fmt: skip
            db.execute(f"DELETE FROM {table} WHERE {column} <= ?", (since,))  # noqa: S608
            newest = f"SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1 OFFSET ?"  # noqa: S608
            db.execute(f"DELETE FROM {table} WHERE {column} <= ({newest})", (MOST,))  # noqa: S608
