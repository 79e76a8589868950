"""`vacation.db`: what accounts want answered, and who has been. Functions run in the database's thread."""

from __future__ import annotations

import sqlite3
from enum import Enum
from pathlib import Path

from mailserver import api
from mailserver.plugins.vacation.wishes import Vacation

__all__ = ["Turn", "forget_account", "forget_turn", "open_database", "put", "read", "take_turn"]

_VERSION = 1
_SCHEMA = (
    """CREATE TABLE vacation (
        account TEXT PRIMARY KEY, since REAL NOT NULL, text TEXT NOT NULL, subject TEXT NOT NULL, starts REAL NOT NULL,
        ends REAL NOT NULL, days INTEGER NOT NULL, addresses TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE answered (
        account TEXT NOT NULL, sender TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (account, sender)
    ) WITHOUT ROWID""",
    "CREATE INDEX answered_at ON answered (account, at)",
)
_HOUR, _DAY = 3600.0, 86_400.0


class Turn(Enum):
    """May a sender be answered now?"""

    YES = "yes"
    ANSWERED = "this sender has an answer already"
    TOO_MANY = "the account has sent as many answers as it may in an hour"


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    return api.open_kept_database(path, _VERSION, _SCHEMA)


def read(db: sqlite3.Connection) -> dict[api.AccountId, Vacation]:
    """What accounts want."""
    rows = db.execute("SELECT account, since, text, subject, starts, ends, days, addresses FROM vacation")
    return {
        row[0]: Vacation(
            account=row[0], since=row[1], text=row[2], subject=row[3], starts=row[4], ends=row[5], days=row[6],
            addresses=tuple(row[7].split()),
        )
        for row in rows
    }  # fmt: skip


def put(db: sqlite3.Connection, wish: Vacation) -> None:
    """Another wish of the account. It is a new answer, so everybody may get it."""
    with api.transaction(db):
        _forget(db, wish.account)
        db.execute(
            "INSERT INTO vacation VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                wish.account, wish.since, wish.text, wish.subject, wish.starts, wish.ends, wish.days,
                " ".join(wish.addresses),
            ),
        )  # fmt: skip


def forget_account(db: sqlite3.Connection, account: str) -> None:
    """It answers nobody any more, or its address is another person's."""
    with api.transaction(db):
        _forget(db, account)


def _forget(db: sqlite3.Connection, account: str) -> None:
    db.execute("DELETE FROM vacation WHERE account = ?", (account,))
    db.execute("DELETE FROM answered WHERE account = ?", (account,))


def take_turn(db: sqlite3.Connection, wish: Vacation, sender: str, now: float, most_per_hour: int) -> Turn:
    """Note that a sender is answered now, durably, if he may be. Rows of former days go."""
    with api.transaction(db):
        db.execute("DELETE FROM answered WHERE account = ? AND at <= ?", (wish.account, now - wish.days * _DAY))
        known = db.execute("SELECT 1 FROM answered WHERE account = ? AND sender = ?", (wish.account, sender))
        if known.fetchone() is not None:
            return Turn.ANSWERED
        recent = db.execute("SELECT count(*) FROM answered WHERE account = ? AND at > ?", (wish.account, now - _HOUR))
        if recent.fetchone()[0] >= most_per_hour:
            return Turn.TOO_MANY
        db.execute("INSERT INTO answered VALUES (?, ?, ?)", (wish.account, sender, now))
    return Turn.YES


def forget_turn(db: sqlite3.Connection, account: str, sender: str) -> None:
    """He was not answered after all."""
    db.execute("DELETE FROM answered WHERE account = ? AND sender = ?", (account, sender))
