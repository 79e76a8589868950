"""NAMESPACE (RFC 9051 §6.3.10, RFC 2342)."""

from __future__ import annotations

from mailserver.imap import replies
from mailserver.imap.session import Session
from mailserver.wire.imap import commands, responses

__all__ = ["namespace"]


async def namespace(session: Session, _: commands.Namespace) -> replies.Responses:
    """The user's own mailboxes, other users', and shared ones (`imap/access/namespaces.py`)."""
    names = session.services.namespaces
    prefixes = (names.layout.prefix, names.others, names.shared)
    yield responses.namespace(prefixes, names.layout.separator, utf8=session.utf8)
