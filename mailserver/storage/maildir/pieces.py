"""The rendered pieces of messages in `index.db`, each kind in a table of its own (schema.py).

Each piece has its own checksum: these octets go to clients as they are, and a flipped bit must not become broken
protocol. Within transactions of `AccountIndex.run`, in threads.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from mailserver.model.mailbox import Rendered
from mailserver.storage.maildir.index import decoding
from mailserver.storage.maildir.keys import key_range, select
from mailserver.storage.maildir.schema import PIECE_TABLES

__all__ = ["copy_pieces", "forget_pieces", "keys_of_pieces", "pieces_with", "read_pieces", "store_pieces"]


def read_pieces(
    db: sqlite3.Connection, number: int, uids: Sequence[int], fields: Sequence[Rendered]
) -> dict[int, tuple[bytes, ...]]:
    """uid → the asked pieces, where all of them are there and unharmed. `uids` are ascending."""
    columns = [_column(db, number, uids, field) for field in fields]
    if not columns:
        return {}
    keys = list(columns[0])
    if any(list(column) != keys for column in columns[1:]):
        keys = [key for key in keys if all(key in column for column in columns)]
        columns = [{key: column[key] for key in keys} for column in columns]
    first = number << 32
    return dict(zip([key - first for key in keys], zip(*(c.values() for c in columns), strict=True), strict=True))


def _column(db: sqlite3.Connection, number: int, uids: Sequence[int], field: Rendered) -> dict[int, bytes]:
    rows = select(db, "crc, piece", PIECE_TABLES[field], number, uids)
    if not rows:
        return {}
    keys, sums, pieces = zip(*rows, strict=True)
    with decoding():
        if list(map(zlib.crc32, pieces)) != list(sums):
            return {key: piece for key, crc, piece in rows if zlib.crc32(piece) == crc}
    return dict(zip(keys, pieces, strict=True))


def pieces_with(
    db: sqlite3.Connection, number: int, uids: Sequence[int], field: Rendered, octets: bytes, present: int
) -> tuple[dict[int, bytes], list[int]]:
    """uid → the piece, where it has these octets; and those UIDs whose piece is not there or harmed.

    SQLite looks through the pieces, so that only few of them become objects; the checksums of the others are not looked
    at, since they go nowhere. `uids` are ascending; `present` is how many messages there are from first to last.
    """
    table, first = PIECE_TABLES[field], number << 32
    span = (first | uids[0], first | uids[-1])
    among = f"FROM {table} WHERE key BETWEEN ? AND ?"
    wanted = {first | uid for uid in uids}
    rows = db.execute(f"SELECT key, crc, piece {among} AND instr(piece, ?)", (*span, octets)).fetchall()
    with decoding():
        found = {key - first: piece for key, crc, piece in rows if key in wanted and zlib.crc32(piece) == crc}
    lacking = [key - first for key, _, _ in rows if key in wanted and key - first not in found]
    (count,) = db.execute(f"SELECT count(*) {among}", span).fetchone()
    if count != present:
        lacking += [key - first for key in wanted.difference(key for (key,) in db.execute(f"SELECT key {among}", span))]
    return found, sorted(lacking)


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


def copy_pieces(db: sqlite3.Connection, source: int, target: int, pairs: Iterable[tuple[int, int]]) -> None:
    """The pieces of copies (UID there, UID here) are those of their originals."""
    spans = list(_spans([(source << 32 | old, target << 32 | new) for old, new in pairs]))
    for table in PIECE_TABLES.values():
        db.executemany(
            f"INSERT OR REPLACE INTO {table} SELECT key + ?, crc, piece FROM {table} WHERE key BETWEEN ? AND ?",  # noqa: S608
            spans,
        )


def _spans(pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Stretches in which both keys of the pairs go up by one: from old to new, and the first and last old key."""
    low = high = shift = -1
    for old, new in pairs:
        if low >= 0 and (old, new - old) == (high + 1, shift):
            high = old
            continue
        if low >= 0:
            yield shift, low, high
        low, high, shift = old, old, new - old
    if low >= 0:
        yield shift, low, high


def forget_pieces(db: sqlite3.Connection, keys: Collection[tuple[int]]) -> None:
    """Remove the pieces of these keys."""
    for table in PIECE_TABLES.values():
        db.executemany(f"DELETE FROM {table} WHERE key = ?", keys)  # noqa: S608


def keys_of_pieces(db: sqlite3.Connection, number: int) -> list[int]:
    """The keys in a folder that have pieces of any kind, ascending."""
    union = " UNION ".join(f"SELECT key FROM {table} WHERE key BETWEEN ?1 AND ?2" for table in PIECE_TABLES.values())  # noqa: S608
    return [key for (key,) in db.execute(f"{union} ORDER BY key", key_range(number))]
