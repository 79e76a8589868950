"""COMPRESS (RFC 4978 §3)."""

from __future__ import annotations

from mailserver.imap.replies import After, Completion, Responses, bad
from mailserver.imap.session import Session
from mailserver.wire.imap.commands import Compress

__all__ = ["compress"]


async def compress(session: Session, _: Compress) -> Responses:
    """Everything behind this command and its OK is compressed. TLS never compresses here (net/tls.py)."""
    if session.compressed:
        # RFC 4978 §3: NO is for compression by another layer.
        yield bad("DEFLATE is active already", "COMPRESSIONACTIVE")
        return
    session.compressed = True
    yield Completion("OK", "DEFLATE active", after=After.COMPRESS)
