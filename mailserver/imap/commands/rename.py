"""RENAME (RFC 9051 §6.3.6)."""

from __future__ import annotations

from mailserver.imap.replies import Responses, no, ok
from mailserver.imap.session import Session
from mailserver.model.changes import MailboxCreated, MailboxRenamed
from mailserver.model.mailbox import parents_of
from mailserver.wire.imap import commands

__all__ = ["rename"]


async def rename(session: Session, command: commands.Rename) -> Responses:
    """Rename a mailbox with all beneath it; INBOX gives its messages to the new mailbox and stays."""
    old, new = await session.reach.renamed(command.old), await session.reach.place(command.new)
    if old.account != new.account:
        yield no("a mailbox stays with its owner; copy its messages instead", "CANNOT")
        return
    session.causing = {MailboxRenamed(old.name, new.name), *map(MailboxCreated, (new.name, *parents_of(new.name)))}
    await old.folders.rename(old.name, new.name)
    yield ok("RENAME completed")
