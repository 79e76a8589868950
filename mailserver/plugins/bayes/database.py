"""`bayes.db`: its tables, and the functions that run in its thread (raising sqlite3.Error, OSError).

One row for a token of an owner, which is an account or, under the name "", all of them together. Which messages were
learned, and as what, is written in the same transaction as their counts, so none counts twice, whatever happens.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailserver import api
from mailserver.plugins.bayes.scoring import Row, Totals

__all__ = [
    "EVERYBODY", "Learned", "Owner", "add", "find", "find_learned", "forget", "forget_learned", "forget_some", "key_of",
    "note_learned", "open_database", "owner_of", "owners", "used",
]  # fmt: skip

#: The name of the owner of what all accounts learned.
EVERYBODY = ""
_VERSION = 1
_SCHEMA = (
    "CREATE TABLE key (id INTEGER PRIMARY KEY CHECK (id = 1), value BLOB NOT NULL)",
    """CREATE TABLE owner (
        id INTEGER PRIMARY KEY, account TEXT NOT NULL UNIQUE, since REAL NOT NULL, junk INTEGER NOT NULL,
        good INTEGER NOT NULL
    )""",
    # `day`: the last one on which it was learned from.
    """CREATE TABLE token (
        owner INTEGER NOT NULL, number INTEGER NOT NULL, junk INTEGER NOT NULL, good INTEGER NOT NULL,
        day INTEGER NOT NULL, PRIMARY KEY (owner, number)
    ) WITHOUT ROWID""",
    # In whose counts a message is: `own` its owner's, `everybody` those of all.
    """CREATE TABLE learned (
        owner INTEGER NOT NULL, message BLOB NOT NULL, junk INTEGER NOT NULL, own INTEGER NOT NULL,
        everybody INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (owner, message)
    ) WITHOUT ROWID""",
    "CREATE INDEX learned_at ON learned (at)",
)
_KEY_OCTETS = 32
#: Numbers in one question; SQLite takes 32,766 variables.
_AT_ONCE = 2_000
#: Rows that are looked at in one step of forgetting, some 20 ms.
_SLICE = 10_000
_CACHE_KIB = 8_192


@dataclass(frozen=True, slots=True)
class Owner:
    """An account, or everybody. `since` (epoch seconds) is when it began to learn."""

    id: int
    account: str
    since: float
    totals: Totals


@dataclass(frozen=True, slots=True)
class Learned:
    """As what a message was learned, and in whose counts it is."""

    junk: bool
    own: bool = False
    everybody: bool = False


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    db = api.open_side_database(path, _VERSION, _SCHEMA)
    try:
        db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        db.execute("INSERT OR IGNORE INTO key (id, value) VALUES (1, ?)", (secrets.token_bytes(_KEY_OCTETS),))
    except BaseException:
        db.close()
        raise
    return db


def key_of(db: sqlite3.Connection) -> bytes:
    """The key of the tokens' numbers."""
    (key,) = db.execute("SELECT value FROM key").fetchone()
    return bytes(key)


def owners(db: sqlite3.Connection) -> list[Owner]:
    """All of them, everybody first."""
    rows = db.execute("SELECT id, account, since, junk, good FROM owner ORDER BY account")
    return [Owner(number, account, since, Totals(junk, good)) for number, account, since, junk, good in rows]


def owner_of(db: sqlite3.Connection, account: str, now: float) -> Owner:
    """One of them, made if need be, within a transaction."""
    db.execute("INSERT OR IGNORE INTO owner (account, since, junk, good) VALUES (?, ?, 0, 0)", (account, now))
    number, since, junk, good = db.execute(
        "SELECT id, since, junk, good FROM owner WHERE account = ?", (account,)
    ).fetchone()
    return Owner(number, account, since, Totals(junk, good))


def find(db: sqlite3.Connection, owner: int, numbers: Sequence[int]) -> dict[int, Row]:
    """The counts of those tokens that are known."""
    found: dict[int, Row] = {}
    for start in range(0, len(numbers), _AT_ONCE):
        some = numbers[start : start + _AT_ONCE]
        places = ",".join("?" * len(some))
        rows = db.execute(
            f"SELECT number, junk, good FROM token WHERE owner = {owner:d} AND number IN ({places})",  # noqa: S608
            some,
        )
        found.update((number, (junk, good)) for number, junk, good in rows)
    return found


def add(db: sqlite3.Connection, owner: int, numbers: Iterable[int], *, junk: int, good: int, day: int) -> None:
    """Count a message (1, 0 or 0, 1), or take it back (-1), within a transaction."""
    if junk + good > 0:
        db.executemany(
            "INSERT INTO token VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET junk = junk + excluded.junk, good = good + excluded.good, day = excluded.day",
            [(owner, number, junk, good, day) for number in numbers],
        )
    else:
        db.executemany(
            "UPDATE token SET junk = max(0, junk + ?), good = max(0, good + ?) WHERE owner = ? AND number = ?",
            [(junk, good, owner, number) for number in numbers],
        )
    db.execute(
        "UPDATE owner SET junk = max(0, junk + ?), good = max(0, good + ?) WHERE id = ?", (junk, good, owner)
    )


def find_learned(db: sqlite3.Connection, owner: int, message: bytes) -> Learned | None:
    """As what a message was learned; None: it was not."""
    row = db.execute(
        "SELECT junk, own, everybody FROM learned WHERE owner = ? AND message = ?", (owner, message)
    ).fetchone()
    return None if row is None else Learned(*map(bool, row))


def note_learned(db: sqlite3.Connection, owner: int, message: bytes, learned: Learned, at: float) -> None:
    """It was learned as this now."""
    db.execute(
        "REPLACE INTO learned VALUES (?, ?, ?, ?, ?, ?)",
        (owner, message, learned.junk, learned.own, learned.everybody, at),
    )


def forget(db: sqlite3.Connection, owner: Owner, now: float) -> None:
    """All that an owner learned, within a transaction. What everybody learned from it stays, and with it the memory of
    from which messages that was."""
    db.execute("DELETE FROM token WHERE owner = ?", (owner.id,))
    db.execute("UPDATE owner SET junk = 0, good = 0, since = ? WHERE id = ?", (now, owner.id))
    if owner.account == EVERYBODY:
        db.execute("DELETE FROM learned WHERE owner = ? OR own = 0", (owner.id,))
        db.execute("UPDATE learned SET everybody = 0")
    else:
        db.execute("DELETE FROM learned WHERE owner = ? AND everybody = 0", (owner.id,))
        db.execute("UPDATE learned SET own = 0 WHERE owner = ?", (owner.id,))


def forget_some(
    db: sqlite3.Connection, after: tuple[int, int], least: int, before: int
) -> tuple[int, int] | None:
    """One step of forgetting: of the next rows behind `after` (owner, number) those go that were seen in fewer than
    `least` messages, and last before the day `before`, and all that were taken back. Where to go on; None at the end.
    """
    last: tuple[int, int] | None = db.execute(
        "SELECT owner, number FROM token WHERE (owner, number) > (?, ?) ORDER BY owner, number LIMIT 1 OFFSET ?",
        (*after, _SLICE - 1),
    ).fetchone()
    bound = last or ((1 << 62), 0)
    with api.transaction(db):
        db.execute(
            "DELETE FROM token WHERE (owner, number) > (?, ?) AND (owner, number) <= (?, ?)"
            " AND (junk + good < ? AND day < ? OR junk + good = 0)",
            (*after, *bound, least, before),
        )
    db.execute("PRAGMA incremental_vacuum(500)").fetchall()
    return last


def forget_learned(db: sqlite3.Connection, most: int) -> None:
    """Of more than so many messages the oldest are not remembered, so they would count once more."""
    (count,) = db.execute("SELECT count(*) FROM learned").fetchone()
    if count > most:
        with api.transaction(db):
            db.execute(
                "DELETE FROM learned WHERE (owner, message) IN"
                " (SELECT owner, message FROM learned ORDER BY at LIMIT ?)",
                (min(count - most, _SLICE),),
            )


def used(db: sqlite3.Connection) -> int:
    """Octets in use."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * size
