"""CANCELUPDATE (RFC 5267 §4.3.5)."""

from __future__ import annotations

from mailserver.imap.replies import Responses, bad, ok
from mailserver.imap.session import Session
from mailserver.wire.imap import commands

__all__ = ["cancel_update"]


async def cancel_update(session: Session, command: commands.CancelUpdate) -> Responses:
    """Tell no more of these; all of them must be there, or nothing is changed."""
    contexts = session.view.contexts
    if not all(tag in contexts for tag in command.tags):
        yield bad("no search with this tag is being updated")
        return
    for tag in dict.fromkeys(command.tags):
        contexts.cancel(tag)
    yield ok("No further updates")
