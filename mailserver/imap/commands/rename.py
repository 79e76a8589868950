"""RENAME (RFC 9051 §6.3.6)."""

from __future__ import annotations

from mailserver.imap.replies import Responses, ok
from mailserver.imap.session import Session
from mailserver.wire.imap import commands

__all__ = ["rename"]


async def rename(session: Session, command: commands.Rename) -> Responses:
    """Rename a mailbox with all beneath it; INBOX gives its messages to the new mailbox and stays."""
    old, new = session.place(command.old), session.place(command.new)
    await old.folders.rename(old.name, new.name)
    yield ok("RENAME completed")
