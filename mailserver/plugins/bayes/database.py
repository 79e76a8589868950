"""`bayes.db`: its tables, and the functions that run in its thread (raising sqlite3.Error, OSError).

One row for a token of an owner, which is an account or, under the name "", all of them together. Which messages were
learned, as what, and how far they moved the weights is written in the same transaction as their counts, so none counts
twice, and each can be taken back, whatever happens.
"""

from __future__ import annotations

import secrets
import sqlite3
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from mailserver import api
from mailserver.plugins.bayes.scoring import Row, Totals, first_weight, packed

__all__ = [
    "EVERYBODY", "SCHEMA", "Example", "Learned", "Owner", "all_numbers", "change", "count_numbers", "drop_example",
    "find", "find_example", "find_learned", "find_packed", "forget", "forget_examples", "forget_learned",
    "forget_some", "keep_example", "key_of", "move", "note_learned", "note_step", "open_database", "owner_of",
    "owners", "used",
]  # fmt: skip

_log = structlog.get_logger()
#: The name of the owner of what all accounts learned.
EVERYBODY = ""
_VERSION = 2
# Some of the messages that were learned, to be learned from again: `numbers` of their tokens, eight octets each;
# `learner` and `message` are those of the row in `learned` that has their steps.
_EXAMPLE = """CREATE TABLE example (
    owner INTEGER NOT NULL, junk INTEGER NOT NULL, place INTEGER NOT NULL, learner INTEGER NOT NULL,
    message BLOB NOT NULL, numbers BLOB NOT NULL, UNIQUE (owner, junk, place)
)"""
SCHEMA = (
    "CREATE TABLE key (id INTEGER PRIMARY KEY CHECK (id = 1), value BLOB NOT NULL)",
    """CREATE TABLE owner (
        id INTEGER PRIMARY KEY, account TEXT NOT NULL UNIQUE, since REAL NOT NULL, junk INTEGER NOT NULL,
        good INTEGER NOT NULL
    )""",
    # `day`: the last one on which it was learned from. `weight`: in parts of `scoring.UNIT`.
    """CREATE TABLE token (
        owner INTEGER NOT NULL, number INTEGER NOT NULL, junk INTEGER NOT NULL, good INTEGER NOT NULL,
        day INTEGER NOT NULL, weight INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (owner, number)
    ) WITHOUT ROWID""",
    # In whose counts a message is: `own` its owner's, `everybody` those of all; and how far it moved their weights.
    """CREATE TABLE learned (
        owner INTEGER NOT NULL, message BLOB NOT NULL, junk INTEGER NOT NULL, own INTEGER NOT NULL,
        everybody INTEGER NOT NULL, at REAL NOT NULL, own_step REAL NOT NULL DEFAULT 0,
        everybody_step REAL NOT NULL DEFAULT 0, PRIMARY KEY (owner, message)
    ) WITHOUT ROWID""",
    "CREATE INDEX learned_at ON learned (at)",
    _EXAMPLE,
)
#: From version 1, which had counts alone: weights begin as what the counts say.
_FROM_1 = (
    "ALTER TABLE token ADD COLUMN weight INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE learned ADD COLUMN own_step REAL NOT NULL DEFAULT 0",
    "ALTER TABLE learned ADD COLUMN everybody_step REAL NOT NULL DEFAULT 0",
    _EXAMPLE,
    """UPDATE token SET weight = first_weight(token.junk, token.good, owner.junk, owner.good)
        FROM owner WHERE owner.id = token.owner AND owner.junk > 0 AND owner.good > 0""",
    "PRAGMA user_version=2",
)
_KEY_OCTETS = 32
#: Numbers in one question; SQLite takes 32,766 variables.
_SIZES = (8, 32, 128, 512, 2_000)
_AT_ONCE = _SIZES[-1]
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
    own_step: float = field(default=0.0, compare=False)
    everybody_step: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Example:
    """A message that is looked at again: the numbers of its tokens, and who taught it (`learner`) to `owner`."""

    owner: int
    junk: bool
    place: int
    learner: int
    message: bytes
    numbers: list[int]


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    _bring_up(path)
    db = api.open_side_database(path, _VERSION, SCHEMA)
    try:
        db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        db.execute("INSERT OR IGNORE INTO key (id, value) VALUES (1, ?)", (secrets.token_bytes(_KEY_OCTETS),))
    except BaseException:
        db.close()
        raise
    return db


def _bring_up(path: Path) -> None:
    if not path.exists():
        return
    db = sqlite3.connect(path, isolation_level=None)
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 1:
            db.create_function("first_weight", 4, first_weight, deterministic=True)
            with api.transaction(db):
                for statement in _FROM_1:
                    db.execute(statement)
            _log.info("bayes.brought_up", file=str(path))
    except sqlite3.DatabaseError as error:
        # A damaged one is put aside by who opens it next.
        if isinstance(error, sqlite3.OperationalError):
            raise
    finally:
        db.close()


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


def all_numbers(db: sqlite3.Connection) -> Iterator[tuple[int, int]]:
    """Owner and number of every token that is known."""
    return iter(db.execute("SELECT owner, number FROM token"))


def count_numbers(db: sqlite3.Connection) -> int:
    """How many those are."""
    (count,) = db.execute("SELECT count(*) FROM token").fetchone()
    return int(count)


def find(db: sqlite3.Connection, owner: int, numbers: Sequence[int]) -> dict[int, Row]:
    """What is known of those tokens that are known."""
    found: dict[int, Row] = {}
    for start in range(0, len(numbers), _AT_ONCE):
        some = numbers[start : start + _AT_ONCE]
        # Of a few lengths only, so that the statement was prepared before.
        size = next(size for size in _SIZES if size >= len(some))
        places = ",".join("?" * size)
        rows = db.execute(
            f"SELECT number, junk, good, weight FROM token WHERE owner = {owner:d} AND number IN ({places})",  # noqa: S608
            [*some, *[some[0]] * (size - len(some))],
        )
        found.update((number, (junk, good, weight)) for number, junk, good, weight in rows)
    return found


def find_packed(db: sqlite3.Connection, owner: int, numbers: Sequence[int]) -> dict[int, int]:
    """As `find`, with rows as `judge` takes them."""
    return {number: packed(row) for number, row in find(db, owner, numbers).items()}


def change(db: sqlite3.Connection, owner: int, moved: Mapping[int, int], *, junk: int, good: int, day: int) -> None:
    """Count a message (1, 0 or 0, 1), or take it back (-1), within a transaction. `moved`: its tokens, and by how much
    the weight of each one moves."""
    if junk + good > 0:
        db.executemany(
            "INSERT INTO token (owner, number, junk, good, day, weight) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET junk = junk + excluded.junk, good = good + excluded.good, day = excluded.day,"
            " weight = weight + excluded.weight",
            [(owner, number, junk, good, day, weight) for number, weight in moved.items()],
        )
    else:
        db.executemany(
            "UPDATE token SET junk = max(0, junk + ?), good = max(0, good + ?), weight = weight + ?"
            " WHERE owner = ? AND number = ?",
            [(junk, good, weight, owner, number) for number, weight in moved.items()],
        )
    db.execute(
        "UPDATE owner SET junk = max(0, junk + ?), good = max(0, good + ?) WHERE id = ?", (junk, good, owner)
    )


def move(db: sqlite3.Connection, owner: int, moved: Mapping[int, int]) -> None:
    """Move weights of tokens that are known, and count nothing, within a transaction."""
    db.executemany(
        "UPDATE token SET weight = weight + ? WHERE owner = ? AND number = ?",
        [(weight, owner, number) for number, weight in moved.items() if weight],
    )


def keep_example(db: sqlite3.Connection, example: Example) -> None:
    """In its place, instead of the one that is there, within a transaction."""
    numbers = array("q", example.numbers).tobytes()
    db.execute(
        "REPLACE INTO example (owner, junk, place, learner, message, numbers) VALUES (?, ?, ?, ?, ?, ?)",
        (example.owner, example.junk, example.place, example.learner, example.message, numbers),
    )


def find_example(db: sqlite3.Connection, owner: int, place: int, *, junk: bool) -> Example | None:
    """The one at this place, or the next one behind it, or else the first one."""
    sql = "SELECT place, learner, message, numbers FROM example WHERE owner = ? AND junk = ? AND place >= ?"
    rows = (db.execute(f"{sql} ORDER BY place LIMIT 1", (owner, junk, least)).fetchone() for least in (place, 0))
    row = next((row for row in rows if row is not None), None)
    if row is None:
        return None
    numbers = array("q")
    numbers.frombytes(row[3])
    return Example(owner, junk, row[0], row[1], row[2], numbers.tolist())


def drop_example(db: sqlite3.Connection, owner: int, message: bytes) -> None:
    """This message is none any more, if it was one, within a transaction."""
    db.execute("DELETE FROM example WHERE owner = ? AND message = ?", (owner, message))


def note_step(db: sqlite3.Connection, example: Example, step: float) -> None:
    """It moved the weights again, within a transaction."""
    column = "own_step" if example.learner == example.owner else "everybody_step"
    db.execute(
        f"UPDATE learned SET {column} = {column} + ? WHERE owner = ? AND message = ?",  # noqa: S608
        (step, example.learner, example.message),
    )


def find_learned(db: sqlite3.Connection, owner: int, message: bytes) -> Learned | None:
    """As what a message was learned; None: it was not."""
    row = db.execute(
        "SELECT junk, own, everybody, own_step, everybody_step FROM learned WHERE owner = ? AND message = ?",
        (owner, message),
    ).fetchone()
    return None if row is None else Learned(*map(bool, row[:3]), *row[3:])


def note_learned(db: sqlite3.Connection, owner: int, message: bytes, learned: Learned, at: float) -> None:
    """It was learned as this now."""
    db.execute(
        "REPLACE INTO learned VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (owner, message, learned.junk, learned.own, learned.everybody, at, learned.own_step, learned.everybody_step),
    )


def forget(db: sqlite3.Connection, owner: Owner, now: float) -> None:
    """All that an owner learned, within a transaction. What everybody learned from it stays, and with it the memory of
    from which messages that was."""
    db.execute("DELETE FROM token WHERE owner = ?", (owner.id,))
    db.execute("DELETE FROM example WHERE owner = ?", (owner.id,))
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


def forget_examples(db: sqlite3.Connection) -> None:
    """All but those of everybody."""
    db.execute("DELETE FROM example WHERE owner NOT IN (SELECT id FROM owner WHERE account = ?)", (EVERYBODY,))


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
