"""`junk.db`: its tables, and the functions that run in the ledger's thread (raising sqlite3.Error, OSError).

What somebody has asked for by a command is synced before it is answered; what is only noticed is not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailserver import api
from mailserver.plugins.junk.wishes import Sender, Thresholds

__all__ = [
    "Contents", "Hit", "Mark", "change_senders", "first_time", "forget_account", "forget_refused", "hit", "lift_marks",
    "note_rejects", "open_database", "read", "rejecting", "set_honeypot", "set_thresholds",
]  # fmt: skip

_VERSION = 2
_HONEYPOT = "CREATE TABLE honeypot (address TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID"
_TRAP, _SENDER = (f"ALTER TABLE mark ADD COLUMN {name} TEXT NOT NULL DEFAULT ''" for name in ("trap", "sender"))
_NEXT = {1: (_HONEYPOT, _TRAP, _SENDER)}
_SCHEMA = (
    "CREATE TABLE threshold (account TEXT PRIMARY KEY, since REAL NOT NULL, junk REAL, reject REAL) WITHOUT ROWID",
    """CREATE TABLE sender (
        account TEXT NOT NULL, pattern TEXT NOT NULL, action TEXT NOT NULL, since REAL NOT NULL,
        PRIMARY KEY (account, pattern)
    ) WITHOUT ROWID""",
    # Rows come in the order of time, so the oldest ones are those with the lowest rowid.
    "CREATE TABLE refused (account TEXT NOT NULL, digest BLOB NOT NULL, at REAL NOT NULL, UNIQUE (account, digest))",
    "CREATE TABLE rejecting (account TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE mark (
        kind TEXT NOT NULL, value TEXT NOT NULL, at REAL NOT NULL, hits INTEGER NOT NULL, PRIMARY KEY (kind, value)
    ) WITHOUT ROWID""",
    *_NEXT[1],
)
#: Refused messages that are remembered: about 30 MB.
_MOST_REFUSED = 200_000
_MOST_MARKS = 20_000
_MARK = "kind, value, at, hits, trap, sender"


@dataclass(frozen=True, slots=True)
class Mark:
    """Who wrote to a honeypot: how often, and of the last time when (epoch seconds), to which one, and as whom."""

    kind: str
    value: str
    at: float
    hits: int
    trap: str = ""
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """Somebody writes to a honeypot; `keys` are the kinds and values of those who stand behind it."""

    keys: Sequence[tuple[str, str]]
    at: float
    trap: str
    sender: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What is looked up for each message. The times of `thresholds` say since when they are."""

    thresholds: dict[api.AccountId, tuple[float, Thresholds]]
    senders: dict[api.AccountId, dict[str, Sender]]
    marks: dict[tuple[str, str], Mark]
    #: Addresses, and since when they are honeypots.
    honeypots: dict[str, float]


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it. A damaged one is put aside: mail is judged without it, and its log line says so."""
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        api.put_aside(path, error)
    return _open(path)


def _open(path: Path) -> sqlite3.Connection:
    db = api.open_kept_database(path, _VERSION, _SCHEMA, steps=_NEXT)
    try:
        db.execute("PRAGMA synchronous=NORMAL")
        # What is damaged further inside is found now, and not by the first message.
        read(db), rejecting(db)
        return db
    except BaseException:
        db.close()
        raise


def read(db: sqlite3.Connection) -> Contents:
    """All that is kept in memory."""
    senders: dict[api.AccountId, dict[str, Sender]] = {}
    for account, pattern, action, since in db.execute("SELECT account, pattern, action, since FROM sender"):
        senders.setdefault(account, {})[pattern] = Sender(account=account, pattern=pattern, action=action, since=since)
    return Contents(
        thresholds={
            account: (since, Thresholds(junk, reject))
            for account, since, junk, reject in db.execute("SELECT account, since, junk, reject FROM threshold")
        },
        senders=senders,
        marks={(row[0], row[1]): Mark(*row) for row in db.execute(f"SELECT {_MARK} FROM mark")},  # noqa: S608
        honeypots=dict(db.execute("SELECT address, since FROM honeypot")),
    )


@contextmanager
def _durable(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("PRAGMA synchronous=FULL")
    try:
        with api.transaction(db):
            yield
    finally:
        db.execute("PRAGMA synchronous=NORMAL")


def set_thresholds(db: sqlite3.Connection, account: str, since: float, thresholds: Thresholds | None) -> None:
    """An account's own numbers; None: no more."""
    with _durable(db):
        db.execute("DELETE FROM threshold WHERE account = ?", (account,))
        if thresholds is not None:
            row = (account, since, thresholds.junk, thresholds.reject)
            db.execute("INSERT INTO threshold VALUES (?, ?, ?, ?)", row)


def change_senders(db: sqlite3.Connection, put: Sequence[Sender], remove: Sequence[Sender]) -> None:
    """Put entries, in place of those with the same pattern, and take others away."""
    with _durable(db):
        db.executemany("DELETE FROM sender WHERE account = ? AND pattern = ?", [(s.account, s.pattern) for s in remove])
        db.executemany(
            "REPLACE INTO sender (account, pattern, action, since) VALUES (?, ?, ?, ?)",
            [(s.account, s.pattern, s.action, s.since) for s in put],
        )


def forget_account(db: sqlite3.Connection, account: str) -> None:
    """It is gone, or its address is another person's."""
    with _durable(db):
        for table in ("threshold", "sender", "refused", "rejecting"):
            db.execute(f"DELETE FROM {table} WHERE account = ?", (account,))  # noqa: S608


def first_time(db: sqlite3.Connection, account: str, digest: bytes, now: float, since: float) -> bool:
    """Note that a message is refused; False: it was already, after `since`."""
    with api.transaction(db):
        db.execute("DELETE FROM refused WHERE account = ? AND digest = ? AND at < ?", (account, digest, since))
        added = db.execute("INSERT OR IGNORE INTO refused VALUES (?, ?, ?)", (account, digest, now))
        db.execute("DELETE FROM refused WHERE rowid <= (SELECT max(rowid) FROM refused) - ?", (_MOST_REFUSED,))
    return added.rowcount == 1


def forget_refused(db: sqlite3.Connection, since: float) -> None:
    """What was refused before that."""
    with api.transaction(db):
        first_kept = "SELECT rowid FROM refused WHERE at >= ? ORDER BY rowid LIMIT 1"
        db.execute(f"DELETE FROM refused WHERE rowid < coalesce(({first_kept}), 1 << 62)", (since,))  # noqa: S608


def note_rejects(db: sqlite3.Connection, account: str, *, has: bool) -> None:
    """Whether there is something in an account's Rejects."""
    with api.transaction(db):
        if has:
            db.execute("INSERT OR IGNORE INTO rejecting VALUES (?)", (account,))
        else:
            db.execute("DELETE FROM rejecting WHERE account = ?", (account,))


def rejecting(db: sqlite3.Connection) -> list[api.AccountId]:
    """Accounts that have something in Rejects."""
    return [row[0] for row in db.execute("SELECT account FROM rejecting ORDER BY account")]


def hit(db: sqlite3.Connection, one: Hit, since: float) -> list[Mark]:
    """What is known now of those who wrote to a honeypot. Marks from before `since` are forgotten."""
    with api.transaction(db):
        db.execute("DELETE FROM mark WHERE at < ?", (since,))
        db.executemany(
            "INSERT INTO mark (kind, value, at, hits, trap, sender) VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET"
            " at = excluded.at, hits = hits + 1, trap = excluded.trap, sender = excluded.sender",
            [(*key, one.at, one.trap, one.sender) for key in one.keys],
        )
        rows = [
            db.execute(f"SELECT {_MARK} FROM mark WHERE kind = ? AND value = ?", key).fetchone()  # noqa: S608
            for key in one.keys
        ]
        (number,) = db.execute("SELECT count(*) FROM mark").fetchone()
        if number > _MOST_MARKS:
            oldest = "SELECT kind, value FROM mark ORDER BY at LIMIT ?"
            db.execute(f"DELETE FROM mark WHERE (kind, value) IN ({oldest})", (number - _MOST_MARKS,))  # noqa: S608
    return [Mark(*row) for row in rows]


def lift_marks(db: sqlite3.Connection, marks: Sequence[Mark]) -> None:
    """They have no bad name any more."""
    with _durable(db):
        db.executemany("DELETE FROM mark WHERE kind = ? AND value = ?", [(mark.kind, mark.value) for mark in marks])


def set_honeypot(db: sqlite3.Connection, address: str, since: float | None) -> None:
    """An address becomes one; None: it is none any more."""
    with _durable(db):
        db.execute("DELETE FROM honeypot WHERE address = ?", (address,))
        if since is not None:
            db.execute("INSERT INTO honeypot VALUES (?, ?)", (address, since))
