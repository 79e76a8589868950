"""NOOP and CHECK (RFC 9051 §6.1.2, RFC 3501 §6.4.1): a moment to hear the news."""

from __future__ import annotations

from mailserver.imap.replies import Responses, ok
from mailserver.imap.session import Session
from mailserver.wire.imap import commands

__all__ = ["noop"]


async def noop(session: Session, command: commands.Noop | commands.Check) -> Responses:
    """Look whether other programs changed the mailbox; what is new is told with the completion."""
    await session.refresh()
    yield ok("NOOP completed" if isinstance(command, commands.Noop) else "CHECK completed")
