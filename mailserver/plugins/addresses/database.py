"""`addresses.db`: its tables, and the functions that run in its thread. What a command asked for is durable."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from mailserver import api

__all__ = [
    "Contents", "Temporary", "open_database", "put_folders", "put_temporary", "read", "set_blocked", "set_domain",
]  # fmt: skip

_VERSION = 1
_SCHEMA = (
    """CREATE TABLE temporary (
        key TEXT PRIMARY KEY, account TEXT NOT NULL, since REAL NOT NULL, until REAL NOT NULL, note TEXT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE TABLE blocked (key TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE domain_alias (name TEXT PRIMARY KEY, target TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE folders (account TEXT PRIMARY KEY, since REAL NOT NULL, filing TEXT NOT NULL) WITHOUT ROWID",
)
#: Addresses of the past that an account's are remembered, so that they are refused with a reason.
_MOST_ENDED = 500


@dataclass(frozen=True, slots=True)
class Temporary:
    """An address of an account until a time (epoch seconds; 0: it was dropped)."""

    key: str
    account: api.AccountId
    since: float
    until: float
    note: str


@dataclass(slots=True)
class Contents:
    """All of it."""

    temporary: dict[str, Temporary] = field(default_factory=dict)
    blocked: dict[str, float] = field(default_factory=dict)
    domains: dict[str, str] = field(default_factory=dict)
    folders: dict[str, tuple[float, str]] = field(default_factory=dict)


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    return api.open_kept_database(path, _VERSION, _SCHEMA)


def read(db: sqlite3.Connection) -> Contents:
    """All of it."""
    rows = db.execute("SELECT key, account, since, until, note FROM temporary")
    return Contents(
        {row[0]: Temporary(*row) for row in rows},
        dict(db.execute("SELECT key, since FROM blocked")),
        dict(db.execute("SELECT name, target FROM domain_alias")),
        {row[0]: (row[1], row[2]) for row in db.execute("SELECT account, since, filing FROM folders")},
    )


def put_temporary(db: sqlite3.Connection, one: Temporary, now: float) -> None:
    """Add or replace it. Of those that ended the account's oldest are forgotten."""
    with api.transaction(db):
        row = (one.key, one.account, one.since, one.until, one.note)
        db.execute("REPLACE INTO temporary VALUES (?, ?, ?, ?, ?)", row)
        db.execute(
            "DELETE FROM temporary WHERE key IN (SELECT key FROM temporary WHERE account = ? AND until <= ?"
            " ORDER BY until DESC LIMIT -1 OFFSET ?)",
            (one.account, now, _MOST_ENDED),
        )


def set_blocked(db: sqlite3.Connection, key: str, since: float | None) -> None:
    """Block an address; None: no more."""
    with api.transaction(db):
        db.execute("DELETE FROM blocked WHERE key = ?", (key,))
        if since is not None:
            db.execute("INSERT INTO blocked VALUES (?, ?)", (key, since))


def set_domain(db: sqlite3.Connection, name: str, target: str) -> None:
    """Let a domain stand for another one; "": no more."""
    with api.transaction(db):
        db.execute("DELETE FROM domain_alias WHERE name = ?", (name,))
        if target:
            db.execute("INSERT INTO domain_alias VALUES (?, ?)", (name, target))


def put_folders(db: sqlite3.Connection, account: str, since: float, filing: str) -> None:
    """An account's own answer; "": that of the settings."""
    with api.transaction(db):
        db.execute("DELETE FROM folders WHERE account = ?", (account,))
        if filing:
            db.execute("INSERT INTO folders VALUES (?, ?, ?)", (account, since, filing))
