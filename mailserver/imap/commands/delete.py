"""DELETE (RFC 9051 §6.3.5)."""

from __future__ import annotations

from mailserver.imap.replies import Responses, no
from mailserver.imap.session import Session
from mailserver.model.changes import MailboxDeleted
from mailserver.model.errors import NotPermitted
from mailserver.model.rights import Right
from mailserver.wire.imap import commands

__all__ = ["delete"]


async def delete(session: Session, command: commands.Delete) -> Responses:
    """Delete a mailbox with its messages; children stay."""
    access = await session.access(command.mailbox, Right.DELETE)
    session.causing = {MailboxDeleted(access.name)}
    try:
        await access.folders.delete(access.name)
    except NotPermitted as error:
        yield no(error.text, "CANNOT")
        return
    if session.selected is not None and session.selected.mailbox.deleted:
        await session.unselect()
        yield b"* OK [CLOSED] The selected mailbox was deleted\r\n"
