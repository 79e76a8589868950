"""NOTIFY (RFC 5465 §3.1)."""

from __future__ import annotations

from mailserver.imap.notify import Notifications
from mailserver.imap.replies import Responses, no, ok
from mailserver.imap.session import Session
from mailserver.wire.imap.commands import Notify, NotifyEvent

__all__ = ["notify"]

_METADATA = frozenset({NotifyEvent.MAILBOX_METADATA_CHANGE, NotifyEvent.SERVER_METADATA_CHANGE})


async def notify(session: Session, command: Notify) -> Responses:
    """Tell of these events from now on, and of no others; NONE is none at all, not even in the selected mailbox."""
    known = [event for event in NotifyEvent if event not in _METADATA or session.offers("METADATA")]
    if command.unknown or not all(group.events.issubset(known) for group in command.groups):
        names = " ".join(event.value for event in known)
        yield no("not all of these events are told here", f"BADEVENT ({names})")
        return
    new = Notifications(session, command, session.connection.wake)
    try:
        mailboxes = await new.begin()
        for line in new.closed():
            yield line
        if command.status:
            async for line in new.statuses(mailboxes):
                yield line
    except BaseException:
        new.end()
        raise
    if session.notifications is not None:
        session.notifications.end()
    session.notifications = new
    await session.refresh()
    yield ok("NOTIFY completed")
