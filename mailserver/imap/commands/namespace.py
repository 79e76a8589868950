"""NAMESPACE (RFC 9051 §6.3.10, RFC 2342)."""

from __future__ import annotations

from mailserver.imap import replies
from mailserver.imap.session import Session
from mailserver.wire.imap import commands, responses

__all__ = ["namespace"]


async def namespace(session: Session, _: commands.Namespace) -> replies.Responses:
    """One personal namespace; nobody's mail is shared."""
    layout = session.services.layout
    yield responses.namespace(layout.prefix, layout.separator, utf8=session.utf8)
