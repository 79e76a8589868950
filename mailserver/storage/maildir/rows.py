"""The statements on `index.db`, each within a transaction of `AccountIndex.run`. In threads."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from mailserver.model.flags import FlagTable
from mailserver.model.mailbox import MessageTable
from mailserver.storage.maildir.folder import Arrival
from mailserver.storage.maildir.folder_state import FolderState
from mailserver.storage.maildir.index import AccountIndex, BadValue, decoding
from mailserver.storage.maildir.keys import as_json, key_range, select
from mailserver.storage.maildir.pieces import forget_pieces, forget_pieces_of_folder
from mailserver.storage.maildir.snapshots import forget_snapshot, load_snapshot, usage_of_snapshot

__all__ = [
    "FileRow", "FolderRow", "LoadedTable", "add_messages", "check_name", "file_rows", "folder_row", "forget_folder",
    "is_whole", "load_counts", "load_table", "remove_messages", "set_flags", "tombstones_since", "trust", "uids_of",
    "usage",
]  # fmt: skip

_UID = 0xFFFFFFFF
_MAX_TOMBSTONES = 100_000
_MAX_SIZE = 0xFFFFFFFF
#: Rows that become columns at once; small enough that the loop gets its turn between two of them.
_PIECE = 5_000


@dataclass(slots=True)
class FolderRow:
    """A folder in the index. `fresh`: it knows nothing yet."""

    number: int
    uid_seen: int
    forgotten: int
    epoch: int
    new_mtime: int
    cur_mtime: int
    fresh: bool = False


@dataclass(slots=True)
class FileRow:
    """Where a message is."""

    uid: int
    base: str
    info: str
    in_new: bool
    size: int
    wire: int

    def path(self, folder: str) -> str:
        """Its file, in the folder at this path."""
        return f"{folder}/{'new' if self.in_new else 'cur'}/{self.base}{self.info}"


def folder_row(db: sqlite3.Connection, state: FolderState, modseq: int) -> FolderRow:
    """The row of a folder, made when there is none for this UIDVALIDITY; tombstones are then complete from `modseq`."""
    row = db.execute(
        "SELECT number, uid_validity, uid_seen, forgotten, epoch, new_mtime, cur_mtime FROM folders"
        " WHERE mailbox_id = ?",
        (state.mailbox_id,),
    ).fetchone()
    if row is not None and row[1] == state.uid_validity:
        found = FolderRow(row[0], *row[2:])
        _check_numbers(row)
        if found.forgotten < 0:
            _begin_salvaged(db, found, state, modseq)
        return found
    if row is not None:
        forget_folder(db, row[0])
    number = db.execute(
        "INSERT INTO folders (mailbox_id, uid_validity, forgotten) VALUES (?, ?, ?) RETURNING number",
        (state.mailbox_id, state.uid_validity, modseq),
    ).fetchone()[0]
    return FolderRow(number, 1, modseq, 0, -1, -1, fresh=True)


def _begin_salvaged(db: sqlite3.Connection, row: FolderRow, state: FolderState, modseq: int) -> None:
    """The folder's row is out of a damaged index, with little else: as a fresh one."""
    row.forgotten, row.fresh = modseq, True
    db.execute("UPDATE folders SET forgotten = ? WHERE number = ?", (modseq, row.number))
    for table in ("messages", "tombstones"):
        db.execute(
            f"UPDATE {table} SET modseq = ? WHERE key BETWEEN ? AND ? AND modseq NOT BETWEEN 1 AND ?",  # noqa: S608
            (modseq, *key_range(row.number), state.modseq_floor),
        )


def _check_numbers(values: Iterable[object]) -> None:
    """Raises BadValue."""
    for value in values:
        if type(value) is not int:
            raise BadValue(f"a number of the index is {type(value).__name__}")


def forget_folder(db: sqlite3.Connection, number: int) -> None:
    """Remove all that is known of a folder."""
    for table in ("messages", "tombstones", "unlinks"):
        db.execute(f"DELETE FROM {table} WHERE key BETWEEN ? AND ?", key_range(number))  # noqa: S608
    forget_pieces_of_folder(db, number)
    forget_snapshot(db, number)
    db.execute("DELETE FROM folders WHERE number = ?", (number,))


def trust(db: sqlite3.Connection, number: int, epoch: int, new_mtime: int, cur_mtime: int) -> None:
    """From now on these mtimes of the directories mean that the index has all that is in them."""
    db.execute(
        "UPDATE folders SET epoch = ?, new_mtime = ?, cur_mtime = ?,"
        " entries = (SELECT count(*) FROM messages WHERE key BETWEEN ? AND ?) WHERE number = ?",
        (epoch, new_mtime, cur_mtime, *key_range(number), number),
    )


def is_whole(db: sqlite3.Connection, number: int, messages: int) -> bool:
    """Are there as many messages as when `trust` was called? A damaged database can hide some without an error."""
    return bool(db.execute("SELECT entries = ? FROM folders WHERE number = ?", (messages, number)).fetchone()[0])


# -- messages ----------------------------------------------------------------------------------------------------------


def add_messages(
    db: sqlite3.Connection, index: AccountIndex, number: int, arrivals: Iterable[Arrival], uid_seen: int
) -> None:
    """Rows for messages; from now on the index has missed none below `uid_seen`."""
    forget_snapshot(db, number)
    first, encode = number << 32, os.fsencode
    numbers: dict[frozenset[str], int] = {}
    values = []
    for a in arrivals:
        flags = numbers.get(a.flags)
        if flags is None:
            flags = numbers[a.flags] = index.flag_number(db, a.flags)
        values.append((
            first | a.uid, flags, a.modseq, a.size, a.wire, a.date, a.saved, a.in_new, encode(a.base), encode(a.info),
        ))  # fmt: skip
    db.executemany("INSERT OR REPLACE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)", values)
    db.execute("UPDATE folders SET uid_seen = max(uid_seen, ?) WHERE number = ?", (uid_seen, number))


@dataclass(slots=True)
class LoadedTable:
    """A table, and what is known of it as a whole: how many messages have which number of the flag table, octets."""

    table: MessageTable
    flags: Counter[int]
    octets: int
    highest_modseq: int


def load_table(
    db: sqlite3.Connection, index: AccountIndex, number: int, flag_table: FlagTable, uid_next: int
) -> LoadedTable:
    """The folder's table, ready to be shown; every UID is below `uid_next`.

    Raises BadValue.
    """
    kept = load_snapshot(db, index, number, flag_table, uid_next)
    if kept is not None:
        table, counted = kept
        return LoadedTable(table, counted, sum(table.sizes), max(table.modseqs, default=0))
    out = LoadedTable(MessageTable(), Counter(), 0, 0)
    table, first, last = out.table, number << 32, 0
    numbers: dict[int, int] = {}
    cursor = db.execute(
        "SELECT key, flags, modseq, wire, date, saved FROM messages WHERE key BETWEEN ? AND ? ORDER BY key",
        key_range(number),
    )
    while rows := cursor.fetchmany(_PIECE):
        keys, flags, modseqs, wires, dates, saved = zip(*rows, strict=True)
        for name in set(flags).difference(numbers):
            numbers[name] = flag_table.intern(index.flag_set(name))
        uids = [key - first for key in keys]
        if uids != sorted(uids) or uids[0] <= last or uids[-1] >= uid_next:
            raise BadValue("the index has a UID that was never given, or is out of order")
        last = uids[-1]
        columns = (uids, [numbers[name] for name in flags], modseqs, wires, dates, saved)
        with decoding():
            for column, values in zip(
                (table.uids, table.flags, table.modseqs, table.sizes, table.dates, table.saved), columns, strict=True
            ):
                column.extend(values)
        out.flags.update(columns[1])
        out.octets += sum(wires)
        out.highest_modseq = max(out.highest_modseq, *modseqs)
    return out


def load_counts(
    db: sqlite3.Connection, index: AccountIndex, number: int
) -> tuple[dict[frozenset[str], int], int, int]:
    """How many messages have which flags; octets with CRLF; the highest MODSEQ of a message."""
    counts: dict[frozenset[str], int] = {}
    octets = highest = 0
    for name, count, size, modseq in db.execute(
        "SELECT flags, count(*), CAST(total(wire) AS INTEGER), max(modseq) FROM messages"
        " WHERE key BETWEEN ? AND ? GROUP BY flags",
        key_range(number),
    ):
        _check_numbers((count, size, modseq))
        counts[index.flag_set(name)] = count
        octets += size
        highest = max(highest, modseq)
    return counts, octets, highest


def usage(db: sqlite3.Connection, number: int) -> tuple[int, int]:
    """Octets with CRLF, and messages, of a folder."""
    kept = usage_of_snapshot(db, number)
    if kept is not None:
        return kept
    # total() never overflows; a sum of damaged sizes may.
    query = "SELECT CAST(total(wire) AS INTEGER), count(*) FROM messages WHERE key BETWEEN ? AND ?"
    octets, messages = db.execute(query, key_range(number)).fetchone()
    _check_numbers((octets, messages))
    return octets, messages


def file_rows(db: sqlite3.Connection, number: int, uids: Sequence[int]) -> dict[int, FileRow]:
    """Where these messages are; those that the index does not have are missing."""
    found = select(db, "base, info, in_new, size, wire", "messages", number, uids)
    if not found:
        return {}
    keys, bases, infos, in_new, sizes, wires = zip(*found, strict=True)
    there = [key & _UID for key in keys]
    _check_names(there, bases, infos)
    if set(map(type, sizes + wires)) != {int} or min(sizes + wires) < 0 or max(sizes + wires) > _MAX_SIZE:
        raise BadValue("the index has a wrong size of a message")
    names = (map(os.fsdecode, bases), map(os.fsdecode, infos))
    return dict(zip(there, map(FileRow, there, *names, map(bool, in_new), sizes, wires), strict=True))


def _check_names(uids: Sequence[int], bases: Sequence[bytes], infos: Sequence[bytes]) -> None:
    """As `check_name`, of many at once."""
    try:
        octets = b"".join(bases) + b"".join(infos)
        right = b"/" not in octets and b"\0" not in octets
        right = right and all(b",U=%d," % uid in base for uid, base in zip(uids, bases, strict=True))
    except TypeError:
        right = False
    if not right:
        for uid, base, info in zip(uids, bases, infos, strict=True):
            check_name(uid, base, info)


def check_name(uid: int, base: bytes, info: bytes) -> None:
    """Raises BadValue: the index has a name that no directory can have, or that belongs to another UID."""
    try:
        right = b",U=%d," % uid in base and b"/" not in base and b"/" not in info and b"\0" not in base + info
    except TypeError:
        right = False
    if not right:
        raise BadValue(f"the index has a wrong name for UID {uid}")


def uids_of(db: sqlite3.Connection, table: str, number: int) -> list[int]:
    """All UIDs of a folder in `messages`, or in `tombstones`."""
    query = f"SELECT key FROM {table} WHERE key BETWEEN ? AND ?"  # noqa: S608
    return [key & _UID for (key,) in db.execute(query, key_range(number))]


def set_flags(
    db: sqlite3.Connection, number: int, modseq: int, changes: Iterable[tuple[int, Sequence[tuple[int, int]], int]]
) -> None:
    """For each (old set, UID ranges, new set): these messages of the ranges that had the old set have the new one."""
    forget_snapshot(db, number)
    first = number << 32
    db.executemany(
        "UPDATE messages SET flags = ?, modseq = ?, dirty = 1 WHERE key BETWEEN ? AND ? AND flags = ?",
        [(new, modseq, first | low, first | high, old) for old, ranges, new in changes for low, high in ranges],
    )


def remove_messages(db: sqlite3.Connection, number: int, uids: Collection[int], modseq: int, *, unlink: bool) -> None:
    """Messages that are gone: tombstones, and (`unlink`) the note that their files must go too."""
    forget_snapshot(db, number)
    keys = [number << 32 | uid for uid in uids]
    # A statement for all of them, not one for each: their number makes what EXPUNGE costs.
    chosen = as_json(keys)
    db.execute("INSERT OR REPLACE INTO tombstones SELECT value, ? FROM json_each(?)", (modseq, chosen))
    if unlink:
        db.execute(
            "INSERT OR REPLACE INTO unlinks SELECT m.key, m.in_new, m.base, m.info"
            " FROM json_each(?) chosen CROSS JOIN messages m ON m.key = chosen.value",
            (chosen,),
        )
    db.execute("DELETE FROM messages WHERE key IN (SELECT value FROM json_each(?))", (chosen,))
    if not unlink:
        # Else when the files go: a client that waits for EXPUNGE need not wait for that.
        forget_pieces(db, keys)
    (count,) = db.execute("SELECT count(*) FROM tombstones WHERE key BETWEEN ? AND ?", key_range(number)).fetchone()
    if count > _MAX_TOMBSTONES:
        _prune(db, number, count - _MAX_TOMBSTONES // 2)


def _prune(db: sqlite3.Connection, number: int, surplus: int) -> None:
    (modseq,) = db.execute(
        "SELECT modseq FROM tombstones WHERE key BETWEEN ? AND ? ORDER BY modseq LIMIT 1 OFFSET ?",
        (*key_range(number), surplus),
    ).fetchone()
    db.execute("DELETE FROM tombstones WHERE key BETWEEN ? AND ? AND modseq <= ?", (*key_range(number), modseq))
    db.execute("UPDATE folders SET forgotten = ? WHERE number = ?", (modseq, number))


def tombstones_since(db: sqlite3.Connection, number: int, modseq: int) -> list[int] | None:
    """UIDs that went after this MODSEQ; None if that is further back than tombstones are kept."""
    (forgotten,) = db.execute("SELECT forgotten FROM folders WHERE number = ?", (number,)).fetchone()
    _check_numbers((forgotten,))
    if modseq < forgotten:
        return None
    rows = db.execute(
        "SELECT key FROM tombstones WHERE key BETWEEN ? AND ? AND modseq > ?", (*key_range(number), modseq)
    )
    return [key & _UID for (key,) in rows]
