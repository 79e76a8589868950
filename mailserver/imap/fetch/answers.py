"""Answering a FETCH for one batch of rows: from the arrays, from the index, from messages whole, or by ranges.

While a batch of pieces or of small messages is sent the next one is read, so memory is bounded by two of them
(ports/store.py); larger messages are read by ranges. The place of a section of a large message is found once (in a
thread) and remembered: clients fetch these in pieces, and finding the place means reading all of it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain

from mailserver.imap.fetch.ahead import one_ahead
from mailserver.imap.fetch.plan import Pieces, Plan, is_whole, make_plan
from mailserver.imap.fetch.sections import Located, SectionItem, locate_all, opened, render, value_of
from mailserver.imap.replies import Untagged
from mailserver.imap.rows import Rows
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.model.errors import MailError, NotFound
from mailserver.model.flags import SEEN, FlagChange
from mailserver.model.numset import NumSet
from mailserver.model.rights import Right
from mailserver.wire.imap.fetch_items import BinarySection, BinarySize, FetchAttribute, FetchItem

__all__ = ["Tally", "fetch_rows"]

#: Octets of a message that is not held whole.
_LARGE = 256 << 10
#: Lines that are made at once.
_LINES = 1000
#: Octets of a large message that are read at a time.
_RANGE = 128 << 10
#: The rendered pieces of a message for which the client does not wait.
_NOT_YET = (b"NIL",)


class Tally:
    """How many messages of a FETCH were answered for."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


async def fetch_rows(
    session: Session, plan: Plan, items: Sequence[FetchItem], rows: Rows, tally: Tally
) -> AsyncIterator[Untagged]:
    """FETCH responses; messages that went in the meantime are left out, and not counted."""
    # RFC 4314 §4: without the right to set it, \Seen is left as it is.
    if plan.marks_seen and session.view.refusal(Right.SEEN) is None:
        rows, marked = await _mark_seen(session, rows)
        if marked:
            # The new flags go with the item that changed them (RFC 9051 §6.4.5), with MODSEQ as RFC 7162 §3.2 wants it.
            shown = (*items, *(item for item in _shown(session) if item not in items))
            plan = make_plan(shown, uid_only=session.uid_only)
            session.view.told(rows)
    if not plan.rendered and not plan.sections:
        for some in _parts(session.view, rows):
            tally.count += len(some)
            yield plan.lines(some, (), session.view.mailbox.flag_table.rendered)
    elif plan.sections or plan.lazy:
        async for lines in _from_messages(session, plan, rows, tally):
            yield lines
    else:
        async for lines in _from_index(session, plan, rows, tally):
            yield lines


def _parts(view: Selected, rows: Rows) -> Iterator[Rows]:
    """Some rows at a time, as they are when it is their turn: the client may be slow."""
    modseq = view.mailbox.highest_modseq
    for start in range(0, len(rows), _LINES):
        some = rows.part(start, start + _LINES)
        yield some if view.mailbox.highest_modseq == modseq else view.live(some)


async def _from_index(session: Session, plan: Plan, rows: Rows, tally: Tally) -> AsyncIterator[bytes]:
    view = session.view
    box, modseq, at = view.mailbox, view.mailbox.highest_modseq, 0
    async for uids, columns in one_ahead(box.pieces(rows.uids, plan.rendered)):
        stop = bisect_right(rows.uids, uids[-1], at)
        some = rows.part(at, stop)
        if box.highest_modseq != modseq:
            some = view.live(some)
        if list(some.uids) != list(uids):
            some, columns = _matching(some, uids, columns)
        tally.count += len(some)
        yield plan.lines(some, columns, box.flag_table.rendered)
        at = stop


def _matching(rows: Rows, uids: Sequence[int], columns: Pieces) -> tuple[Rows, Pieces]:
    """What is in both: rows and columns of these UIDs."""
    places = {uid: at for at, uid in enumerate(uids)}
    rows = rows.take([at for at, uid in enumerate(rows.uids) if uid in places])
    return rows, [[column[places[uid]] for uid in rows.uids] for column in columns]


async def _from_messages(
    session: Session, plan: Plan, rows: Rows, tally: Tally
) -> AsyncIterator[Untagged]:
    pieces: Mapping[int, Sequence[bytes]] = {}
    if plan.rendered:
        box = session.view.mailbox
        pieces = await box.rendered(rows.uids, plan.rendered, make=not plan.lazy)
        if plan.lazy:
            # RFC 8970 §4.1: not made yet is NIL; only what is gone is left out.
            pieces = {uid: pieces.get(uid, _NOT_YET) for uid in rows.uids if uid in pieces or box.table.find(uid) >= 0}
        rows = rows.take([at for at, uid in enumerate(rows.uids) if uid in pieces]) if len(pieces) < len(rows) else rows
    if not rows:
        return
    if not plan.sections:
        columns = list(zip(*[pieces[uid] for uid in rows.uids], strict=True))
        tally.count += len(rows)
        yield plan.lines(rows, columns, session.view.mailbox.flag_table.rendered)
        return
    for group in _groups(rows, plan):
        if _is_large(group, plan):
            async for part in _large(session, plan, group, pieces, tally):
                yield part
        else:
            async for parts in _small(session, plan, group, pieces, tally):
                yield parts


def _shown(session: Session) -> Iterator[FetchAttribute]:
    """What every FETCH response that tells of a flag change has."""
    yield FetchAttribute.FLAGS
    if session.shown.uid:
        yield FetchAttribute.UID
    if session.shown.modseq:
        yield FetchAttribute.MODSEQ


async def _mark_seen(session: Session, rows: Rows) -> tuple[Rows, bool]:
    view = session.view
    seen = view.mailbox.flag_table.having(SEEN)
    unseen = [uid for uid, flags in zip(rows.uids, rows.flags, strict=True) if flags not in seen]
    if not unseen:
        return rows, False
    await view.mailbox.set_flags(unseen, FlagChange.ADD, frozenset({SEEN}))
    return view.rows_of(NumSet.from_numbers(rows.uids)), True


def _groups(rows: Rows, plan: Plan) -> Iterator[Rows]:
    """Small messages that follow each other, each large message alone; in order."""
    start = 0
    for at, size in enumerate(rows.sizes):
        if size > _LARGE and not plan.header_only:
            if at > start:
                yield rows.part(start, at)
            yield rows.part(at, at + 1)
            start = at + 1
    if start < len(rows):
        yield rows.part(start, len(rows))


def _is_large(group: Rows, plan: Plan) -> bool:
    return not plan.header_only and len(group) == 1 and group.sizes[0] > _LARGE


async def _small(
    session: Session, plan: Plan, rows: Rows, pieces: Mapping[int, Sequence[bytes]], tally: Tally
) -> AsyncIterator[list[bytes]]:
    view, box, modseq, at = session.view, session.view.mailbox, session.view.mailbox.highest_modseq, 0
    async for batch in one_ahead(box.read_many(rows.uids, header_only=plan.header_only)):
        uids = [uid for uid, _ in batch]
        values = await _values(session, [data for _, data in batch], plan.sections)
        stop = bisect_right(rows.uids, uids[-1], at)
        some, at = rows.part(at, stop), stop
        if box.highest_modseq != modseq:
            some = view.live(some)
        known = list(zip(*[pieces[uid] for uid in uids], strict=True)) if plan.rendered else []
        columns: Pieces = [*known, *chain.from_iterable(values)]
        if list(some.uids) != uids:
            some, columns = _matching(some, uids, columns)
        tally.count += len(some)
        ahead, octets = [*columns[: len(known)], *columns[len(known) :: 2]], columns[len(known) + 1 :: 2]
        yield plan.answers(some, ahead, octets, box.flag_table.rendered)


async def _values(
    session: Session, messages: Sequence[bytes], sections: Sequence[SectionItem]
) -> list[tuple[Sequence[bytes], Sequence[bytes]]]:
    """For each section what goes out of each message, in two columns (`opened`)."""
    if all(is_whole(item) for item in sections):
        return [_opened(item, messages) for item in sections]
    if any(item.part for item in sections):
        # Taking messages apart is work for milliseconds.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(session.services.workers, partial(_located, messages, sections))
    return _located(messages, sections)


def _located(
    messages: Sequence[bytes], sections: Sequence[SectionItem]
) -> list[tuple[Sequence[bytes], Sequence[bytes]]]:
    located = [locate_all(data, sections) for data in messages]
    return [
        _opened(item, [value_of(data, places[at]) for data, places in zip(messages, located, strict=True)])
        for at, item in enumerate(sections)
    ]


def _opened(item: SectionItem, values: Sequence[bytes | None]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    both = [opened(item, value) for value in values]
    return [ahead for ahead, _ in both], [octets for _, octets in both]


async def _large(
    session: Session, plan: Plan, rows: Rows, pieces: Mapping[int, Sequence[bytes]], tally: Tally
) -> AsyncIterator[bytes]:
    """One large message: what it has is found first, so that nothing can go wrong once its response has begun."""
    uid, size = rows.uids[0], rows.sizes[0]
    try:
        located = [(0, size)] * len(plan.sections) if plan.whole_only else await _find(session, uid, plan.sections)
    except NotFound:
        return
    values: list[Sequence[bytes]] = [(value,) for value in (*pieces.get(uid, ()), *(b"" for _ in plan.sections))]
    flags = session.view.mailbox.flag_table.rendered
    tally.count += 1
    lead = plan.lead % rows.numbers[0]
    for name, column, section_at in zip(plan.names, plan.columns, plan.sections_at, strict=True):
        if section_at < 0:
            yield lead + name % (next(iter(column(rows, values, flags))),)
        else:
            item, place = plan.sections[section_at], located[section_at]
            if isinstance(place, tuple) and not isinstance(item, BinarySize):
                yield lead + name % b""
                async for piece in _range(session, uid, item, place):
                    yield piece
            elif isinstance(place, tuple):
                yield lead + name % (b"%d" % (place[1] - place[0]))
            else:
                yield lead + name % render(item, place)
        lead = b" "
    yield b")\r\n"


async def _range(session: Session, uid: int, item: SectionItem, place: tuple[int, int]) -> AsyncIterator[bytes]:
    """A literal that is read as it is sent."""
    start, end = place
    if not isinstance(item, BinarySize) and item.partial is not None:
        first, count = item.partial
        start, end = min(start + first, end), min(start + first + count, end)
    box = session.view.mailbox
    try:
        substitute = not (isinstance(item, BinarySection) and await _has_nul(session, uid, start, end))
        yield b"{%d}\r\n" % (end - start) if substitute else b"~{%d}\r\n" % (end - start)
        while start < end:
            data = await box.read(uid, start, min(_RANGE, end - start))
            if not data:
                raise NotFound("the message is gone")
            start += len(data)
            yield data.replace(b"\0", b"\x80") if substitute and b"\0" in data else data
    except MailError as error:
        # The response was begun, and perhaps its count said: what came now would be taken for a part of it.
        raise ConnectionResetError("a message went, or could not be read, while it was sent") from error


async def _has_nul(session: Session, uid: int, start: int, end: int) -> bool:
    while start < end:
        data = await session.view.mailbox.read(uid, start, min(_RANGE, end - start))
        if not data or b"\0" in data:
            return bool(data)
        start += len(data)
    return False


async def _find(session: Session, uid: int, items: Sequence[SectionItem]) -> list[Located]:
    """Where the sections of a large message are. Raises NotFound, UnknownEncoding."""
    box, places = session.view.mailbox, session.services.places
    message = (box.mailbox_id, box.uid_validity, uid)
    keys = [(message, type(item), item.part, getattr(item, "text", None)) for item in items]
    known = [places.get(key) for key in keys]
    if all(place is not None for place in known):
        return list(known)
    data = await box.read(uid)
    loop = asyncio.get_running_loop()
    located = await loop.run_in_executor(session.services.workers, partial(locate_all, data, items))
    for key, place in zip(keys, located, strict=True):
        if isinstance(place, tuple):
            places.put(key, place)
    return located
