"""EMAILID and THREADID (RFC 8474 §5), made of the message alone: a rebuilt index finds the same, and copies have them.

One letter in front keeps the two kinds apart (§5.2), and the digits of a hash from looking like a number (§8.1).
"""

from __future__ import annotations

import hashlib

from mailserver.mime.message_ids import MessageIds

__all__ = ["email_id", "thread_id"]

#: Of each digest: so many octets that nobody finds two messages with the same.
_OCTETS = 20


def email_id(message: bytes) -> bytes:
    """The identity of this content (RFC 8474 §5.1), from the octets as presented."""
    return b"M" + _digest(message)


def thread_id(ids: MessageIds, own: bytes) -> bytes:
    """The identity of the conversation (RFC 8474 §5.2): its first message id that this message knows.

    In the order of trust (RFC 5322 §3.6.4): of References, of In-Reply-To, its own.

    Args:
        ids: as `read_ids` gives them.
        own: the message's EMAILID; one without any id is a conversation of its own.
    """
    message_id, named = ids
    first = named[0] if named else message_id
    return b"T" + _digest(own if first is None else b"<%b>" % first)


def _digest(octets: bytes) -> bytes:
    return hashlib.blake2b(octets, digest_size=_OCTETS).hexdigest().encode("ascii")
