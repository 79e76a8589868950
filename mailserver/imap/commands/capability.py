"""CAPABILITY (RFC 9051 §6.1.1)."""

from __future__ import annotations

from mailserver.imap.replies import Responses
from mailserver.imap.session import Session
from mailserver.wire.imap import commands

__all__ = ["capability"]


async def capability(session: Session, _: commands.Capability) -> Responses:
    """What this session may use now."""
    yield f"* CAPABILITY {session.services.capabilities(session)}\r\n".encode("ascii")
