"""How a message is known again that its sender tries once more."""

from __future__ import annotations

import hashlib

from mailserver import api

__all__ = ["digest"]

_FIELDS = frozenset((b"from", b"to", b"subject", b"date", b"message-id"))


def digest(message: api.MessageView, size: int) -> bytes:
    """The same for the same message by another way: of what the author wrote, and of the beginning of the body.

    `size`: octets of the whole message.
    """
    head, body = message.head, message.header_size
    told = hashlib.blake2b(digest_size=16)
    for name, start, end in message.fields:
        if name in _FIELDS:
            told.update(head[start:end])
    told.update(head[body:])
    told.update(str(size - body).encode())
    return told.digest()
