"""UNSELECT and CLOSE (RFC 9051 §6.4.1, §6.4.2)."""

from __future__ import annotations

from mailserver.imap.commands.expunge import deleted_uids
from mailserver.imap.replies import Responses, ok
from mailserver.imap.session import Session
from mailserver.model.rights import Right
from mailserver.wire.imap import commands

__all__ = ["close", "unselect"]


async def unselect(session: Session, _: commands.Unselect) -> Responses:
    """Leave the mailbox as it is."""
    await session.unselect()
    yield ok("UNSELECT completed")


async def close(session: Session, _: commands.Close) -> Responses:
    """Leave it without what is marked deleted; no EXPUNGE is told (§6.4.1)."""
    view = session.view
    # RFC 4314 §4: without the right it is closed all the same.
    gone = [] if view.refusal(Right.EXPUNGE) is not None else deleted_uids(view, [range(view.count)])
    if gone:
        session.progress.begin(len(gone))
        await view.mailbox.expunge(gone, progress=session.progress)
    await session.unselect()
    # RFC 7162 §3.2.8: no HIGHESTMODSEQ. A client that kept it would never hear of what it was not told yet.
    yield ok("CLOSE completed")
