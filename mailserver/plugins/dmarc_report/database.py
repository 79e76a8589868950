"""`dmarc_report.db`: its tables, and the functions that run in its thread (raising sqlite3.Error, OSError)."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mailserver import api

__all__ = ["Counts", "Due", "add_counts", "due", "load", "mark", "open_database", "prune", "select", "write_received"]

_VERSION = 1
_SCHEMA = (
    # One row for each policy domain and UTC day; `policy` is the record that was seen last, `lost` are the messages
    # that no row has.
    """CREATE TABLE report (
        id INTEGER PRIMARY KEY, day TEXT NOT NULL, domain TEXT NOT NULL, queue_id TEXT NOT NULL, policy TEXT NOT NULL,
        lost INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'waiting', attempts INTEGER NOT NULL DEFAULT 0,
        first REAL NOT NULL DEFAULT 0, next REAL NOT NULL, told TEXT NOT NULL DEFAULT '[]',
        trouble TEXT NOT NULL DEFAULT '', UNIQUE (day, domain)
    )""",
    "CREATE INDEX report_next ON report (state, next)",
    """CREATE TABLE record (
        report INTEGER NOT NULL REFERENCES report (id), facts TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (report, facts)
    ) WITHOUT ROWID""",
    # One row for each report that somebody sent us; the oldest have the lowest ids.
    """CREATE TABLE received (
        id INTEGER PRIMARY KEY, at REAL NOT NULL, organisation TEXT NOT NULL, contact TEXT NOT NULL,
        report_id TEXT NOT NULL, proved INTEGER NOT NULL, domain TEXT NOT NULL, p TEXT NOT NULL, begins REAL NOT NULL,
        ends REAL NOT NULL, messages INTEGER NOT NULL, failed INTEGER NOT NULL, refused INTEGER NOT NULL,
        quarantined INTEGER NOT NULL, unlisted INTEGER NOT NULL, rows TEXT NOT NULL,
        UNIQUE (contact, report_id, domain, begins)
    )""",
    "CREATE INDEX received_domain ON received (domain, begins)",
)
#: What somebody could make us write: domains of a day, rows of a report.
MOST_DOMAINS = 10_000
MOST_ROWS = 5_000
#: Reports of others: in a day (of those that nothing proves, a quarter), and in all.
MOST_A_DAY, MOST_RECEIVED = 1_000, 5_000
_AT_ONCE = 1_000

#: By day and policy domain: the policy, and how many messages by their facts.
Counts = Mapping[tuple[str, str], tuple[Mapping[str, Any], Mapping[str, int]]]


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


def add_counts(db: sqlite3.Connection, counts: Counts, due_at: Mapping[tuple[str, str], float]) -> int:
    """Add messages; `due_at` has when the report of each day and domain is to be sent. Returns how many messages did
    not fit."""
    lost = 0
    with api.transaction(db):
        for (day, domain), (policy, rows) in counts.items():
            report = _report(db, day, domain, policy, due_at[day, domain])
            if report is None:
                lost += sum(rows.values())
                continue
            left = _add_rows(db, report, rows)
            db.execute(
                "UPDATE report SET policy = ?, lost = lost + ? WHERE id = ?",
                (orjson.dumps(policy).decode(), left, report),
            )
            lost += left
    return lost


def _report(db: sqlite3.Connection, day: str, domain: str, policy: Mapping[str, Any], due_at: float) -> int | None:
    """The row, made if there is none; None where there are too many."""
    row = db.execute("SELECT id FROM report WHERE day = ? AND domain = ?", (day, domain)).fetchone()
    if row is None:
        (number,) = db.execute("SELECT count(*) FROM report WHERE day = ?", (day,)).fetchone()
        if number >= MOST_DOMAINS:
            return None
        row = db.execute(
            "INSERT INTO report (day, domain, queue_id, policy, next) VALUES (?, ?, ?, ?, ?) RETURNING id",
            (day, domain, api.new_queue_id(), orjson.dumps(policy).decode(), due_at),
        ).fetchone()
    return int(row[0])


def _add_rows(db: sqlite3.Connection, report: int, rows: Mapping[str, int]) -> int:
    """How many messages did not fit."""
    (number,) = db.execute("SELECT count(*) FROM record WHERE report = ?", (report,)).fetchone()
    lost = 0
    for facts, count in rows.items():
        update = "UPDATE record SET count = count + ? WHERE report = ? AND facts = ?"
        if db.execute(update, (count, report, facts)).rowcount:
            continue
        if number >= MOST_ROWS:
            lost += count
            continue
        number += 1
        db.execute("INSERT INTO record (report, facts, count) VALUES (?, ?, ?)", (report, facts, count))
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


def load(db: sqlite3.Connection, report: int) -> dict[str, Any]:
    """A report's policy, rows (those with most messages first) and `lost` messages."""
    (found,) = select(db, "SELECT policy, lost FROM report WHERE id = ?", (report,))
    rows = select(db, "SELECT facts, count FROM record WHERE report = ? ORDER BY count DESC, facts", (report,))
    return {
        "policy": orjson.loads(found["policy"]), "lost": found["lost"],
        "rows": [orjson.loads(row["facts"]) | {"count": row["count"]} for row in rows],
    }  # fmt: skip


def mark(db: sqlite3.Connection, report: Due, /, **changes: Any) -> None:
    """Durably change columns of a report: state, attempts, first, next, told, trouble."""
    if "told" in changes:
        changes["told"] = orjson.dumps(list(changes["told"])).decode()
    columns = ", ".join(f"{name} = ?" for name in changes)
    db.execute(f"UPDATE report SET {columns} WHERE id = ?", (*changes.values(), report.id))  # noqa: S608


def prune(db: sqlite3.Connection, before_day: str, received_before: float) -> None:
    """Forget our counts of days before `before_day`, and what was received before (epoch seconds)."""
    with api.transaction(db):
        db.execute("DELETE FROM record WHERE report IN (SELECT id FROM report WHERE day < ?)", (before_day,))
        db.execute("DELETE FROM report WHERE day < ?", (before_day,))
        db.execute("DELETE FROM received WHERE at < ?", (received_before,))
    db.execute("PRAGMA incremental_vacuum(2000)").fetchall()


def write_received(db: sqlite3.Connection, row: Mapping[str, Any]) -> bool | None:
    """Add a report of others, by columns; whether it is new (RFC 9990 §3.5.4: duplicates are known by the report's id).

    None: too much came in a day. Then what came before it stays, whoever sends all that.
    """
    today = "SELECT count(*) FROM received WHERE at > ? - 86400 AND proved = ?"
    (number,) = db.execute(today, (row["at"], row["proved"])).fetchone()
    if number >= (MOST_A_DAY if row["proved"] else MOST_A_DAY // 4):
        return None
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    with api.transaction(db):
        new = db.execute(f"INSERT OR IGNORE INTO received ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608
        added = new.rowcount == 1
        db.execute("DELETE FROM received WHERE id <= (SELECT max(id) FROM received) - ?", (MOST_RECEIVED,))
    return added


def select(db: sqlite3.Connection, statement: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Rows by the names of their columns."""
    cursor = db.execute(statement, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
