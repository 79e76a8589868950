"""What of the counts is in memory: rows of tokens that came lately, and which numbers are known at all.

Rows are in a table of fixed size, each at the place that its number says, where the next one with that place takes
over: 16 octets a row, a tenth of what objects take. Most pairs of words in a message never came before; a second table
with a mark where a known number falls answers that without a question to the database. It may be wrong about a number
that falls where a known one does, never about a known one.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable, Sequence

from mailserver.plugins.bayes import database

__all__ = ["Memory"]

#: Rows that are kept, 4 MB.
_KEPT = 1 << 18
#: Octets of the table of marks: four for a number that is known, as long as it does not become too large.
_LEAST_PLACES, _MOST_PLACES = 1 << 16, 1 << 22
_PLACES = 4
#: Odd, so that numbers of two owners fall apart.
_FACTOR = 0x9E37_79B9_7F4A_7C15
_MASK = (1 << 63) - 1
#: No key is this one, and no row: it is not known, though the marks say so.
_NOBODY = -1
_NONE = -1


class Memory:
    """For one database, and only in its thread."""

    def __init__(self) -> None:
        #: Made when somebody asks.
        self._keys = array("q")
        self._rows = array("q")
        self._places = bytearray()
        self._marked = 0

    def rows(self, db: sqlite3.Connection, owner: int, numbers: Sequence[int]) -> dict[int, int]:
        """What is known of these tokens, packed."""
        if not self._places or 2 * self._marked > len(self._places) < _MOST_PLACES:
            self._mark_all(db)
        keys, rows, places, salt = self._keys, self._rows, self._places, _salt(owner)
        kept, marked = len(keys) - 1, len(places) - 1
        found: dict[int, int] = {}
        missing = []
        for number in numbers:
            key = number ^ salt
            at = key & kept
            if keys[at] == key:
                row = rows[at]
                if row != _NONE:
                    found[number] = row
            elif places[key & marked]:
                missing.append(number)
        if missing:
            more = database.find_packed(db, owner, missing)
            for number in missing:
                key = number ^ salt
                keys[key & kept] = key
                rows[key & kept] = more.get(number, _NONE)
            found.update(more)
        return found

    def changed(self, owner: int, numbers: Iterable[int]) -> None:
        """These have other rows than before, or have some now."""
        if not self._places:
            return
        keys, places, salt = self._keys, self._places, _salt(owner)
        kept, marked = len(keys) - 1, len(places) - 1
        for number in numbers:
            key = number ^ salt
            if keys[key & kept] == key:
                keys[key & kept] = _NOBODY
            if not places[key & marked]:
                places[key & marked] = 1
                self._marked += 1

    def clear(self) -> None:
        """Nothing of it is true any more."""
        self._keys, self._rows, self._places, self._marked = array("q"), array("q"), bytearray(), 0

    def _mark_all(self, db: sqlite3.Connection) -> None:
        count = database.count_numbers(db)
        size = _LEAST_PLACES
        while size < min(_PLACES * count, _MOST_PLACES):
            size *= 2
        places, marked = bytearray(size), size - 1
        owner = salt = 0
        for owner_of_it, number in database.all_numbers(db):
            if owner_of_it != owner:
                owner, salt = owner_of_it, _salt(owner_of_it)
            places[(number ^ salt) & marked] = 1
        self._places, self._marked = places, count
        if not self._keys:
            self._keys, self._rows = array("q", [_NOBODY]) * _KEPT, array("q", [_NONE]) * _KEPT


def _salt(owner: int) -> int:
    return owner * _FACTOR & _MASK
