"""`tlsrpt.db`: its tables, and the functions that run in its thread (raising sqlite3.Error, OSError)."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mailserver import api

__all__ = [
    "Due", "Failure", "PolicyKey", "add_counts", "due", "load", "mark", "open_database", "prune", "select",
]  # fmt: skip

_VERSION = 1
_SCHEMA = (
    # One row for each domain and UTC day that we had sessions with.
    """CREATE TABLE report (
        id INTEGER PRIMARY KEY, day TEXT NOT NULL, domain TEXT NOT NULL, queue_id TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting', attempts INTEGER NOT NULL DEFAULT 0, first REAL NOT NULL DEFAULT 0,
        next REAL NOT NULL, told TEXT NOT NULL DEFAULT '[]', trouble TEXT NOT NULL DEFAULT '', UNIQUE (day, domain)
    )""",
    "CREATE INDEX report_next ON report (state, next)",
    """CREATE TABLE policy (
        id INTEGER PRIMARY KEY, report INTEGER NOT NULL REFERENCES report (id), type TEXT NOT NULL,
        domain TEXT NOT NULL, text TEXT NOT NULL, patterns TEXT NOT NULL, good INTEGER NOT NULL DEFAULT 0,
        bad INTEGER NOT NULL DEFAULT 0, UNIQUE (report, type, domain, text, patterns)
    )""",
    """CREATE TABLE failure (
        policy INTEGER NOT NULL REFERENCES policy (id), result TEXT NOT NULL, source TEXT NOT NULL, host TEXT NOT NULL,
        address TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (policy, result, source, host, address, reason)
    ) WITHOUT ROWID""",
    # One row for each policy in a report that somebody sent us; the oldest have the lowest ids.
    """CREATE TABLE received (
        id INTEGER PRIMARY KEY, at REAL NOT NULL, reporter TEXT NOT NULL, contact TEXT NOT NULL,
        report_id TEXT NOT NULL, number INTEGER NOT NULL, begins REAL NOT NULL, ends REAL NOT NULL,
        domain TEXT NOT NULL, type TEXT NOT NULL, good INTEGER NOT NULL, bad INTEGER NOT NULL, failures TEXT NOT NULL,
        UNIQUE (contact, report_id, number)
    )""",
    "CREATE INDEX received_domain ON received (domain, begins)",
)
#: What somebody could make us write: domains of a day, policies of a domain, kinds of failure of a policy.
MOST_DOMAINS = 10_000
MOST_POLICIES = 20
MOST_FAILURES = 100
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class PolicyKey:
    """What is counted together. `day` as 2026-11-20; `type`, `text`, `patterns` as in RFC 8460 §4.4; `name` is its
    policy-domain, and `domain` the one that mail went to and that gets the report."""

    day: str
    domain: str
    type: str
    name: str
    text: tuple[str, ...]
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why sessions failed (RFC 8460 §4.4 failure-details); all but `result` may be ""."""

    result: str
    source: str = ""
    host: str = ""
    address: str = ""
    reason: str = ""


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


Counts = Mapping[PolicyKey, tuple[int, Mapping[Failure, int]]]


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make it."""
    db = api.open_side_database(path, _VERSION, _SCHEMA)
    # Which report has been sent must outlive a loss of power.
    db.execute("PRAGMA synchronous=FULL")
    return db


def add_counts(db: sqlite3.Connection, counts: Counts, due_at: Mapping[tuple[str, str], float]) -> int:
    """Add sessions (good ones, and bad ones by failure); `due_at` has when the report of each day and domain is to be
    sent. Returns how many sessions did not fit."""
    lost = 0
    # Domains of each day: counted once, for there may be many.
    domains: dict[str, int] = {}
    with api.transaction(db):
        for key, (good, failures) in counts.items():
            policy = _policy(db, key, due_at[key.day, key.domain], domains)
            bad = sum(failures.values())
            if policy is None:
                lost += good + bad
                continue
            db.execute("UPDATE policy SET good = good + ?, bad = bad + ? WHERE id = ?", (good, bad, policy))
            for failure, count in failures.items():
                _add_failure(db, policy, failure, count)
    return lost


def _policy(db: sqlite3.Connection, key: PolicyKey, due_at: float, domains: dict[str, int]) -> int | None:
    """The row that counts, made if there is none; None where there are too many."""
    row = db.execute("SELECT id FROM report WHERE day = ? AND domain = ?", (key.day, key.domain)).fetchone()
    if row is None:
        if key.day not in domains:
            (domains[key.day],) = db.execute("SELECT count(*) FROM report WHERE day = ?", (key.day,)).fetchone()
        if domains[key.day] >= MOST_DOMAINS:
            return None
        domains[key.day] += 1
        row = db.execute(
            "INSERT INTO report (day, domain, queue_id, next) VALUES (?, ?, ?, ?) RETURNING id",
            (key.day, key.domain, api.new_queue_id(), due_at),
        ).fetchone()
    report = row[0]
    values = (report, key.type, key.name, _json(key.text), _json(key.patterns))
    row = db.execute(
        "SELECT id FROM policy WHERE report = ? AND type = ? AND domain = ? AND text = ? AND patterns = ?", values
    ).fetchone()
    if row is None:
        (number,) = db.execute("SELECT count(*) FROM policy WHERE report = ?", (report,)).fetchone()
        if number >= MOST_POLICIES:
            return None
        row = db.execute(
            "INSERT INTO policy (report, type, domain, text, patterns) VALUES (?, ?, ?, ?, ?) RETURNING id", values
        ).fetchone()
    return int(row[0])


def _add_failure(db: sqlite3.Connection, policy: int, failure: Failure, count: int) -> None:
    """Where there are too many kinds, only the result type is kept: those are few."""
    update = (
        "UPDATE failure SET count = count + ?"
        " WHERE policy = ? AND result = ? AND source = ? AND host = ? AND address = ? AND reason = ?"
    )
    insert = "INSERT INTO failure (count, policy, result, source, host, address, reason) VALUES (?, ?, ?, ?, ?, ?, ?)"
    values = (count, policy, failure.result, failure.source, failure.host, failure.address, failure.reason)
    if db.execute(update, values).rowcount:
        return
    (number,) = db.execute("SELECT count(*) FROM failure WHERE policy = ?", (policy,)).fetchone()
    if number >= MOST_FAILURES:
        values = (count, policy, failure.result, "", "", "", "")
        if db.execute(update, values).rowcount:
            return
    db.execute(insert, values)


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


def load(db: sqlite3.Connection, report: int) -> list[dict[str, Any]]:
    """The policies of a report, with their failures."""
    rows = select(db, "SELECT * FROM policy WHERE report = ? ORDER BY id", (report,))
    for row in rows:
        row["text"], row["patterns"] = orjson.loads(row["text"]), orjson.loads(row["patterns"])
        row["failures"] = select(
            db,
            "SELECT result, source, host, address, reason, count FROM failure WHERE policy = ?"
            " ORDER BY count DESC, result, host, address",
            (row["id"],),
        )
    return rows


def mark(db: sqlite3.Connection, report: Due, /, **changes: Any) -> None:
    """Durably change columns of a report: state, attempts, first, next, told, trouble."""
    if "told" in changes:
        changes["told"] = _json(changes["told"])
    columns = ", ".join(f"{name} = ?" for name in changes)
    db.execute(f"UPDATE report SET {columns} WHERE id = ?", (*changes.values(), report.id))  # noqa: S608


def prune(db: sqlite3.Connection, before_day: str, received_before: float) -> None:
    """Forget our counts of days before `before_day`, and what was received before (epoch seconds)."""
    with api.transaction(db):
        old = "SELECT id FROM report WHERE day < ?"
        db.execute(
            f"DELETE FROM failure WHERE policy IN (SELECT id FROM policy WHERE report IN ({old}))",  # noqa: S608
            (before_day,),
        )
        db.execute(f"DELETE FROM policy WHERE report IN ({old})", (before_day,))  # noqa: S608
        db.execute("DELETE FROM report WHERE day < ?", (before_day,))
        db.execute("DELETE FROM received WHERE at < ?", (received_before,))
    db.execute("PRAGMA incremental_vacuum(2000)").fetchall()


def select(db: sqlite3.Connection, statement: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Rows by the names of their columns."""
    cursor = db.execute(statement, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _json(texts: Sequence[str]) -> str:
    return orjson.dumps(list(texts)).decode()
