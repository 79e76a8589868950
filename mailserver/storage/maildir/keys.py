"""Keys of messages in `index.db`: `folder number << 32 | UID`, so a folder is a range, and so are UIDs that follow."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = ["as_json", "key_range", "select", "select_some"]

#: Keys that one statement names.
_MANY = 500
#: Rows that are fetched at once.
_SOME = 100


def key_range(number: int) -> tuple[int, int]:
    """The first and last key of a folder."""
    return number << 32, number << 32 | 0xFFFFFFFF


def as_json(keys: Iterable[int]) -> str:
    """Keys as one value of a statement, for `json_each`."""
    return f"[{','.join(map(str, keys))}]"


def select(
    db: sqlite3.Connection, columns: str, table: str, number: int, uids: Sequence[int]
) -> list[tuple[Any, ...]]:
    """Rows of these UIDs, as far as there are any, each beginning with its key; ascending if `uids` are."""
    return [row for rows in select_some(db, columns, table, number, uids) for row in rows]


def select_some(
    db: sqlite3.Connection, columns: str, table: str, number: int, uids: Sequence[int]
) -> Iterator[list[tuple[Any, ...]]]:
    """The same, some at a time."""
    if not uids:
        return
    first = number << 32
    low, high = first | min(uids), first | max(uids)
    # One question if the UIDs are dense, else many small ones.
    if high - low < 4 * len(uids) + _MANY:
        cursor = db.execute(f"SELECT key, {columns} FROM {table} WHERE key BETWEEN ? AND ?", (low, high))  # noqa: S608
        wanted = None if len(uids) == high - low + 1 else {first | uid for uid in uids}
        while rows := cursor.fetchmany(_SOME):
            yield rows if wanted is None else [row for row in rows if row[0] in wanted]
        return
    for start in range(0, len(uids), _MANY):
        keys = [first | uid for uid in uids[start : start + _MANY]]
        marks = ",".join("?" * len(keys))
        cursor = db.execute(f"SELECT key, {columns} FROM {table} WHERE key IN ({marks}) ORDER BY key", keys)  # noqa: S608
        while rows := cursor.fetchmany(_SOME):
            yield rows
