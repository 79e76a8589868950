"""What changes in the results of RETURN (UPDATE): ADDTO and REMOVEFROM (RFC 5267 §4.3).

Only messages that came or changed since the last time are looked at. When there are new ones among the results of a
SORT, all of them are put in order again; that is why their number is limited.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import abc
from collections.abc import AsyncIterator, Iterator

from mailserver.imap.fetch.unasked import fetched
from mailserver.imap.replies import BadArguments, Untagged
from mailserver.imap.rows import Rows
from mailserver.imap.search.contexts import MAX_CONTEXTS, MAX_SORTED, PIECE, Context, no_updates
from mailserver.imap.search.evaluate import Found, find
from mailserver.imap.search.sorting import in_order
from mailserver.imap.selected import Selected
from mailserver.imap.session import Services, Session
from mailserver.imap.slices import Turn
from mailserver.model.numset import NumSet
from mailserver.wire.imap.commands import Search, SearchReturn, SortCriterion
from mailserver.wire.imap.fetch_items import FetchItem
from mailserver.wire.imap.search_keys import And, Fuzzy, Not, Or, SearchKey, Sequence, Uids, Within
from mailserver.wire.imap.sequence_set import SavedResult, SequenceSet

__all__ = ["begin", "keep", "updates"]


def begin(session: Session, search: Search, criteria: tuple[SortCriterion, ...] = ()) -> Context | None:
    """Asked before the search is made: what will keep its results. None when no updates are wanted.

    Raises:
        BadArguments: a context has this tag already (RFC 5267 §4.3).
    """
    if search.returns is None or SearchReturn.UPDATE not in search.returns:
        return None
    view, tag = session.view, session.tag
    if tag in view.contexts:
        raise BadArguments("this tag has updates already")
    return Context(
        tag=tag, key=_lasting(search.key, view), uid=search.uid, criteria=criteria,
        collation=session.collation, fetch=search.fetch,
        results=array("I"), modseq=view.mailbox.highest_modseq, last_uid=view.last_uid,
        generation=view.mailbox.table.generation,
    )  # fmt: skip


def keep(
    view: Selected, context: Context | None, found: Found, order: abc.Sequence[int] | None = None, *,
    whole: bool = True,
) -> Iterator[bytes]:  # fmt: skip
    """From now on tell its changes, or say that they will not be told (RFC 5267 §4.3.1): not of a search that was not
    `whole`."""
    if context is None:
        return
    if not whole or len(view.contexts) >= MAX_CONTEXTS or (context.criteria and len(found) > MAX_SORTED):
        yield no_updates(context.tag, "Too many updates, or too many messages")
        return
    uids = found.uids
    context.results = array("I", uids if order is None else [uids[at] for at in order])
    view.contexts.add(context)


def _lasting(key: SearchKey, view: Selected) -> SearchKey:
    """With UIDs for message numbers and for `$`: both mean what they mean now."""
    match key:
        case And():
            return And(tuple(_lasting(one, view) for one in key.keys))
        case Or():
            return Or(_lasting(key.left, view), _lasting(key.right, view))
        case Not():
            return Not(_lasting(key.key, view))
        case Fuzzy():
            # What comes later is looked for exactly: no index knows it yet.
            return Fuzzy(_lasting(key.key, view))
        case Sequence(messages=SavedResult()) | Uids(uids=SavedResult()):
            return Uids(SequenceSet(view.result))
        case Sequence(messages=SequenceSet() as messages):
            spans = view.spans_of_numbers(messages.resolve(view.count))
            return Uids(SequenceSet(NumSet.from_numbers(view.uids_at(spans))))
    return key


def _by_time(key: SearchKey) -> bool:
    """Whether messages match, or do not, because time goes by."""
    match key:
        case And():
            return any(map(_by_time, key.keys))
        case Or():
            return _by_time(key.left) or _by_time(key.right)
        case Not() | Fuzzy():
            return _by_time(key.key)
    return isinstance(key, Within)


async def updates(session: Session, view: Selected) -> AsyncIterator[Untagged]:
    """Of all contexts; asked after EXISTS and FETCH were told, so that the client knows the messages."""
    turn, shown = Turn(), dict[int, frozenset[FetchItem]]()
    for context in view.contexts:
        last = context.last_uid
        for rows in _candidates(view, context):
            new = rows.uids[bisect_right(rows.uids, last) :] if context.fetch else ()
            before = context.among(new)
            change = await _update(view, context, rows, session.services)
            async for piece in _fetched(session, view, context, sorted(context.among(new) - before), shown):
                yield piece
            yield change
            await turn.pass_on()


async def _fetched(
    session: Session, view: Selected, context: Context, uids: list[int], shown: dict[int, frozenset[FetchItem]]
) -> AsyncIterator[Untagged]:
    """What the client wants to see of new messages, before it hears that they match (RFC 5465 §7).

    Nothing is `shown` twice because of several searches, or because NOTIFY wants it as well (§5.2).
    """
    notified = frozenset(session.notifications.fetch if session.notifications is not None else ())
    missing = dict[tuple[FetchItem, ...], list[int]]()
    for uid in uids:
        known = shown.get(uid, notified)
        missing.setdefault(tuple(item for item in context.fetch if item not in known), []).append(uid)
        shown[uid] = known.union(context.fetch)
    for items, some in missing.items():
        if items:
            async for piece in fetched(session, view, items, some):
                yield piece


def _candidates(view: Selected, context: Context) -> Iterator[Rows]:
    """The messages that may have come into the results or left them, a few at a time."""
    box, modseq, last = view.mailbox, context.modseq, context.last_uid
    context.modseq, context.last_uid = box.highest_modseq, view.last_uid
    if _by_time(context.key):
        return view.batches([range(view.count)], PIECE)
    if (context.modseq, context.last_uid) == (modseq, last):
        return iter(())
    changed = box.flags_changed_since(modseq)
    uids = [*changed[: bisect_right(changed, last)]]
    uids += view.table.uids[bisect_right(view.table.uids, last) : view.count]
    return view.batches(view.spans_of_uids(NumSet.from_numbers(uids)), PIECE)


async def _update(view: Selected, context: Context, rows: Rows, services: Services) -> bytes:
    comparator = context.collation.comparator
    matching = set((await find(view, context.key, services.workers, rows, comparator=comparator)).uids)
    before = context.among(rows.uids)
    if not context.criteria:
        return context.exchange(before - matching, matching - before, view.numbers_of)
    if matching == before:
        return b""
    kept = [uid for uid in context.results if uid not in before or uid in matching]
    if matching <= before:
        return context.change(kept, view.numbers_of)
    all_rows = view.rows_of(NumSet.from_numbers([*kept, *(matching - before)]))
    order = await in_order(
        view, Found(all_rows, b"\1" * len(all_rows)), context.criteria, services.sorting, collation=context.collation
    )
    return context.change([all_rows.uids[at] for at in order], view.numbers_of)
