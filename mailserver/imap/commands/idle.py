"""IDLE (RFC 9051 §6.3.13)."""

from __future__ import annotations

from mailserver.imap.replies import After, Completion, Responses
from mailserver.imap.session import Session
from mailserver.wire.imap import commands

__all__ = ["idle"]


async def idle(session: Session, _: commands.Idle) -> Responses:
    """The connection waits without a task until the client says DONE, and tells what happens meanwhile."""
    await session.refresh()
    yield Completion("OK", "IDLE completed", after=After.IDLE)
