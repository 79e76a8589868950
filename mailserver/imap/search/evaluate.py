"""SEARCH keys evaluated over the columns of a view (RFC 9051 §6.4.4).

Messages that (still) match are a mask: a large integer with one byte, 0 or 1, per row, so that AND, OR and NOT cost
microseconds. Keys on flags, dates, sizes and numbers are table look-ups over arrays. Keys that need text are asked last
and only for the rows that are left, batch by batch, and what is heavy runs in a thread.
"""

from __future__ import annotations

import calendar
import collections.abc
import sys
import time
from array import array
from collections.abc import Mapping
from concurrent.futures import Executor
from itertools import compress
from types import MappingProxyType

from mailserver.imap.rows import Rows
from mailserver.imap.search.index import SearchIndex
from mailserver.imap.search.text import TextKey, TextSearch, is_indexed
from mailserver.imap.selected import Selected
from mailserver.imap.slices import Turn
from mailserver.mime.comparators import CASEFOLD, Comparator
from mailserver.model.progress import Progress
from mailserver.wire.imap.search_keys import (
    All,
    And,
    BodyText,
    DateField,
    DateKey,
    DateRelation,
    Fuzzy,
    HasFlag,
    Header,
    Larger,
    ModSeq,
    Not,
    ObjectId,
    Or,
    SearchKey,
    Sequence,
    Smaller,
    Text,
    Uids,
    Within,
)
from mailserver.wire.imap.sequence_set import SavedResult, SequenceSet

__all__ = ["Found", "asks_modseq", "find"]

_DAY = 86_400
_OCTET = 256
_NO_SCORES: Mapping[int, int] = MappingProxyType({})

class Found:
    """The messages that match, in order. Columns are made when they are asked for: most answers need one."""

    __slots__ = ("_mask", "_rows", "_scores")

    def __init__(self, rows: Rows, mask: bytes, scores: Mapping[int, int] = _NO_SCORES) -> None:
        self._rows = rows
        self._mask = mask
        self._scores = scores

    def __len__(self) -> int:
        return self._mask.count(1)

    def _found(self, column: collections.abc.Sequence[int]) -> collections.abc.Sequence[int]:
        return column if len(self) == len(self._rows) else list(compress(column, self._mask))

    @property
    def numbers(self) -> collections.abc.Sequence[int]:
        """Message sequence numbers."""
        return self._found(self._rows.numbers)

    @property
    def uids(self) -> collections.abc.Sequence[int]:
        """UIDs."""
        return self._found(self._rows.uids)

    @property
    def modseqs(self) -> collections.abc.Sequence[int]:
        """MODSEQs, as they were when the search began."""
        return self._found(self._rows.modseqs)

    @property
    def dates(self) -> collections.abc.Sequence[int]:
        """INTERNALDATEs, seconds since 1970 UTC."""
        return self._found(self._rows.dates)

    @property
    def scores(self) -> collections.abc.Sequence[int]:
        """How well the messages match, 1 to 100 (RFC 6203 §4); 100 is what was not found by similarity."""
        return [self._scores.get(uid, 100) for uid in self.uids]

    @property
    def sizes(self) -> collections.abc.Sequence[int]:
        """Octets."""
        return self._found(self._rows.sizes)


async def find(
    view: Selected, key: SearchKey, workers: Executor, rows: Rows | None = None, *, index: SearchIndex | None = None,
    progress: Progress | None = None, comparator: Comparator = CASEFOLD,
) -> Found:  # fmt: skip
    """The messages of the view, or of some rows of it, that match; `index` is what plugins know of them,
    and `progress` tells how far one key of text is."""
    rows = view.rows(range(view.count)) if rows is None else rows
    text = TextSearch(view.mailbox, rows.uids, workers, index, progress or Progress(), comparator)
    evaluation = _Evaluation(view, rows, text)
    mask = await evaluation.matching(key, _ones(len(rows)))
    return Found(rows, mask.to_bytes(len(rows), "little"), evaluation.scores)


def asks_modseq(key: SearchKey) -> bool:
    """Whether MODSEQ is among the keys: then the answer has one too (RFC 7162 §3.1.5)."""
    if isinstance(key, And):
        return any(map(asks_modseq, key.keys))
    if isinstance(key, Or):
        return asks_modseq(key.left) or asks_modseq(key.right)
    return asks_modseq(key.key) if isinstance(key, Not | Fuzzy) else isinstance(key, ModSeq)


def _ones(count: int) -> int:
    return int.from_bytes(b"\1" * count, "little")


def _cost(key: SearchKey) -> int:
    """0: arrays; 1: the index; 2: header blocks; 3: whole messages. Cheap keys go first."""
    if isinstance(key, And):
        return max(map(_cost, key.keys))
    if isinstance(key, Or):
        return max(_cost(key.left), _cost(key.right))
    if isinstance(key, Not | Fuzzy):
        return _cost(key.key)
    if isinstance(key, DateKey):
        return 1 if key.field is DateField.SENT else 0
    if isinstance(key, Header):
        return 1 if is_indexed(key) else 2
    if isinstance(key, ObjectId):
        return 1
    return 3 if isinstance(key, BodyText | Text) else 0


class _Evaluation:
    """One SEARCH over one state of the mailbox."""

    def __init__(self, view: Selected, rows: Rows, text: TextSearch) -> None:
        self._view = view
        self._rows = rows
        self._text = text
        self._turn = Turn()

    @property
    def scores(self) -> Mapping[int, int]:
        """Of messages that were found by similarity."""
        return self._text.scores

    async def matching(self, key: SearchKey, among: int, *, fuzzy: bool = False) -> int:
        """The rows among these that match; `fuzzy`: or nearly so, where there is more than yes and no."""
        if not among:
            return 0
        if isinstance(key, And):
            for part in sorted(key.keys, key=_cost):
                among = await self.matching(part, among, fuzzy=fuzzy)
            return among
        if isinstance(key, Or):
            first, second = sorted((key.left, key.right), key=_cost)
            found = await self.matching(first, among, fuzzy=fuzzy)
            return found | await self.matching(second, among & ~found, fuzzy=fuzzy)
        if isinstance(key, Not):
            return among & ~await self.matching(key.key, among, fuzzy=fuzzy)
        if isinstance(key, Fuzzy):
            # Fuzzy matching of flags, numbers and dates is left out, as RFC 6203 §5 allows.
            return await self.matching(key.key, among, fuzzy=True)
        if isinstance(key, Header | BodyText | Text | ObjectId):
            return await self._by_text(key, among, fuzzy=fuzzy)
        if isinstance(key, DateKey) and key.field is DateField.SENT:
            return await self._by_text(key, among, fuzzy=fuzzy)
        # A search may have thousands of keys.
        await self._turn.pass_on()
        return among & int.from_bytes(self._by_array(key), "little")

    # --- arrays

    def _by_array(self, key: SearchKey) -> bytes | bytearray:
        rows = self._rows
        match key:
            case All():
                return b"\1" * len(rows)
            case HasFlag():
                return self._by_flag(key.flag)
            case Sequence():
                return self._by_number(key.messages, rows.numbers, self._view.count)
            case Uids():
                return self._by_number(key.uids, rows.uids, self._view.last_uid)
            case Larger():
                return bytes([size > key.octets for size in rows.sizes])
            case Smaller():
                return bytes([size < key.octets for size in rows.sizes])
            case ModSeq():
                return bytes([modseq >= key.at_least for modseq in rows.modseqs])
            case Within():
                # RFC 5032 §2: the same second is both older and younger.
                since = int(time.time()) - key.seconds
                return bytes([date <= since if key.older else date >= since for date in rows.dates])
            case DateKey():
                low, high = _bounds(key)
                dates = rows.saved if key.field is DateField.SAVED else rows.dates
                return bytes([low <= date < high for date in dates])
        # Recent: no message is, see commands/select.py.
        return b""

    def _by_flag(self, flag: str) -> bytes:
        table = self._view.mailbox.flag_table
        having = table.having(flag)
        lookup = bytes([number in having for number in range(len(table.sets))])
        if len(lookup) > _OCTET:
            return bytes(map(lookup.__getitem__, self._rows.flags))
        # Numbers below 256 are their lowest octets, and those are looked up in one call of C.
        numbers = array("I", self._rows.flags)
        if sys.byteorder == "big":
            numbers.byteswap()
        lowest = numbers.tobytes()[:: numbers.itemsize]
        return lowest.translate(lookup.ljust(_OCTET, b"\0"))

    def _by_number(
        self, named: SequenceSet | SavedResult, column: collections.abc.Sequence[int], star: int
    ) -> bytearray:
        mask = bytearray(len(column))
        if isinstance(named, SavedResult):
            # `$` names UIDs also where sequence numbers could stand (RFC 5182 §2.1).
            numbers, column = self._view.result, self._rows.uids
        else:
            # `*` is the last message that the client knows, though it may be gone.
            numbers = named.resolve(star)
        for span in numbers.indexes_in(column):
            mask[span.start : span.stop] = b"\1" * len(span)
        return mask

    async def _by_text(self, key: TextKey, among: int, *, fuzzy: bool) -> int:
        found = await self._text.matching(key, among.to_bytes(len(self._rows), "little"), fuzzy=fuzzy)
        return int.from_bytes(found, "little")


def _bounds(key: DateKey) -> tuple[int, int]:
    """Seconds since 1970 from (inclusive) and to (exclusive). Days are those of UTC, as INTERNALDATE is shown."""
    start = calendar.timegm(key.day.timetuple())
    if key.relation is DateRelation.BEFORE:
        return -(1 << 62), start
    return start, start + _DAY if key.relation is DateRelation.ON else 1 << 62
