"""`dmarc_report.db` and `tlsrpt.db`: their tables, and the functions that run in their threads (raising sqlite3.Error,
OSError)."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mailserver import api
from mailserver.plugins.aggregate_reports.kind import Found, Kind, Limits, Received, ReceivedPart

__all__ = [
    "Batch", "Due", "add_counts", "add_received", "due", "load", "mark", "open_database", "prune", "received", "sent",
]  # fmt: skip

_VERSION = 2
_SCHEMA = (
    # One row for each domain and UTC day. `about` is what was told last of the whole, `lost` is what no record has.
    """CREATE TABLE report (
        id INTEGER PRIMARY KEY, day TEXT NOT NULL, domain TEXT NOT NULL, queue_id TEXT NOT NULL, about TEXT NOT NULL,
        lost INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'waiting', attempts INTEGER NOT NULL DEFAULT 0,
        first REAL NOT NULL DEFAULT 0, next REAL NOT NULL, told TEXT NOT NULL DEFAULT '[]',
        trouble TEXT NOT NULL DEFAULT '', UNIQUE (day, domain)
    )""",
    "CREATE INDEX report_next ON report (state, next)",
    """CREATE TABLE record (
        id INTEGER PRIMARY KEY, report INTEGER NOT NULL REFERENCES report (id), facts TEXT NOT NULL,
        count INTEGER NOT NULL, UNIQUE (report, facts)
    )""",
    # One row for each part of a report that somebody sent us; the oldest have the lowest ids.
    """CREATE TABLE received (
        id INTEGER PRIMARY KEY, at REAL NOT NULL, organisation TEXT NOT NULL, contact TEXT NOT NULL,
        report_id TEXT NOT NULL, doubtful INTEGER NOT NULL, begins REAL NOT NULL, ends REAL NOT NULL,
        number INTEGER NOT NULL, domain TEXT NOT NULL, facts TEXT NOT NULL,
        UNIQUE (contact, report_id, domain, begins, number)
    )""",
    "CREATE INDEX received_domain ON received (domain, begins)",
)
#: What somebody could make us write: domains of a day; and of one, rows that only what is left of others may have.
MOST_DOMAINS = 10_000
_MOST_COARSE = 500
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Of a domain and day: `about`, and how often there were which facts."""

    about: str
    rows: dict[str, int]


@dataclass(frozen=True, slots=True)
class Due:
    """A report to send: `told` are the places that have it; times are epoch seconds, `first` 0: not tried yet."""

    id: int
    day: str
    domain: str
    queue_id: str
    attempts: int
    first: float
    told: tuple[str, ...]


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    db = api.open_side_database(path, _VERSION, _SCHEMA)
    # Which report has been sent must outlive a loss of power.
    db.execute("PRAGMA synchronous=FULL")
    return db


def add_counts(
    db: sqlite3.Connection, kind: Kind, counts: Mapping[tuple[str, str], Batch],
    due_at: Mapping[tuple[str, str], float],
) -> int:  # fmt: skip
    """Add to each day and domain; `due_at` has when its report is to be sent. Returns how much did not fit."""
    lost = 0
    # Domains of each day: counted once, for there may be many.
    domains: dict[str, int] = {}
    with api.transaction(db):
        for key, batch in counts.items():
            report = _report(db, key, due_at[key], domains)
            if report is None:
                lost += sum(batch.rows.values())
                continue
            left = _add_rows(db, kind, report, batch.rows)
            db.execute("UPDATE report SET about = ?, lost = lost + ? WHERE id = ?", (batch.about, left, report))
            lost += left
    return lost


def _report(db: sqlite3.Connection, key: tuple[str, str], due_at: float, domains: dict[str, int]) -> int | None:
    """The row, made if there is none; None where there are too many."""
    row = db.execute("SELECT id FROM report WHERE day = ? AND domain = ?", key).fetchone()
    if row is None:
        day = key[0]
        if day not in domains:
            (domains[day],) = db.execute("SELECT count(*) FROM report WHERE day = ?", (day,)).fetchone()
        if domains[day] >= MOST_DOMAINS:
            return None
        domains[day] += 1
        row = db.execute(
            "INSERT INTO report (day, domain, queue_id, about, next) VALUES (?, ?, ?, '', ?) RETURNING id",
            (*key, api.new_queue_id(), due_at),
        ).fetchone()
    return int(row[0])


def _add_rows(db: sqlite3.Connection, kind: Kind, report: int, rows: Mapping[str, int]) -> int:
    """How much did not fit."""
    (number,) = db.execute("SELECT count(*) FROM record WHERE report = ?", (report,)).fetchone()
    lost = 0
    for facts, count in rows.items():
        for kept, most in ((facts, kind.limits.rows), (kind.coarser(facts), kind.limits.rows + _MOST_COARSE)):
            update = "UPDATE record SET count = count + ? WHERE report = ? AND facts = ?"
            if db.execute(update, (count, report, kept)).rowcount:
                break
            if kept and number < most:
                db.execute("INSERT INTO record (report, facts, count) VALUES (?, ?, ?)", (report, kept, count))
                number += 1
                break
        else:
            lost += count
    return lost


def due(db: sqlite3.Connection, now: float) -> list[Due]:
    """The reports whose time has come, the oldest first; not all at once."""
    rows = db.execute(
        "SELECT id, day, domain, queue_id, attempts, first, told FROM report WHERE state = 'waiting' AND next <= ?"
        " ORDER BY next LIMIT ?",
        (now, _AT_ONCE),
    )
    return [
        Due(number, day, domain, queue_id, attempts, first, tuple(orjson.loads(told)))
        for number, day, domain, queue_id, attempts, first, told in rows
    ]


def load(db: sqlite3.Connection, report: int) -> Found:
    """All that was counted of it."""
    about, lost = db.execute("SELECT about, lost FROM report WHERE id = ?", (report,)).fetchone()
    rows = db.execute("SELECT facts, count FROM record WHERE report = ? ORDER BY count DESC, id", (report,))
    return Found(about, lost, [orjson.loads(facts) | {"count": count} for facts, count in rows])


def mark(db: sqlite3.Connection, report: Due, /, **changes: Any) -> None:
    """Durably change columns of a report: state, attempts, first, next, told, trouble."""
    if "told" in changes:
        changes["told"] = orjson.dumps(changes["told"]).decode()
    columns = ", ".join(f"{name} = ?" for name in changes)
    db.execute(f"UPDATE report SET {columns} WHERE id = ?", (*changes.values(), report.id))  # noqa: S608


def prune(db: sqlite3.Connection, before_day: str, received_before: float) -> None:
    """Forget our counts of days before `before_day`, and what was received before (epoch seconds)."""
    with api.transaction(db):
        db.execute("DELETE FROM record WHERE report IN (SELECT id FROM report WHERE day < ?)", (before_day,))
        db.execute("DELETE FROM report WHERE day < ?", (before_day,))
        db.execute("DELETE FROM received WHERE at < ?", (received_before,))
    db.execute("PRAGMA incremental_vacuum(2000)").fetchall()


def add_received(
    db: sqlite3.Connection, limits: Limits, report: Received, parts: Mapping[int, ReceivedPart], at: float
) -> int | None:
    """Add those parts of a report of others, by their numbers; how many are new (duplicates are known by the report's
    id: RFC 8460 §5.3, RFC 9990 §3.5.4).

    None: too much came in a day. Then what came before it stays, whoever sends all that.
    """
    today = "SELECT count(*) FROM received WHERE at > ? - 86400 AND doubtful = ?"
    (number,) = db.execute(today, (at, report.doubtful)).fetchone()
    if number >= (limits.day // 4 if report.doubtful else limits.day):
        return None
    before = db.total_changes
    whole = (at, report.organisation, report.contact, report.id, report.doubtful, report.begins, report.ends)
    with api.transaction(db):
        db.executemany(
            "INSERT OR IGNORE INTO received (at, organisation, contact, report_id, doubtful, begins, ends, number,"
            " domain, facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*whole, number, part.domain, orjson.dumps(part.facts).decode()) for number, part in parts.items()],
        )
        new = db.total_changes - before
        db.execute("DELETE FROM received WHERE id <= (SELECT max(id) FROM received) - ?", (limits.kept,))
    return new


def received(db: sqlite3.Connection, domain: str, most: int) -> list[dict[str, Any]]:
    """What others have told of a domain or ("") of all, the newest first."""
    rows = _select(
        db,
        "SELECT at, organisation, contact, report_id, begins, ends, domain, facts FROM received WHERE ? IN ('', domain)"
        " ORDER BY begins DESC, id DESC LIMIT ?",
        (domain, most),
    )
    return [row | orjson.loads(row.pop("facts")) for row in rows]


def sent(db: sqlite3.Connection, kind: Kind, domain: str) -> list[dict[str, Any]]:
    """What we tell others, the newest first."""
    rows = _select(
        db,
        "SELECT id, day, domain, state, next, told, trouble FROM report WHERE ? IN ('', domain)"
        " ORDER BY day DESC, domain LIMIT ?",
        (domain, kind.limits.shown),
    )
    for row in rows:
        row["told"] = orjson.loads(row["told"])
        row |= kind.told(load(db, row.pop("id")))
    return rows


def _select(db: sqlite3.Connection, statement: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    cursor = db.execute(statement, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
