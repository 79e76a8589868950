"""What only a damaged index knows is read out of it before it is thrown away, and put into the new one.

That is: which files must go because their messages were removed, flags that were answered and are in no name yet, and
UIDs that are no more. What cannot be read, or cannot be right, is left behind; everything else is learnt again from
the directories.

    killed after              found at the next opening
    writing the new one       the damaged one, from which it is made again
    its rename to SALVAGED    the new one, which takes the place of the damaged one
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from mailserver.net import files
from mailserver.storage.maildir.names import parse
from mailserver.storage.maildir.schema import prepare, skip_numbers

__all__ = ["SALVAGED", "UNREADABLE", "finish_salvage", "salvage"]

#: What reading raises; the words of an error may be damaged, too.
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)

SALVAGED = ".salvaged"
_MAKING = ".salvaging"
_MAX_NUMBER = (1 << 31) - 1
#: More than an account has folders.
_LOST_NUMBERS = 100_000
_MAX_KEY = (1 << 63) - 1
_PIECE = 500
#: More than microseconds since 1970, from which MODSEQs begin when nothing else tells them.
_MAX_MODSEQ = 1 << 53
#: Columns, and their types, of what is carried over.
_FOLDERS = ("number, mailbox_id, uid_validity", (int, str, int))
_FLAG_SETS = ("number, flags", (int, str))
_TOMBSTONES = ("key, modseq", (int, int))
_UNLINKS = ("key, in_new, base, info", (int, int, bytes, bytes))
_MESSAGES = (
    "key, flags, modseq, size, wire, date, saved, in_new, dirty, base, info",
    (int, int, int, int, int, int, int, int, int, bytes, bytes),
)


def salvage(path: str, is_of_the_disk: Callable[[Exception], bool]) -> None:
    """Replace the closed database at `path` by one with what could be read of it; by none, if that is nothing.

    Raises OSError, or an sqlite3.Error that `is_of_the_disk`: it stands as it was.
    """
    finish_salvage(path)
    found = _Found(path, is_of_the_disk)
    if found.unlinks or found.dirty or found.tombstones:
        _write(path + _MAKING, found)
        os.rename(path + _MAKING, path + SALVAGED)
        files.fsync_dir(os.path.dirname(path))
        finish_salvage(path)
    else:
        _remove(path)


def finish_salvage(path: str) -> None:
    """Put the salvaged database in its place, if there is one."""
    if os.path.lexists(path + SALVAGED):
        _remove(path)
        os.rename(path + SALVAGED, path)
        files.fsync_dir(os.path.dirname(path))


def _remove(path: str) -> None:
    # The log first: it must never be found beside another database.
    for suffix in ("-wal", "-shm", ""):
        files.remove_file(path + suffix)


class _Found:
    """Rows that could be read, and that can be right."""

    def __init__(self, path: str, is_of_the_disk: Callable[[Exception], bool]) -> None:
        self._is_of_the_disk = is_of_the_disk
        self.folders: list[tuple[Any, ...]] = []
        self.unlinks: list[tuple[Any, ...]] = []
        self.dirty: list[tuple[Any, ...]] = []
        self.tombstones: list[tuple[Any, ...]] = []
        self.flag_sets: list[tuple[Any, ...]] = []
        if not os.path.lexists(path):
            return
        db = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro", uri=True, isolation_level=None)
        try:
            self._read(db)
        finally:
            db.close()

    def _read(self, db: sqlite3.Connection) -> None:
        rows = self._rows
        self.folders = [row for row in rows(db, "folders", *_FOLDERS) if 0 < row[0] < _MAX_NUMBER]
        numbers = {number for number, *_ in self.folders}
        known_sets = dict(rows(db, "flag_sets", *_FLAG_SETS))
        for row in rows(db, "messages", *_MESSAGES, "dirty = 1"):
            known = row[0] >> 32 in numbers and row[1] in known_sets
            if known and _has_own_name(row[0], *row[-2:]) and _has_own_numbers(row):
                self.dirty.append(row)
        self.flag_sets = sorted({(row[1], known_sets[row[1]]) for row in self.dirty})
        tombstones = rows(db, "tombstones", *_TOMBSTONES)
        self.tombstones = [row for row in tombstones if row[0] >> 32 in numbers and 0 < row[1] < _MAX_MODSEQ]
        for key, in_new, base, info in rows(db, "unlinks", *_UNLINKS):
            # A message that is still there is not removed for a note that may be the damage.
            if key >> 32 in numbers and _has_own_name(key, base, info) and not self._is_message(db, key):
                self.unlinks.append((key, in_new, base, info))

    def _rows(
        self, db: sqlite3.Connection, table: str, columns: str, types: tuple[type, ...], where: str = "1"
    ) -> Iterator[tuple[Any, ...]]:
        """Readable rows with values of these types, from both ends up to the damage."""
        seen = set()
        for order, beyond, place in (("ASC", ">", -1), ("DESC", "<", _MAX_KEY)):
            # NOT INDEXED: by the table itself, of which more may be whole.
            query = (
                f"SELECT rowid, {columns} FROM {table} NOT INDEXED WHERE rowid {beyond} ? AND {where}"  # noqa: S608
                f" ORDER BY rowid {order} LIMIT ?"
            )
            count = _PIECE
            while count:
                try:
                    found = db.execute(query, (place, count)).fetchall()
                except UNREADABLE as error:
                    if self._is_of_the_disk(error):
                        raise
                    # One by one up to the row that cannot be read.
                    count = 1 if count > 1 else 0
                    continue
                if not found:
                    return
                place = found[-1][0]
                for _, *values in found:
                    if all(type(value) is kind for value, kind in zip(values, types, strict=True)):
                        if values[0] not in seen:
                            yield tuple(values)
                        seen.add(values[0])

    def _is_message(self, db: sqlite3.Connection, key: int) -> bool:
        with suppress(*UNREADABLE):
            return db.execute("SELECT 1 FROM messages WHERE key = ?", (key,)).fetchone() is not None
        return False


def _has_own_name(key: int, base: bytes, info: bytes) -> bool:
    return parse(os.fsdecode(base)).uid == key & 0xFFFFFFFF and b"/" not in base + info and b"\0" not in base + info


def _has_own_numbers(row: tuple[Any, ...]) -> bool:
    name = parse(os.fsdecode(row[-2]))
    return bool(name.size == row[3] and (name.wire or name.size) == row[4] and 0 < row[2] < _MAX_MODSEQ)


def _write(path: str, found: _Found) -> None:
    _remove(path)
    os.close(files.open_new(path))
    db = sqlite3.connect(path, isolation_level=None)
    try:
        prepare(db)
        db.execute("BEGIN")
        # Below zero: tombstones are complete from now on only, and the directory must be looked at (rows.folder_row).
        for table, (columns, _), rows in (
            ("folders", _FOLDERS, found.folders),
            ("flag_sets", _FLAG_SETS, found.flag_sets),
            ("messages", _MESSAGES, found.dirty),
            ("tombstones", _TOMBSTONES, found.tombstones),
            ("unlinks", _UNLINKS, found.unlinks),
        ):
            marks = ", ".join("?" * len(columns.split(",")))
            db.executemany(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", rows)  # noqa: S608
        db.execute("UPDATE folders SET forgotten = -1")
        # Those of folders that could not be read are not given to others.
        skip_numbers(db, _LOST_NUMBERS)
        db.execute("COMMIT")
    finally:
        db.close()
    files.fsync_file(path)
