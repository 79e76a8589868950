"""STARTTLS (RFC 9051 §6.2.1)."""

from __future__ import annotations

from mailserver.imap.replies import After, Completion, Responses, bad
from mailserver.imap.session import Session
from mailserver.wire.imap import commands

__all__ = ["starttls"]


async def starttls(session: Session, _: commands.StartTls) -> Responses:
    """The connection does the rest, and refuses when anything was sent after the command (ATTACKS C02)."""
    if session.facts.tls:
        yield bad("TLS is active already")
    elif not session.starttls:
        yield bad("TLS is not available here")
    else:
        yield Completion("OK", "Begin TLS negotiation now", after=After.START_TLS)
