"""How a message is known again that its sender tries once more."""

from __future__ import annotations

import hashlib

from mailserver import api

__all__ = ["digest"]

_FIELDS = frozenset((b"from", b"to", b"subject", b"date", b"message-id"))


def digest(content: api.ReadableContent) -> bytes:
    """The same for the same message by another way: of what the author wrote, and of the beginning of the body."""
    head = content.head()
    body = api.header_block_end(head)
    told = hashlib.blake2b(digest_size=16)
    for name, start, end in api.header_fields(head):
        if name in _FIELDS:
            told.update(head[start:end])
    told.update(head[body:])
    told.update(str(content.size - body).encode())
    return told.digest()
