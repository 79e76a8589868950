"""SUBSCRIBE and UNSUBSCRIBE (RFC 9051 §6.3.7, §6.3.8)."""

from __future__ import annotations

from mailserver.imap.replies import Responses, ok
from mailserver.imap.session import Session
from mailserver.model.changes import SubscriptionChanged
from mailserver.wire.imap import commands

__all__ = ["subscribe"]


async def subscribe(session: Session, command: commands.Subscribe | commands.Unsubscribe) -> Responses:
    """Keep or drop the subscription; the mailbox need not exist, unless it would be another user's."""
    wanted = isinstance(command, commands.Subscribe)
    name = await session.reach.subscribable(command.mailbox, wanted=wanted)
    session.causing = {SubscriptionChanged(name)}
    await session.folders.subscribe(name, wanted)
    yield ok("SUBSCRIBE completed" if wanted else "UNSUBSCRIBE completed")
