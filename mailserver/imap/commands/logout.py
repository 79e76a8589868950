"""LOGOUT (RFC 9051 §6.1.3)."""

from __future__ import annotations

from mailserver.imap.replies import After, Completion, Responses
from mailserver.imap.session import Session
from mailserver.wire.imap import commands

__all__ = ["logout"]


async def logout(session: Session, _: commands.Logout) -> Responses:
    """BYE first, then OK, then the end."""
    # What is pending is not told any more: the client will forget all numbers.
    await session.unselect()
    yield b"* BYE Until next time\r\n"
    yield Completion("OK", "LOGOUT completed", after=After.CLOSE)
