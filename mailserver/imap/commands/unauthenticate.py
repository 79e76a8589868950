"""UNAUTHENTICATE (RFC 8437 §3)."""

from __future__ import annotations

from mailserver.imap.replies import After, Completion, Responses
from mailserver.imap.session import Session
from mailserver.wire.imap.commands import Unauthenticate

__all__ = ["unauthenticate"]


async def unauthenticate(session: Session, _: Unauthenticate) -> Responses:
    """Everything but TLS is as it was at the beginning; compression ends with the CRLF of the OK (§4.1)."""
    await session.unauthenticate()
    yield Completion("OK", "Welcome back", after=After.START_AGAIN)
