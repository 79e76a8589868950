"""The table of a large folder as it stands in memory, written when its account leaves memory, so that the first SELECT
after a restart reads one value and not a hundred thousand rows. Gone with the first change of a message in the folder.

Part of the cache of `index.db`; within transactions of `AccountIndex.run`, in threads.
"""

from __future__ import annotations

import sqlite3
import zlib
from array import array
from collections import Counter

from mailserver.model.flags import FlagTable
from mailserver.model.mailbox import MessageTable
from mailserver.storage.maildir.index import AccountIndex

__all__ = ["WORTHWHILE", "forget_snapshot", "is_kept", "load_snapshot", "save_snapshot", "usage_of_snapshot"]

#: A folder with fewer messages is read as quickly from its rows.
WORTHWHILE = 5_000
#: Items that are changed or counted at once; small enough that the loop gets its turn between two pieces.
_PIECE = 20_000


def save_snapshot(
    db: sqlite3.Connection, index: AccountIndex, number: int, table: MessageTable, sets: list[frozenset[str]]
) -> None:
    """Keep this table, which is what the rows say. `sets`: what its numbers of flags mean."""
    numbers = [index.flag_number(db, flags) for flags in sets]
    columns = list(table.columns())
    columns[1] = _translated(table.flags, numbers)
    data = b"".join([column.tobytes() for column in columns])
    db.execute(
        "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)",
        (number, len(table), sum(table.sizes), zlib.crc32(data), data),
    )


def is_kept(db: sqlite3.Connection, number: int) -> bool:
    """Is there one, so that it need not be written again?"""
    return db.execute("SELECT 1 FROM snapshots WHERE number = ?", (number,)).fetchone() is not None


def forget_snapshot(db: sqlite3.Connection, number: int) -> None:
    """A message of the folder came, went or changed."""
    db.execute("DELETE FROM snapshots WHERE number = ?", (number,))


def usage_of_snapshot(db: sqlite3.Connection, number: int) -> tuple[int, int] | None:
    """Octets and messages of a folder that has a snapshot."""
    row = db.execute("SELECT octets, entries FROM snapshots WHERE number = ?", (number,)).fetchone()
    return None if row is None or not all(type(value) is int for value in row) else (row[0], row[1])


def load_snapshot(
    db: sqlite3.Connection, index: AccountIndex, number: int, flag_table: FlagTable, uid_next: int
) -> tuple[MessageTable, Counter[int]] | None:
    """The table, and how many messages have which flags; None without a snapshot, or when it is not as written."""
    row = db.execute("SELECT entries, crc, columns FROM snapshots WHERE number = ?", (number,)).fetchone()
    if row is None:
        return None
    entries, crc, data = row
    table = MessageTable()
    size = sum(column.itemsize for column in table.columns())
    if type(entries) is not int or type(data) is not bytes or len(data) != entries * size or zlib.crc32(data) != crc:
        return None
    start = 0
    for column in table.columns():
        end = start + entries * column.itemsize
        column.frombytes(memoryview(data)[start:end])
        start = end
    if entries and table.uids[-1] >= uid_next:
        return None
    counted = _counted(table.flags)
    highest = max(counted, default=0)
    numbers = [0] * (highest + 1)
    for name in counted:
        numbers[name] = flag_table.intern(index.flag_set(name))
    if any(numbers[name] != name for name in counted):
        table.flags[:] = _translated(table.flags, numbers)
    return table, Counter({numbers[name]: count for name, count in counted.items()})


def _translated(column: array[int], numbers: list[int]) -> array[int]:
    out = array(column.typecode)
    for start in range(0, len(column), _PIECE):
        out.extend([numbers[value] for value in column[start : start + _PIECE]])
    return out


def _counted(column: array[int]) -> Counter[int]:
    out: Counter[int] = Counter()
    for start in range(0, len(column), _PIECE):
        out.update(column[start : start + _PIECE])
    return out
