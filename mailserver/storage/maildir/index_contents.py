"""`index.db` read without changing it: by verify, and by rebuild for what only the index knows."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, field
from urllib.parse import quote

from mailserver.storage.maildir.keys import key_range
from mailserver.storage.maildir.schema import SCHEMA_VERSION, STATE_VERSION, state_version

__all__ = ["BAD_VALUE", "FolderContents", "IndexContents", "MessageRow", "connect_readonly", "read_contents"]

_UID = 0xFFFFFFFF
#: What a value that no index would hold raises when it is read.
BAD_VALUE = (sqlite3.Error, TypeError, ValueError, KeyError, OverflowError, AttributeError)


@dataclass(slots=True)
class MessageRow:
    """A message as the index has it."""

    base: str
    info: str
    in_new: bool
    dirty: bool
    flags: frozenset[str]
    modseq: int
    size: int
    wire: int
    date: int
    saved: int


@dataclass(slots=True)
class FolderContents:
    """A folder as the index has it; dicts are by UID."""

    number: int
    mailbox_id: str
    uid_validity: int
    uid_seen: int
    messages: dict[int, MessageRow] = field(default_factory=dict)
    tombstones: dict[int, int] = field(default_factory=dict)
    #: Name (base and info) of files that are still to be removed.
    unlinks: dict[int, str] = field(default_factory=dict)

    @property
    def highest_uid(self) -> int:
        """No UID above it was ever known to the index."""
        return max(self.uid_seen - 1, max(self.messages, default=0), max(self.tombstones, default=0))

    @property
    def highest_modseq(self) -> int:
        """The highest MODSEQ of a message or tombstone."""
        return max(
            max((row.modseq for row in self.messages.values()), default=0), max(self.tombstones.values(), default=0)
        )


@dataclass(slots=True)
class IndexContents:
    """`folders` by MAILBOXID, without their messages until `load` is called."""

    db: sqlite3.Connection
    folders: dict[str, FolderContents]
    flag_sets: dict[int, frozenset[str]]
    #: Has it rendered pieces as this version writes them?
    has_cache: bool

    def load(self, folder: FolderContents) -> None:
        """Read the messages, tombstones and unlinks of a folder. Raises one of BAD_VALUE."""
        span = key_range(folder.number)
        query = (
            "SELECT key, base, info, in_new, dirty, flags, modseq, size, wire, date, saved FROM messages"
            " WHERE key BETWEEN ? AND ?"
        )
        for key, base, info, in_new, dirty, flags, *numbers in self.db.execute(query, span):
            modseq, size, wire, date, saved = (_number(value) for value in numbers)
            folder.messages[key & _UID] = MessageRow(
                os.fsdecode(base), os.fsdecode(info), bool(in_new), bool(dirty), self.flag_sets[flags], modseq, size,
                wire, date, saved,
            )  # fmt: skip
        query = "SELECT key, modseq FROM tombstones WHERE key BETWEEN ? AND ?"
        for key, modseq in self.db.execute(query, span):
            folder.tombstones[key & _UID] = _number(modseq)
        query = "SELECT key, base, info FROM unlinks WHERE key BETWEEN ? AND ?"
        for key, base, info in self.db.execute(query, span):
            folder.unlinks[key & _UID] = os.fsdecode(base) + os.fsdecode(info)


def connect_readonly(path: str, *, live: bool) -> sqlite3.Connection:
    """A connection that writes nothing. `live`: the server may be writing. Raises sqlite3.Error."""
    # Without a write-ahead log nobody has it open, and SQLite need not make files beside it to read it.
    alone = not live and not (os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal"))
    uri = f"file:{quote(os.fsencode(path))}?mode=ro" + ("&immutable=1" if alone else "")
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def read_contents(db: sqlite3.Connection, *, full: bool) -> IndexContents:
    """The index, after SQLite looked at it from within. Raises ValueError or another of BAD_VALUE: it is damaged."""
    check = "integrity_check" if full else "quick_check"
    answers = [text for (text,) in db.execute(f"PRAGMA {check}(5)")]
    if answers != ["ok"]:
        raise ValueError("; ".join(str(answer) for answer in answers))
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if state_version(version) != STATE_VERSION:
        raise ValueError(f"its state is of version {state_version(version)}, and this program writes {STATE_VERSION}")
    sets = {number: frozenset(flags.split()) for number, flags in db.execute("SELECT number, flags FROM flag_sets")}
    folders = {}
    for number, mailbox_id, uid_validity, uid_seen in db.execute(
        "SELECT number, mailbox_id, uid_validity, uid_seen FROM folders"
    ):
        folders[str(mailbox_id)] = FolderContents(
            _number(number), str(mailbox_id), _number(uid_validity), _number(uid_seen)
        )
    return IndexContents(db, folders, sets, version == SCHEMA_VERSION)


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"a number of the index is {type(value).__name__}")
    return value
