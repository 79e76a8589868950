"""A mark on every message that leaves us, by which a bounce proves that it speaks of a message of ours.

It is a header field, because servers return the header in bounces whatever they do to envelopes; the envelope sender
stays the user's own address, which mailing lists, greylisting and SPF expect. `1.<queue id>.<MAC>`, where the MAC is of
the id and the envelope sender under a key that never leaves this server.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from itertools import islice

from mailserver import api

__all__ = ["FIELD", "find_token", "make_token", "may_have_token"]

FIELD = "X-Sent-Token"
_TOKEN = re.compile(rb"1\.([0-9a-z]{16})\.([0-9a-f]{24})")
_ANYWHERE = re.compile(rb"^" + FIELD.encode() + rb":[ \t]*+([0-9a-z.]{1,60})", re.IGNORECASE | re.MULTILINE)
_MOST = 5


def make_token(key: bytes, queue_id: api.QueueId, sender: api.EmailAddress) -> str:
    """The value of the field."""
    return f"1.{queue_id}.{_mac(key, queue_id, sender)}"


def find_token(key: bytes, header: bytes, senders: Iterable[api.EmailAddress]) -> api.QueueId | None:
    """The id of the message that a returned header is of, if one of these addresses sent it from here."""
    return _check(key, api.header_value(header, FIELD.lower().encode()) or b"", senders)


def may_have_token(key: bytes, octets: bytes, senders: Iterable[api.EmailAddress]) -> bool:
    """Is a token that is good for one of these addresses anywhere in a message? Only then it is worth reading."""
    known = tuple(senders)
    found = islice(_ANYWHERE.finditer(octets), _MOST)
    return any(_check(key, match[1], known) is not None for match in found)


def _check(key: bytes, token: bytes, senders: Iterable[api.EmailAddress]) -> api.QueueId | None:
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    queue_id, mac = api.QueueId(match[1].decode()), match[2].decode()
    known = [hmac.compare_digest(mac, _mac(key, queue_id, sender)) for sender in senders]
    return queue_id if any(known) else None


def _mac(key: bytes, queue_id: api.QueueId, sender: api.EmailAddress) -> str:
    # Not `hmac.digest`, which lets go of the interpreter and has to wait for it again: that costs more than the MAC.
    return hmac.new(key, f"1\0{queue_id}\0{sender.key}".encode(), "sha256").digest()[:12].hex()
