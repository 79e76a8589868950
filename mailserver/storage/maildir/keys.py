"""Keys of messages in `index.db`: `folder number << 32 | UID`, so a folder is a range, and so are UIDs that follow."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["as_json", "key_range", "select"]

#: Keys that one statement names.
_MANY = 500


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
    if not uids:
        return []
    first = number << 32
    low, high = first | min(uids), first | max(uids)
    # One question if the UIDs are dense, else many small ones.
    if high - low < 4 * len(uids) + _MANY:
        question = f"SELECT key, {columns} FROM {table} WHERE key BETWEEN ? AND ?"  # noqa: S608
        rows = db.execute(question, (low, high)).fetchall()
        if len(uids) == high - low + 1:
            return rows
        wanted = {first | uid for uid in uids}
        return [row for row in rows if row[0] in wanted]
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(uids), _MANY):
        keys = [first | uid for uid in uids[start : start + _MANY]]
        marks = ",".join("?" * len(keys))
        found += db.execute(f"SELECT key, {columns} FROM {table} WHERE key IN ({marks}) ORDER BY key", keys)  # noqa: S608
    return found
