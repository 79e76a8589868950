"""The tables of `index.db`, and how a database of another version of this program becomes one of ours.

Two kinds of tables. For a second, those of the *state* know more than the directories do: answered flags, removals,
MODSEQs. They are kept by every upgrade and downgrade. The *cache* can be made again from the files alone, and is
thrown away when its layout changes. Each kind has a version of its own; `PRAGMA user_version` holds both: that of
the state, and a checksum of the cache's.
"""

from __future__ import annotations

import secrets
import sqlite3
import zlib

from mailserver.model.mailbox import Rendered

__all__ = [
    "PIECE_TABLES", "SCHEMA_VERSION", "STATE_TABLES", "STATE_VERSION", "is_ours", "prepare",
    "skip_numbers", "state_version",
]  # fmt: skip

#: Bump it when the tables of the state change; new columns need a DEFAULT.
STATE_VERSION = 1
#: Bump it when what is written into the tables of the cache changes; their columns need no bump.
CACHE_VERSION = 6
STATE_TABLES = {
    "folders": """number INTEGER PRIMARY KEY AUTOINCREMENT, mailbox_id TEXT NOT NULL UNIQUE,
        uid_validity INTEGER NOT NULL, uid_seen INTEGER NOT NULL DEFAULT 1, modseq INTEGER NOT NULL DEFAULT 1,
        forgotten INTEGER NOT NULL DEFAULT 0, epoch INTEGER NOT NULL DEFAULT 0, entries INTEGER NOT NULL DEFAULT 0,
        new_mtime INTEGER NOT NULL DEFAULT -1, cur_mtime INTEGER NOT NULL DEFAULT -1""",
    "messages": """key INTEGER PRIMARY KEY, flags INTEGER NOT NULL, modseq INTEGER NOT NULL, size INTEGER NOT NULL,
        wire INTEGER NOT NULL, date INTEGER NOT NULL, saved INTEGER NOT NULL, in_new INTEGER NOT NULL,
        dirty INTEGER NOT NULL, base BLOB NOT NULL, info BLOB NOT NULL""",
    "tombstones": "key INTEGER PRIMARY KEY, modseq INTEGER NOT NULL",
    "unlinks": "key INTEGER PRIMARY KEY, in_new INTEGER NOT NULL, base BLOB NOT NULL, info BLOB NOT NULL",
    "flag_sets": "number INTEGER PRIMARY KEY, flags TEXT NOT NULL UNIQUE",
}
_INDEXES = (
    "CREATE INDEX dirty_messages ON messages (key) WHERE dirty",
    "CREATE INDEX new_messages ON messages (key) WHERE in_new",
)
#: Where each kind of rendered piece is: so reading one kind reads no other, however large those are.
PIECE_TABLES = {field: f"rendered_{field.value}" for field in Rendered}
_PIECE = "key INTEGER PRIMARY KEY, crc INTEGER NOT NULL, piece BLOB NOT NULL"
_CACHE_TABLES = dict.fromkeys(PIECE_TABLES.values(), _PIECE) | {
    # A message without pieces of its own has those of another, which may be gone itself (pieces.py).
    "copies": "key INTEGER PRIMARY KEY, content INTEGER NOT NULL",
    # The columns of a large folder's table (snapshots.py).
    "snapshots": "number INTEGER PRIMARY KEY, entries INTEGER NOT NULL, octets INTEGER NOT NULL, crc INTEGER NOT NULL,"
    " columns BLOB NOT NULL",
}
_CACHE_INDEXES = ("CREATE INDEX copied_contents ON copies (content)",)
SCHEMA_VERSION = STATE_VERSION << 24 | zlib.crc32(f"{CACHE_VERSION} {_CACHE_TABLES}".encode()) & 0xFFFFFF
#: A new database begins to number folders anywhere below this: whoever still has a number of the one before it, which
#: was lost, must not mean another folder by it.
_FIRST_NUMBER = 1 << 20
#: The one number that there was before there were two, with the state of version 1.
_UNDIVIDED = range(3, 10)


def state_version(user_version: int) -> int:
    """The version of the state in a database with this `user_version`."""
    return 1 if user_version in _UNDIVIDED else user_version >> 24


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables of this version, from nothing or from those of another. Raises sqlite3.Error."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    if state_version(version) != STATE_VERSION:
        _take_over(db)
    for name in _tables(db).difference(STATE_TABLES):
        db.execute(f'DROP TABLE "{name}"')
    for name, columns in _CACHE_TABLES.items():
        db.execute(f"CREATE TABLE {name} ({columns})")
    for statement in _CACHE_INDEXES:
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")


def skip_numbers(db: sqlite3.Connection, count: int) -> None:
    """Give no folder any of the next `count` numbers."""
    (highest,) = db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'folders'").fetchone()
    db.execute("DELETE FROM sqlite_sequence WHERE name = 'folders'")
    db.execute("INSERT INTO sqlite_sequence VALUES ('folders', ?)", ((highest or 0) + count,))


def is_ours(db: sqlite3.Connection) -> bool:
    """Are the tables there that every statement of this version asks for, and whole? Raises sqlite3.Error."""
    tables = STATE_TABLES | _CACHE_TABLES
    if any(len(_columns(db, name)) != columns.count(",") + 1 for name, columns in tables.items()):
        return False
    (answer,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    return bool(answer == "ok")


def _tables(db: sqlite3.Connection) -> set[str]:
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {name for name in names if not name.startswith("sqlite_")}


def _take_over(db: sqlite3.Connection) -> None:
    """The state in tables of this version, with every column that both versions have."""
    there = _tables(db)
    for name, columns in STATE_TABLES.items():
        if name in there:
            db.execute(f"ALTER TABLE {name} RENAME TO before_{name}")
        db.execute(f"CREATE TABLE {name} ({columns})")
        if name == "folders" and name not in there:
            skip_numbers(db, secrets.randbelow(_FIRST_NUMBER))
        if name in there:
            old, new = (_columns(db, table) for table in (f"before_{name}", name))
            both = ", ".join(column for column in new if column in old)
            db.execute(f"INSERT INTO {name} ({both}) SELECT {both} FROM before_{name}")  # noqa: S608
            db.execute(f"DROP TABLE before_{name}")
    for statement in _INDEXES:
        db.execute(statement)


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
