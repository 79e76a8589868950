"""FETCH responses that the client asked for in advance, with NOTIFY or with RETURN (UPDATE) (RFC 5465 §5.2, §7)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress

from mailserver.imap.fetch.answers import Tally, fetch_rows
from mailserver.imap.fetch.plan import make_plan
from mailserver.imap.fetch.sections import UnknownEncoding
from mailserver.imap.replies import Untagged
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.model.numset import NumSet
from mailserver.wire.imap.fetch_items import FetchItem

__all__ = ["fetched"]


async def fetched(
    session: Session, view: Selected, items: Sequence[FetchItem], uids: Iterable[int]
) -> AsyncIterator[Untagged]:
    """These items of these messages; of what cannot be decoded as the client wants, nothing."""
    plan = make_plan(items, uid_only=session.uid_only)
    for rows in view.batches(view.spans_of_uids(NumSet.from_numbers(uids)), 256):
        with suppress(UnknownEncoding):
            async for piece in fetch_rows(session, plan, items, rows, Tally()):
                yield piece
