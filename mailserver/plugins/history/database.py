"""`history.db`: its tables, and the functions that run in the recorder's thread (raising sqlite3.Error, OSError)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson

from mailserver import api
from mailserver.plugins.history.rows import EventRow, JudgedRow, MessageRow, Rows

__all__ = ["find", "open_database", "prune", "related", "select", "write"]

_VERSION = 1
_SCHEMA = (
    """CREATE TABLE message (
        queue_id TEXT NOT NULL PRIMARY KEY, at REAL NOT NULL, service TEXT NOT NULL, peer TEXT NOT NULL,
        account TEXT NOT NULL, sender TEXT COLLATE NOCASE, message_id TEXT NOT NULL, size INTEGER NOT NULL,
        recipients INTEGER NOT NULL, origin TEXT NOT NULL, held_until REAL NOT NULL
    )""",
    "CREATE INDEX message_at ON message (at)",
    "CREATE INDEX message_sender ON message (sender, at)",
    "CREATE INDEX message_id ON message (message_id) WHERE message_id <> ''",
    "CREATE INDEX message_origin ON message (origin) WHERE origin <> ''",
    # Rows come about in the order of time, so the oldest ones are those with the lowest rowid.
    """CREATE TABLE event (
        queue_id TEXT NOT NULL, at REAL NOT NULL, status TEXT NOT NULL, recipient TEXT NOT NULL COLLATE NOCASE,
        destination TEXT NOT NULL COLLATE NOCASE, attempt INTEGER NOT NULL, code INTEGER NOT NULL,
        enhanced TEXT NOT NULL, reply TEXT NOT NULL, remote TEXT NOT NULL, address TEXT NOT NULL, tls TEXT NOT NULL,
        policy TEXT NOT NULL, success TEXT NOT NULL, next_attempt REAL, report TEXT NOT NULL,
        doubtful INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX event_at ON event (at)",
    "CREATE INDEX event_queue_id ON event (queue_id)",
    "CREATE INDEX event_recipient ON event (recipient, at)",
)
#: What came later; a history from before it is kept.
_ADDED = (
    """CREATE TABLE IF NOT EXISTS judged (
        queue_id TEXT NOT NULL, at REAL NOT NULL, account TEXT NOT NULL, recipient TEXT NOT NULL,
        author TEXT NOT NULL COLLATE NOCASE, mailbox TEXT NOT NULL, refused INTEGER NOT NULL, reply TEXT NOT NULL,
        reason TEXT NOT NULL, score REAL NOT NULL, reasons TEXT NOT NULL, results TEXT NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS judged_at ON judged (at)",
    "CREATE INDEX IF NOT EXISTS judged_queue_id ON judged (queue_id)",
    "CREATE INDEX IF NOT EXISTS judged_author ON judged (author, at) WHERE author <> ''",
)
_MESSAGE = ", ".join(one.name for one in fields(MessageRow))
_EVENT = ", ".join(one.name for one in fields(EventRow))
_JUDGED = ", ".join(one.name for one in fields(JudgedRow))
_message_values, _event_values, _judged_values = (
    attrgetter(*(one.name for one in fields(kind))) for kind in (MessageRow, EventRow, JudgedRow)
)
#: As `Rows.add` does.
_UPSERT = f"""INSERT INTO message ({_MESSAGE}) VALUES ({", ".join("?" * len(fields(MessageRow)))})
    ON CONFLICT (queue_id) DO UPDATE SET
    at = min(at, excluded.at), sender = coalesce(sender, excluded.sender),
    service = iif(service = '', excluded.service, service), peer = iif(peer = '', excluded.peer, peer),
    account = iif(account = '', excluded.account, account),
    message_id = iif(message_id = '', excluded.message_id, message_id),
    size = max(size, excluded.size), recipients = max(recipients, excluded.recipients),
    origin = iif(origin = '', excluded.origin, origin), held_until = max(held_until, excluded.held_until)"""  # noqa: S608
_INSERT = f"INSERT INTO event ({_EVENT}) VALUES ({', '.join('?' * len(fields(EventRow)))})"  # noqa: S608
_INSERT_JUDGED = f"INSERT INTO judged ({_JUDGED}) VALUES ({', '.join('?' * len(fields(JudgedRow)))})"  # noqa: S608
#: Rows that go in one transaction, so that nobody waits long.
_AT_ONCE = 5_000
#: Tables whose oldest rows go first.
_TABLES = ("event", "judged")
#: Messages of which nothing else is left.
_DELETE_MESSAGES = f"""DELETE FROM message WHERE queue_id IN (SELECT queue_id FROM message m WHERE at <= ?
    AND NOT EXISTS (SELECT 1 FROM event WHERE event.queue_id = m.queue_id)
    AND NOT EXISTS (SELECT 1 FROM judged WHERE judged.queue_id = m.queue_id) LIMIT {_AT_ONCE})"""  # noqa: S608
_MOST_RELATED = 100
#: Messages of a sender, the newest ones, when somebody asks for all of them; and judgements of one message.
_MOST_OF_SENDER = 10
_MOST_JUDGED = 1000
#: A look every so many steps of SQLite's machine whether a search has taken too long.
_STEPS = 10_000


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    db = api.open_side_database(path, _VERSION, _SCHEMA)
    try:
        with api.transaction(db):
            for statement in _ADDED:
                db.execute(statement)
            if all(row[1] != "doubtful" for row in db.execute("PRAGMA table_info(event)")):
                db.execute("ALTER TABLE event ADD COLUMN doubtful INTEGER NOT NULL DEFAULT 0")
    except BaseException:
        db.close()
        raise
    return db


def write(db: sqlite3.Connection, rows: Rows) -> None:
    """Add what happened."""
    with api.transaction(db):
        db.executemany(_UPSERT, map(_message_values, rows.messages.values()))
        db.executemany(_INSERT, map(_event_values, rows.events))
        db.executemany(_INSERT_JUDGED, map(_judged_values, rows.judged))


def prune(db: sqlite3.Connection, since: float, max_size: int) -> None:
    """Forget what is from before `since` (epoch seconds), and the oldest while it is too large; then messages of which
    nothing is left."""
    while any(_delete(db, table, "at < ?", since) for table in _TABLES):
        pass
    while _used(db) > max_size:
        ends = {table: db.execute(f"SELECT min(rowid), max(rowid) FROM {table}").fetchone() for table in _TABLES}  # noqa: S608
        bounds = {table: first + (last - first) // 20 for table, (first, last) in ends.items() if first is not None}
        if not bounds:
            break
        times = [
            db.execute(f"SELECT at FROM {table} WHERE rowid >= ?", (bound,)).fetchone()[0]  # noqa: S608
            for table, bound in bounds.items()
        ]
        while any(_delete(db, table, "rowid <= ?", bound) for table, bound in bounds.items()):
            pass
        since = max(since, min(times))
        _delete_messages(db, since)
    _delete_messages(db, since)
    db.execute("PRAGMA incremental_vacuum(2000)").fetchall()


def _delete(db: sqlite3.Connection, table: str, which: str, bound: float) -> bool:
    """A part of what is bound to go; False: that was all."""
    with api.transaction(db):
        done = db.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {which} LIMIT {_AT_ONCE})",  # noqa: S608
            (bound,),
        )
    return done.rowcount == _AT_ONCE


def _delete_messages(db: sqlite3.Connection, since: float) -> None:
    rows = _AT_ONCE
    while rows == _AT_ONCE:
        with api.transaction(db):
            rows = db.execute(_DELETE_MESSAGES, (since,)).rowcount


def _used(db: sqlite3.Connection) -> int:
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * size


def find(db: sqlite3.Connection, where: str, values: Sequence[Any], limit: int, seconds: float) -> list[dict[str, Any]]:
    """Events with their messages, the newest first. Raises LimitReached after `seconds`."""
    events = ", ".join(f"e.{one.name}" for one in fields(EventRow))
    with _limited(db, seconds):
        return select(
            db,
            f"SELECT {events}, m.sender, m.account, m.message_id, m.size FROM event e"  # noqa: S608
            f" LEFT JOIN message m ON m.queue_id = e.queue_id {where} ORDER BY e.at DESC, e.rowid DESC LIMIT ?",
            (*values, limit),
        )


def related(db: sqlite3.Connection, name: str) -> list[dict[str, Any]]:
    """The messages that are called so (a queue id, or a Message-ID without brackets), with those that they were made
    from and that were made from them, and the events and judgements of each; the oldest first.

    When none is called so, the newest ones that came from the address `name`.
    """
    waiting = [*_ids(db, "SELECT queue_id FROM message WHERE message_id = ? LIMIT ?", name, _MOST_RELATED), name]
    found: dict[str, dict[str, Any]] = {}
    if "@" in name and len(waiting) == 1:
        waiting = _of_sender(db, name)
    while waiting and len(found) < _MOST_RELATED:
        queue_id = waiting.pop(0)
        if queue_id in found:
            continue
        for row in select(db, f"SELECT {_MESSAGE} FROM message WHERE queue_id = ?", (queue_id,)):  # noqa: S608
            found[queue_id] = row
            waiting += [row["origin"]] if row["origin"] else []
            waiting += _ids(db, "SELECT queue_id FROM message WHERE origin = ? LIMIT ?", queue_id, _MOST_RELATED)
    for queue_id, row in found.items():
        row["events"] = select(
            db,
            f"SELECT {_EVENT} FROM event WHERE queue_id = ? ORDER BY status NOT IN ('accepted', 'queued'), at, rowid"  # noqa: S608
            " LIMIT ?",
            (queue_id, _AT_ONCE),
        )
        row["judged"] = _judgements(db, queue_id)
    return sorted(found.values(), key=lambda row: (row["at"], row["queue_id"]))


def _ids(db: sqlite3.Connection, statement: str, *values: Any) -> list[str]:
    return [row[0] for row in db.execute(statement, values)]


def _of_sender(db: sqlite3.Connection, address: str) -> list[str]:
    """The newest messages with this envelope sender or author."""
    queries = (
        "SELECT at, queue_id FROM message WHERE sender = ? ORDER BY at DESC LIMIT ?",
        "SELECT at, queue_id FROM judged WHERE author = ? AND author <> '' ORDER BY at DESC LIMIT ?",
    )
    rows = [row for query in queries for row in db.execute(query, (address, _MOST_JUDGED))]
    return list(dict.fromkeys(queue_id for _, queue_id in sorted(rows, reverse=True)))[:_MOST_OF_SENDER]


def _judgements(db: sqlite3.Connection, queue_id: str) -> list[dict[str, Any]]:
    rows = select(
        db, f"SELECT {_JUDGED} FROM judged WHERE queue_id = ? ORDER BY rowid LIMIT ?", (queue_id, _MOST_JUDGED)  # noqa: S608
    )
    # What went through the queue is told again when it is in a mailbox.
    last = {(row["account"], row["recipient"]): row for row in rows}
    return [
        {
            **row, "refused": bool(row["refused"]), "reasons": orjson.loads(row["reasons"]),
            "results": orjson.loads(row["results"]),
        }
        for row in last.values()
    ]  # fmt: skip


def select(db: sqlite3.Connection, statement: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows by the names of their columns."""
    cursor = db.execute(statement, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


@contextmanager
def _limited(db: sqlite3.Connection, seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    db.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error) != "interrupted":
            raise
        raise api.LimitReached("the search takes too long; narrow it down, by --since for example") from None
    finally:
        db.set_progress_handler(None, 0)
