"""`reputation.db`: its tables, and the functions that run in its thread (raising sqlite3.Error, OSError)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson

from mailserver import api
from mailserver.plugins.reputation.correspondents import Correspondents
from mailserver.plugins.reputation.identities import DOMAIN, Key
from mailserver.plugins.reputation.judging import History, Known

__all__ = ["ANYBODY", "Filing", "Seen", "open_database", "prune", "recall", "write"]

_VERSION = 1
_SCHEMA = (
    # Who is known to an account. `good`, `bad` and `unread` are as of `weighed`.
    """CREATE TABLE sender (
        account TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
        seen INTEGER NOT NULL, good REAL NOT NULL, bad REAL NOT NULL, unread REAL NOT NULL, weighed REAL NOT NULL,
        PRIMARY KEY (account, kind, value)
    ) WITHOUT ROWID""",
    "CREATE INDEX sender_last ON sender (last)",
    # What came, so that what is done with it later is put to its senders' account.
    """CREATE TABLE mail (
        account TEXT NOT NULL, key BLOB NOT NULL, at REAL NOT NULL, filing TEXT NOT NULL, senders TEXT NOT NULL,
        PRIMARY KEY (account, key)
    ) WITHOUT ROWID""",
    "CREATE INDEX mail_at ON mail (at)",
)
#: Stands for all accounts together.
ANYBODY = ""
_AT_ONCE = 5_000
#: What goes first when there is too much: table, the time that counts, which rows.
_LESS_AND_LESS = (
    ("mail", "at", "filing = ''"), ("sender", "last", "good + bad + unread < 0.1 AND kind NOT LIKE 'to%'"),
    ("mail", "at", "1"), ("sender", "last", "1"),
)  # fmt: skip
#: What an account did with a message: good, bad, unread, and how sure that is; a surer one is not replaced by another.
_WEIGHTS: Mapping[str, tuple[float, float, float, int]] = {
    "": (0.0, 0.0, 0.0, 0), "unread": (0.0, 0.0, 1.0, 1), "kept": (0.5, 0.0, 0.0, 1), "answered": (1.0, 0.0, 0.0, 2),
    "junk": (0.0, 1.0, 0.0, 2), "wanted": (1.0, 0.0, 0.0, 2),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """Mail of these senders came to an account; `key` b"": it is not looked for later (the account's own mail)."""

    account: str
    key: bytes
    at: float
    senders: Sequence[Key]


@dataclass(frozen=True, slots=True)
class Filing:
    """What was done with a message, by a name of `_WEIGHTS`."""

    account: str
    key: bytes
    at: float
    filing: str


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    return api.open_side_database(path, _VERSION, _SCHEMA)


def recall(
    db: sqlite3.Connection, correspondents: Correspondents, account: str, keys: Sequence[Key], domain: str, now: float,
    half_life: float,
) -> History:  # fmt: skip
    """What an account knows of these senders; whether anybody here knows the domain, and what that looks like."""
    known: dict[Key, Known] = {}
    anybody = False
    # One question for all of them: each costs more than what it finds.
    asked = [(ANYBODY, DOMAIN, domain), *((account, kind, value) for kind, value in keys)]
    for row in db.execute(_recall(len(asked)), [text for one in asked for text in one]).fetchall():
        owner, kind, value, first, last, seen, good, bad, unread, weighed = row
        if owner == ANYBODY:
            anybody = True
            continue
        rest = 0.5 ** (max(0.0, now - weighed) / half_life)
        known[kind, value] = Known(first, last, seen, good * rest, bad * rest, unread * rest)
    like = correspondents.of(db, account).like(domain) if domain else None
    return History(known, anybody, like)


@cache
def _recall(senders: int) -> str:
    return (
        f"WITH asked (account, kind, value) AS (VALUES {', '.join(['(?, ?, ?)'] * senders)})"  # noqa: S608
        " SELECT account, kind, value, first, last, seen, good, bad, unread, weighed"
        " FROM asked CROSS JOIN sender USING (account, kind, value)"
    )


def write(
    db: sqlite3.Connection, correspondents: Correspondents, events: Iterable[Seen | Filing], half_life: float
) -> None:
    """What came, and what was done with it, in this order."""
    with api.transaction(db):
        for event in events:
            if isinstance(event, Seen):
                _see(db, event)
                correspondents.wrote(event.account, event.senders)
            else:
                _file(db, event, half_life)


def _see(db: sqlite3.Connection, event: Seen) -> None:
    if event.key:
        added = db.execute(
            "INSERT OR IGNORE INTO mail VALUES (?, ?, ?, '', ?)",
            (event.account, event.key, event.at, orjson.dumps(event.senders).decode()),
        )
        if not added.rowcount:
            # The same message once more: nothing is learned from it.
            return
    rows = [(event.account, kind, value) for kind, value in event.senders]
    rows += [(ANYBODY, kind, value) for kind, value in event.senders if kind == DOMAIN]
    db.executemany(
        "INSERT INTO sender VALUES (?, ?, ?, ?, ?, 1, 0, 0, 0, ?)"
        " ON CONFLICT DO UPDATE SET last = max(last, excluded.last), seen = seen + 1",
        [(*row, event.at, event.at, event.at) for row in rows],
    )


def _file(db: sqlite3.Connection, event: Filing, half_life: float) -> None:
    row = db.execute(
        "SELECT filing, senders FROM mail WHERE account = ? AND key = ?", (event.account, event.key)
    ).fetchone()
    if row is None or row[0] == event.filing:
        return
    (*old, old_sure), (*new, sure) = _WEIGHTS[row[0]], _WEIGHTS[event.filing]
    if sure < old_sure:
        return
    change = [after - before for before, after in zip(old, new, strict=True)]
    db.execute(
        "UPDATE mail SET filing = ? WHERE account = ? AND key = ?", (event.filing, event.account, event.key)
    )
    for kind, value in orjson.loads(row[1]):
        _weigh(db, (event.account, kind, value), event.at, change, half_life)


def _weigh(
    db: sqlite3.Connection, key: tuple[str, str, str], now: float, change: Sequence[float], half_life: float
) -> None:
    row = db.execute(
        "SELECT weighed, good, bad, unread FROM sender WHERE account = ? AND kind = ? AND value = ?", key
    ).fetchone()
    if row is None:
        return
    rest = 0.5 ** (max(0.0, now - row[0]) / half_life)
    weights = [max(0.0, weight * rest + more) for weight, more in zip(row[1:], change, strict=True)]
    db.execute(
        "UPDATE sender SET good = ?, bad = ?, unread = ?, weighed = ?, last = max(last, ?)"
        " WHERE account = ? AND kind = ? AND value = ?",
        (*weights, now, now, *key),
    )


def prune(db: sqlite3.Connection, since: float, max_size: int) -> None:
    """Forget what was not heard of since then (epoch seconds); while it is too large messages, then senders about whom
    nobody has said anything, then the others, the oldest first."""
    for table, column in (("mail", "at"), ("sender", "last")):
        while _delete(db, table, f"{column} < ?", (since,)) == _AT_ONCE:
            pass
    for table, column, which in _LESS_AND_LESS:
        while _used(db) > max_size and _delete(db, table, f"{which} ORDER BY {column}", ()):
            pass
    db.execute("PRAGMA incremental_vacuum(2000)").fetchall()


def _delete(db: sqlite3.Connection, table: str, which: str, values: Sequence[float]) -> int:
    key = "account, key" if table == "mail" else "account, kind, value"
    with api.transaction(db):
        some = f"SELECT {key} FROM {table} WHERE {which} LIMIT {_AT_ONCE}"  # noqa: S608
        return db.execute(f"DELETE FROM {table} WHERE ({key}) IN ({some})", values).rowcount  # noqa: S608


def _used(db: sqlite3.Connection) -> int:
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * size
