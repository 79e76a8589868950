"""What the client hears unasked, of the selected mailbox and, with NOTIFY, of all others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress

from mailserver.imap.fetch_plan import make_plan
from mailserver.imap.fetch_rows import Tally, fetch_rows
from mailserver.imap.roles import News
from mailserver.imap.sections import UnknownEncoding
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.model.numset import MAX_NUMBER, NumSet
from mailserver.wire.imap.fetch_items import FetchItem
from mailserver.wire.imap.notify_commands import NotifyEvent

__all__ = ["fetched", "tell_notified"]


async def tell_notified(session: Session, wanted: News, *, expunges: bool, pushed: bool) -> AsyncIterator[bytes]:
    """What NOTIFY asked for. `pushed`: no command of the client is the occasion."""
    view = session.selected
    if view is not None and NotifyEvent.MESSAGE_NEW in wanted.events:
        last = view.last_uid
        # RFC 5465 §6.1.2: SELECTED-DELAYED keeps the meaning of numbers between commands.
        expunge = expunges and not (pushed and wanted.delayed)
        for piece in session.pending(expunge=expunge, flags=NotifyEvent.FLAG_CHANGE in wanted.events):
            yield piece
        if view.last_uid > last and wanted.fetch and not view.revoked:
            async for piece in _new_messages(session, view, wanted, last):
                yield piece
        view.own.clear()
    async for piece in wanted.news():
        yield piece


async def _new_messages(session: Session, view: Selected, wanted: News, last: int) -> AsyncIterator[bytes]:
    """RFC 5465 §5.2: of those that this client brought here itself it knows enough."""
    new = [uid for span in view.spans_of_uids(NumSet(((last + 1, MAX_NUMBER),))) for uid in view.rows(span).uids]
    async for piece in fetched(session, view, wanted.fetch, [uid for uid in new if uid not in view.own]):
        yield piece


async def fetched(
    session: Session, view: Selected, items: Sequence[FetchItem], uids: Iterable[int]
) -> AsyncIterator[bytes]:
    """FETCH responses that the client asked for in advance; of what cannot be decoded as it wants, none."""
    plan = make_plan(items, uid_only=session.uid_only)
    for rows in view.batches(view.spans_of_uids(NumSet.from_numbers(uids)), 256):
        with suppress(UnknownEncoding):
            async for piece in fetch_rows(session, plan, items, rows, Tally()):
                yield piece
