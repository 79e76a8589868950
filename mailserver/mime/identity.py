"""EMAILID and THREADID (RFC 8474 §5), made of the message alone: a rebuilt index finds the same, and copies have them.

One letter in front keeps the two kinds apart (§5.2), and the digits of a hash from looking like a number (§8.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from mailserver.mime.message_ids import first_message_id

__all__ = ["email_id", "thread_id"]

#: Of each digest: so many octets that nobody finds two messages with the same.
_OCTETS = 20
#: Where the first message of a thread is named, in the order of trust (RFC 5322 §3.6.4).
_NAMED_IN = (b"references", b"in-reply-to", b"message-id")


def email_id(message: bytes) -> bytes:
    """The identity of this content (RFC 8474 §5.1), from the octets as presented."""
    return b"M" + _digest(message)


def thread_id(texts: Mapping[bytes, bytes], own: bytes) -> bytes:
    """The identity of the conversation (RFC 8474 §5.2): its first message id that this message knows.

    Args:
        texts: the values of the message's fields (`EnvelopeFields.texts`).
        own: the message's EMAILID; one without any id is a conversation of its own.
    """
    for name in _NAMED_IN:
        first = first_message_id(texts.get(name, b""))
        if first is not None:
            return b"T" + _digest(b"<%b>" % first)
    return b"T" + _digest(own)


def _digest(octets: bytes) -> bytes:
    return hashlib.blake2b(octets, digest_size=_OCTETS).hexdigest().encode("ascii")
