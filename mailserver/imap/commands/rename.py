"""RENAME (RFC 9051 §6.3.6)."""

from __future__ import annotations

from mailserver.imap.replies import Responses, ok
from mailserver.imap.session import Session
from mailserver.wire.imap import commands

__all__ = ["rename"]


async def rename(session: Session, command: commands.Rename) -> Responses:
    """Rename a mailbox with all beneath it; INBOX gives its messages to the new mailbox and stays."""
    layout = session.services.layout
    await session.folders.rename(layout.to_store(command.old), layout.to_store(command.new))
    yield ok("RENAME completed")
