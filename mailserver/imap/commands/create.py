"""CREATE (RFC 9051 §6.3.4, RFC 6154 §3, RFC 8474 §4.1)."""

from __future__ import annotations

from mailserver.imap.replies import Responses, no, ok
from mailserver.imap.session import Session
from mailserver.model.changes import MailboxCreated
from mailserver.model.mailbox import SpecialUse, parents_of
from mailserver.wire.imap import commands

__all__ = ["VIRTUAL", "create"]

#: Views of the whole account (RFC 6154 §2) that no mailbox of ours can be.
VIRTUAL = frozenset({SpecialUse.ALL, SpecialUse.FLAGGED})


async def create(session: Session, command: commands.Create) -> Responses:
    """Make a mailbox, and the parents that it lacks."""
    if command.special_use & VIRTUAL:
        yield no("a mailbox of that use cannot be made", "USEATTR")
        return
    # A trailing separator only says that names beneath it will follow (§6.3.4).
    place = await session.reach.place(command.mailbox.removesuffix(session.services.layout.separator))
    if place.account != session.owner and command.special_use:
        yield no("special uses are for the owner to give", "USEATTR")
        return
    session.causing = {MailboxCreated(name) for name in (place.name, *parents_of(place.name))}
    made = await place.folders.create(place.name, command.special_use)
    # RFC 8474 §4.1
    yield ok("CREATE completed", f"MAILBOXID ({made.mailbox_id})" if session.offers("OBJECTID") else "")
