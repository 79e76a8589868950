"""What the store's index keeps of a message, as the bytes that FETCH sends."""

from __future__ import annotations

from mailserver.mime.headers import listed_lines
from mailserver.model.mailbox import Rendered

__all__ = ["render"]


def render(message: bytes) -> dict[Rendered, bytes]:
    """Every piece of a message (as presented, with CRLF)."""
    return {Rendered.LISTED_HEADERS: listed_lines(message)}
