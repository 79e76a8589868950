"""`suppression.db`: its tables, and the functions that run in its thread (raising sqlite3.Error, OSError)."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailserver import api

__all__ = [
    "Entry", "Lists", "Sent", "change", "find_sent", "forget_sent", "key", "open_database",
    "read_lists", "write_sent",
]  # fmt: skip

_VERSION = 1
_SCHEMA = (
    "CREATE TABLE key (id INTEGER PRIMARY KEY CHECK (id = 1), value BLOB NOT NULL)",
    """CREATE TABLE suppressed (
        account TEXT NOT NULL, address TEXT NOT NULL, since REAL NOT NULL, until REAL NOT NULL, times INTEGER NOT NULL,
        status TEXT NOT NULL, reason TEXT NOT NULL, source TEXT NOT NULL, PRIMARY KEY (account, address)
    ) WITHOUT ROWID""",
    # Rows come in the order of time, so the oldest ones are those with the lowest rowid.
    """CREATE TABLE sent (
        queue_id TEXT NOT NULL, address TEXT NOT NULL, account TEXT NOT NULL, host TEXT NOT NULL, peer TEXT NOT NULL,
        at REAL NOT NULL
    )""",
    "CREATE INDEX sent_queue_id ON sent (queue_id)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An address that an account's mail does not go to. Times are epoch seconds; `until` 0 means for good.

    `address` is a key (`EmailAddress.key`). `source`: refused (in an attempt of ours), bounced (told later), added (by
    the administrator, and then nothing but the administrator takes it away).
    """

    account: api.AccountId
    address: str
    since: float
    until: float
    times: int = 1
    status: str = ""
    reason: str = ""
    source: str = "refused"

    def active(self, now: float) -> bool:
        """Is mail refused?"""
        return not self.until or now < self.until


#: Account → address → entry.
Lists = dict[api.AccountId, dict[str, Entry]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message that a server took for a recipient: `host` and `peer` are its name and IP address."""

    queue_id: str
    address: str
    account: api.AccountId
    host: str
    peer: str
    at: float


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    made = ("INSERT INTO key (id, value) VALUES (1, ?)", (secrets.token_bytes(32),))
    return api.open_kept_database(path, _VERSION, _SCHEMA, [made])


def key(db: sqlite3.Connection) -> bytes:
    """The key of tokens."""
    (found,) = db.execute("SELECT value FROM key").fetchone()
    return bytes(found)


def read_lists(db: sqlite3.Connection) -> Lists:
    """The lists of all accounts."""
    lists: Lists = {}
    for row in db.execute("SELECT account, address, since, until, times, status, reason, source FROM suppressed"):
        entry = _entry(*row)
        lists.setdefault(entry.account, {})[entry.address] = entry
    return lists


def _entry(
    account: str, address: str, since: float, until: float, times: int, status: str, reason: str, source: str
) -> Entry:
    return Entry(
        account=api.AccountId(account), address=address, since=since, until=until, times=times, status=status,
        reason=reason, source=source,
    )  # fmt: skip


def change(db: sqlite3.Connection, put: Sequence[Entry], remove: Sequence[tuple[str, str]]) -> None:
    """Put entries (those of the same account and address are replaced), and remove others by account and address."""
    with api.transaction(db):
        db.executemany("DELETE FROM suppressed WHERE account = ? AND address = ?", remove)
        db.executemany(
            "REPLACE INTO suppressed (account, address, since, until, times, status, reason, source)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(e.account, e.address, e.since, e.until, e.times, e.status, e.reason, e.source) for e in put],
        )


def write_sent(db: sqlite3.Connection, rows: Sequence[Sent], since: float, most: int) -> None:
    """Add rows; what is older than `since`, or more than `most` rows back, is forgotten."""
    with api.transaction(db):
        db.executemany(
            "INSERT INTO sent (queue_id, address, account, host, peer, at) VALUES (?, ?, ?, ?, ?, ?)",
            [(row.queue_id, row.address, row.account, row.host, row.peer, row.at) for row in rows],
        )
        db.execute("DELETE FROM sent WHERE rowid <= (SELECT max(rowid) FROM sent) - ?", (most,))
        first_kept = "SELECT rowid FROM sent WHERE at >= ? ORDER BY rowid LIMIT 1"
        db.execute(f"DELETE FROM sent WHERE rowid < ({first_kept})", (since,))  # noqa: S608


def find_sent(db: sqlite3.Connection, queue_id: str) -> list[Sent]:
    """To whom a message went."""
    rows = db.execute("SELECT queue_id, address, account, host, peer, at FROM sent WHERE queue_id = ?", (queue_id,))
    return [Sent(queue_id=q, address=a, account=api.AccountId(c), host=h, peer=p, at=t) for q, a, c, h, p, t in rows]


def forget_sent(db: sqlite3.Connection, row: Sent) -> None:
    """One recipient of a message: what is to be known of it is known."""
    with api.transaction(db):
        db.execute("DELETE FROM sent WHERE queue_id = ? AND address = ?", (row.queue_id, row.address))
