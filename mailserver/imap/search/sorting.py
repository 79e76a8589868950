"""Messages in the order that SORT asks for (RFC 5256 §3, RFC 5957), from what the index keeps of them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any

from mailserver.imap.search.evaluate import Found
from mailserver.imap.search.remembered import key_of
from mailserver.imap.search.sorting_pieces import SortingPieces
from mailserver.imap.selected import Selected
from mailserver.imap.slices import in_slices, sorted_by
from mailserver.mime.comparators import USUAL, Collation
from mailserver.mime.sorting import SortField, Unpacked
from mailserver.model.progress import Progress
from mailserver.wire.imap.commands import SortCriterion, SortKey

__all__ = ["in_order"]

_FIELDS = {
    SortKey.CC: SortField.CC,
    SortKey.DISPLAYFROM: SortField.DISPLAY_FROM,
    SortKey.DISPLAYTO: SortField.DISPLAY_TO,
    SortKey.FROM: SortField.FROM,
    SortKey.SUBJECT: SortField.SUBJECT,
    SortKey.TO: SortField.TO,
}
#: Keys of texts have no octet of 255, and those that are behind all texts begin with it (`Comparator.order_of`).
_TURNED = bytes(254 - octet if octet < 255 else 255 for octet in range(256))
_LAST = b"\xff"


def _sent_dates(pieces: Sequence[Unpacked], dates: Sequence[int]) -> list[int]:
    """Sent dates (RFC 5256 §2.2); `dates` are the INTERNALDATEs of the same messages, for those without one."""
    sent = [piece[SortField.SENT] for piece in pieces]
    return [date if own is None else own for own, date in zip(sent, dates, strict=True)]


async def in_order(
    view: Selected, found: Found, criteria: Sequence[SortCriterion], pieces: SortingPieces,
    progress: Progress | None = None, collation: Collation = USUAL,
) -> Sequence[int]:  # fmt: skip
    """The places among what was found, sorted. n log n; equal ones stay in the order of the mailbox."""
    key = key_of(view.mailbox, (tuple(criteria), collation.selected), found.uids)
    known = pieces.remembered.get(key)
    if known is not None:
        return array("I", known)
    columns = await _columns(view, found, {criterion.key for criterion in criteria}, pieces, progress, collation)
    order = list(range(len(found)))
    # The sort is stable, so what counts least comes first.
    for criterion in reversed(criteria):
        order = await in_slices(sorted_by(order, columns[criterion.key], reverse=criterion.reverse))
    pieces.remembered.keep(key, array("I", order).tobytes())
    return order


async def _columns(
    view: Selected, found: Found, keys: set[SortKey], kept: SortingPieces, progress: Progress | None,
    collation: Collation,
) -> dict[SortKey, Sequence[Any]]:  # fmt: skip
    columns: dict[SortKey, Sequence[Any]] = {}
    if SortKey.ARRIVAL in keys:
        columns[SortKey.ARRIVAL] = found.dates
    if SortKey.RELEVANCY in keys:
        # RFC 6203 §6: the highest score comes first.
        columns[SortKey.RELEVANCY] = [-score for score in found.scores]
    if SortKey.SIZE in keys:
        columns[SortKey.SIZE] = found.sizes
    wanted: dict[SortKey, tuple[list[Any], Callable[[list[Unpacked], Sequence[int]], list[Any]]]] = {
        key: ([], _column(key, descending=collation.descending)) for key in keys - columns.keys()
    }
    if wanted:
        dates, start = found.dates, 0
        async for pieces in kept.of(view.mailbox, found.uids, progress, collation.comparator):
            for column, taken in wanted.values():
                column.extend(taken(pieces, dates[start : start + len(pieces)]))
            start += len(pieces)
    return columns | {key: column for key, (column, _) in wanted.items()}


def _column(key: SortKey, *, descending: bool) -> Callable[[list[Unpacked], Sequence[int]], list[Any]]:
    if key is SortKey.DATE:
        return _sent_dates
    field = _FIELDS[key]
    if descending:
        return lambda pieces, dates: [_turned(piece[field]) for piece in pieces]
    return lambda pieces, dates: [piece[field] for piece in pieces]


def _turned(key: bytes) -> bytes:
    """A key that sorts the other way round (RFC 4790 §3.3), but what is no text still last (RFC 5255 §4.6)."""
    return key if key.startswith(_LAST) else key.translate(_TURNED) + _LAST
