"""The rendered pieces of messages in `index.db`, each kind in a table of its own (schema.py).

A copy has the pieces of its original: it refers to them (`copies`), it does not repeat them. So pieces stay when their
message goes, as long as a copy refers to them.

Each piece has its own checksum: these octets go to clients as they are, and a flipped bit must not become broken
protocol. Within transactions of `AccountIndex.run`, in threads.
"""

from __future__ import annotations

import sqlite3
import zlib
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailserver.model.mailbox import Rendered
from mailserver.storage.maildir.index import decoding
from mailserver.storage.maildir.keys import as_json, key_range, select, select_some
from mailserver.storage.maildir.schema import PIECE_TABLES

__all__ = [
    "PieceBatch", "complete_keys", "forget_pieces", "forget_pieces_of_folder", "keys_of_pieces", "newest_lacking",
    "pieces_between", "pieces_with", "read_pieces", "share_pieces", "store_pieces",
]  # fmt: skip

#: The kind that is only there where all kinds are; it is small.
_COMPLETE = Rendered.EMAILID
#: Keys of a folder that are forgotten at once.
_MANY = 10_000
#: Messages among which one statement looks for those without pieces.
_LOOKED_AT = 5_000


@dataclass(slots=True)
class PieceBatch:
    """What was read: of the first `done` of the asked UIDs, those (`uids`) that had all pieces, unharmed, and for each
    asked field a column of them."""

    done: int
    uids: list[int]
    columns: list[Sequence[bytes]]


def read_pieces(
    db: sqlite3.Connection, number: int, uids: Sequence[int], fields: Sequence[Rendered], most: int
) -> PieceBatch:
    """The asked pieces of the first of these (ascending) UIDs, until one field has more than `most` octets."""
    if not fields:
        return PieceBatch(len(uids), [], [])
    columns: list[_Column] = []
    for field in fields:
        column = _column(db, number, uids, field, most)
        if column.full:
            uids = uids[: bisect_right(uids, column.last & 0xFFFFFFFF)]
        columns.append(column)
    count = len(uids)
    keys = [number << 32 | uid for uid in uids]
    if all(column.keys[:count] == keys for column in columns):
        return PieceBatch(count, list(uids), [column.pieces[:count] for column in columns])
    by_key = [dict(zip(column.keys, column.pieces, strict=True)) for column in columns]
    keys = [key for key in keys if all(key in column for column in by_key)]
    there = [key & 0xFFFFFFFF for key in keys]
    return PieceBatch(count, there, [[column[key] for key in keys] for column in by_key])


class _Column:
    """One field of messages, by their keys, ascending; up to the key `last` if it is `full`."""

    __slots__ = ("full", "keys", "last", "pieces")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.pieces: list[bytes] = []
        self.last = 0
        self.full = False

    def read(self, batches: Iterable[list[tuple[int, int, bytes]]], most: int) -> None:
        """Keep what is unharmed, until it is more than `most` octets."""
        for rows in batches:
            if not rows:
                continue
            keys, sums, pieces = zip(*rows, strict=True)
            with decoding():
                if tuple(map(zlib.crc32, pieces)) == sums:
                    self.keys += keys
                    self.pieces += pieces
                else:
                    unharmed = [(key, piece) for key, crc, piece in rows if zlib.crc32(piece) == crc]
                    self.keys += [key for key, _ in unharmed]
                    self.pieces += [piece for _, piece in unharmed]
                most -= sum(map(len, pieces))
            if most < 0:
                self.last, self.full = keys[-1], True
                break

    def add(self, batches: Iterable[list[tuple[int, int, bytes]]], most: int) -> None:
        """The same for messages that lie between those that are here."""
        self.read(batches, most)
        both = sorted(zip(self.keys, self.pieces, strict=True))
        self.keys, self.pieces = [key for key, _ in both], [piece for _, piece in both]


def _column(db: sqlite3.Connection, number: int, uids: Sequence[int], field: Rendered, most: int) -> _Column:
    column = _Column()
    column.read(select_some(db, "crc, piece", PIECE_TABLES[field], number, uids), most)
    if column.full:
        uids = uids[: bisect_right(uids, column.last & 0xFFFFFFFF)]
    if len(column.keys) < len(uids):
        there = set(column.keys)
        others = [uid for uid in uids if number << 32 | uid not in there]
        column.add(select_some(db, "crc, piece", f"({_shared(field)})", number, others), most)
    return column


def _shared(field: Rendered, columns: str = "crc, piece") -> str:
    """The pieces of others that copies have, under the keys of the copies."""
    return (
        f"SELECT copies.key AS key, {columns}"  # noqa: S608
        f" FROM copies CROSS JOIN {PIECE_TABLES[field]} original ON original.key = copies.content"
    )


def pieces_with(
    db: sqlite3.Connection, number: int, uids: Sequence[int], field: Rendered, octets: bytes, present: int
) -> tuple[dict[int, bytes], list[int]]:
    """uid → the piece, where it has these octets; and those UIDs whose piece is not there or harmed.

    SQLite looks through the pieces, so that only few of them become objects; the checksums of the others are not looked
    at, since they go nowhere. `uids` are ascending; `present` is how many messages there are from first to last.
    """
    table, first = f"(SELECT key, crc, piece FROM {PIECE_TABLES[field]} UNION ALL {_shared(field)})", number << 32  # noqa: S608
    span = (first | uids[0], first | uids[-1])
    among = f"FROM {table} WHERE key BETWEEN ? AND ?"
    wanted: Collection[int] = range(span[0], span[1] + 1)
    if len(uids) < len(wanted):
        wanted = {first | uid for uid in uids}
    rows = db.execute(f"SELECT key, crc, piece {among} AND instr(piece, ?)", (*span, octets)).fetchall()
    with decoding():
        found = {key - first: piece for key, crc, piece in rows if key in wanted and zlib.crc32(piece) == crc}
    lacking = [key - first for key, _, _ in rows if key in wanted and key - first not in found]
    lacking += _without(db, among, span, wanted, present)
    return found, sorted(lacking)


def pieces_between(
    db: sqlite3.Connection, number: int, uids: Sequence[int], field: Rendered, limits: tuple[bytes, bytes], present: int
) -> tuple[set[int], list[int]]:
    """As `pieces_with`: those messages whose piece is not less than the first of these octets, and less than the other.
    The pieces are not read, so their checksums are not looked at."""
    table, first = f"(SELECT key, piece FROM {PIECE_TABLES[field]} UNION ALL {_shared(field, 'piece')})", number << 32  # noqa: S608
    span = (first | uids[0], first | uids[-1])
    among = f"FROM {table} WHERE key BETWEEN ? AND ?"
    rows = db.execute(f"SELECT key - ? {among} AND piece >= ? AND piece < ?", (first, *span, *limits))
    found = {uid for (uid,) in rows.fetchall()}
    wanted: Collection[int] = range(span[0], span[1] + 1)
    if len(uids) < len(wanted):
        wanted = {first | uid for uid in uids}
        found.intersection_update(uids)
    return found, sorted(_without(db, among, span, wanted, present))


def _without(
    db: sqlite3.Connection, among: str, span: tuple[int, int], wanted: Collection[int], present: int
) -> list[int]:
    """UIDs of the wanted keys for which there is no piece."""
    (count,) = db.execute(f"SELECT count(*) {among}", span).fetchone()
    if count == present:
        return []
    have = {key for (key,) in db.execute(f"SELECT key {among}", span)}
    return [key & 0xFFFFFFFF for key in wanted if key not in have]


def store_pieces(
    db: sqlite3.Connection, number: int, rendered: Iterable[tuple[int, Mapping[Rendered, bytes]]]
) -> None:
    """Keep the pieces of messages that are (still) in the index."""
    first = number << 32
    made = {first | uid: pieces for uid, pieces in rendered}
    if not made:
        return
    uids = sorted(key - first for key in made)
    present = [key for key, _ in select(db, "size", "messages", number, uids)]
    for field, table in PIECE_TABLES.items():
        db.executemany(
            f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)",  # noqa: S608
            [(key, zlib.crc32(piece), piece) for key in present if (piece := made[key].get(field)) is not None],
        )
    # Never both: own ones, and those of another.
    copies = db.execute("SELECT key FROM copies WHERE key IN (SELECT value FROM json_each(?))", (as_json(present),))
    if shared := [key for (key,) in copies]:
        forget_pieces(db, shared)


def share_pieces(db: sqlite3.Connection, source: int, target: int, pairs: Iterable[tuple[int, int]]) -> None:
    """The pieces of copies (UID in folder `source`, UID in folder `target`) are those of their originals.

    This comes some time after the copies: what is gone, or was rendered, meanwhile is left as it is.
    """
    table = PIECE_TABLES[Rendered.ENVELOPE]
    db.executemany(
        "INSERT OR REPLACE INTO copies (key, content)"  # noqa: S608
        " SELECT ?1, coalesce((SELECT content FROM copies WHERE key = ?2), ?2)"
        " WHERE EXISTS (SELECT 1 FROM messages WHERE key = ?1)"
        f" AND NOT EXISTS (SELECT 1 FROM {table} WHERE key = ?1)",
        [(target << 32 | new, source << 32 | old) for old, new in pairs],
    )


def newest_lacking(
    db: sqlite3.Connection, number: int, low: int, high: int, most: int, octets: int
) -> tuple[int, list[int]]:
    """The newest messages of these UIDs that lack pieces, own ones or an original's: up to `most`, and no more than one
    beyond so many octets; ascending. Before them, the highest UID that was not looked at."""
    first = number << 32
    bottom = db.execute(
        "SELECT key FROM messages WHERE key BETWEEN ? AND ? ORDER BY key DESC LIMIT 1 OFFSET ?",
        (first | low, first | high, _LOOKED_AT - 1),
    ).fetchone()
    if bottom is not None:
        low = bottom[0] - first
    table = PIECE_TABLES[_COMPLETE]
    found = db.execute(
        "SELECT key, wire FROM messages WHERE key BETWEEN ? AND ?"  # noqa: S608
        f" AND NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.key = messages.key)"
        f" AND NOT EXISTS (SELECT 1 FROM ({_shared(_COMPLETE)}) shared WHERE shared.key = messages.key)"
        " ORDER BY key DESC LIMIT ?",
        (first | low, first | high, most),
    ).fetchall()
    uids: list[int] = []
    with decoding():
        for key, wire in found:
            uids.insert(0, key - first)
            octets -= wire
            if octets < 0:
                break
    return (uids[0] if len(uids) == most or octets < 0 else low) - 1, uids


def forget_pieces(db: sqlite3.Connection, keys: Sequence[int]) -> None:
    """These messages are gone, and so are their files, or they are copies that have pieces of their own now: remove the
    pieces that nobody has any more."""
    which = " WHERE key IN (SELECT value FROM json_each(?))"
    contents = [content for (content,) in db.execute(f"SELECT content FROM copies{which}", (as_json(keys),))]  # noqa: S608
    db.execute(f"DELETE FROM copies{which}", (as_json(keys),))  # noqa: S608
    unused = db.execute(
        "SELECT value FROM json_each(?)"
        " WHERE NOT EXISTS (SELECT 1 FROM copies WHERE copies.content = value)"
        " AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.key = value)",
        (as_json([*keys, *contents]),),
    )
    chosen = as_json(key for (key,) in unused)
    for table in PIECE_TABLES.values():
        db.execute(f"DELETE FROM {table}{which}", (chosen,))  # noqa: S608


def forget_pieces_of_folder(db: sqlite3.Connection, number: int) -> None:
    """All messages of a folder are gone."""
    copies = db.execute("SELECT key FROM copies WHERE key BETWEEN ? AND ?", key_range(number))
    keys = [*keys_of_pieces(db, number), *(key for (key,) in copies)]
    for start in range(0, len(keys), _MANY):
        forget_pieces(db, keys[start : start + _MANY])


def complete_keys(db: sqlite3.Connection, number: int) -> set[int]:
    """The keys in a folder that should have pieces of every kind."""
    table = PIECE_TABLES[_COMPLETE]
    return {key for (key,) in db.execute(f"SELECT key FROM {table} WHERE key BETWEEN ? AND ?", key_range(number))}  # noqa: S608


def keys_of_pieces(db: sqlite3.Connection, number: int) -> list[int]:
    """The keys in a folder that have pieces of any kind, ascending."""
    union = " UNION ".join(f"SELECT key FROM {table} WHERE key BETWEEN ?1 AND ?2" for table in PIECE_TABLES.values())  # noqa: S608
    return [key for (key,) in db.execute(f"{union} ORDER BY key", key_range(number))]
