"""What the client hears unasked: of the selected mailbox, of searches that it keeps and, with NOTIFY, of all others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog

from mailserver.imap.fetch.unasked import fetched
from mailserver.imap.replies import Untagged
from mailserver.imap.roles import News
from mailserver.imap.search.updates import updates
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.model.errors import MailError
from mailserver.model.numset import MAX_NUMBER, NumSet
from mailserver.wire.imap.commands import NotifyEvent

__all__ = ["untold"]

log = structlog.get_logger()


async def untold(session: Session, *, expunges: bool, pushed: bool) -> AsyncIterator[Untagged]:
    """Everything that happened and was not told yet.

    Args:
        expunges: False while message numbers must keep their meaning (RFC 9051 §7.5.1).
        pushed: no command of the client is the occasion, nor is IDLE.
    """
    if session.notifications is None:
        for line in session.pending(expunge=expunges):
            yield line
    try:
        if session.notifications is not None:
            async for piece in _notified(session, session.notifications, expunges=expunges, pushed=pushed):
                yield piece
        selected = session.selected
        if selected is not None and selected.contexts:
            async for piece in updates(session, selected):
                yield piece
    except MailError as error:
        log.warning("a notification is lost", session=session.facts.session, detail=error.detail or error.text)


async def _notified(session: Session, wanted: News, *, expunges: bool, pushed: bool) -> AsyncIterator[Untagged]:
    """What NOTIFY asked for."""
    view = session.selected
    if view is not None and NotifyEvent.MESSAGE_NEW in wanted.events:
        last = view.last_uid
        # RFC 5465 §6.1.2: SELECTED-DELAYED keeps the meaning of numbers between commands.
        expunge = expunges and not (pushed and wanted.delayed)
        flags = NotifyEvent.FLAG_CHANGE in wanted.events
        for piece in session.pending(expunge=expunge, flags=flags, pushed=pushed):
            yield piece
        if view.last_uid > last and wanted.fetch and not view.revoked:
            async for answers in _new_messages(session, view, wanted, last):
                yield answers
        view.own.clear()
    async for piece in wanted.news():
        yield piece


async def _new_messages(session: Session, view: Selected, wanted: News, last: int) -> AsyncIterator[Untagged]:
    """RFC 5465 §5.2: of those that this client brought here itself it knows enough."""
    new = [uid for span in view.spans_of_uids(NumSet(((last + 1, MAX_NUMBER),))) for uid in view.rows(span).uids]
    async for piece in fetched(session, view, wanted.fetch, [uid for uid in new if uid not in view.own]):
        yield piece
