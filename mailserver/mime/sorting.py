"""What SORT and THREAD compare (RFC 5256, RFC 5957), taken from a header once and kept by the index.

A piece is one line for each `SortField`, and behind them the hashes of Message-IDs: of the message's own, and of those
that it refers to, eight octets each. Texts are keys of a comparator, so comparing octets compares as the RFC wants it.
To unpack a piece is one `split`. The index keeps the pieces of the usual comparator, those of others are made from
header blocks when they are needed.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from hashlib import blake2b
from typing import Any

from mailserver.mime.addresses import Address
from mailserver.mime.base_subject import base_subject
from mailserver.mime.comparators import CASEFOLD, Comparator
from mailserver.mime.dates import sent_date
from mailserver.mime.envelope import EnvelopeFields, read_fields
from mailserver.mime.headers import fields
from mailserver.mime.message_ids import MessageIds, read_ids

__all__ = [
    "EMPTY", "IDS", "MAX_REFERENCES", "NO_ID", "SortField", "Unpacked", "ids_in", "own_id_in", "sorting_by",
    "sorting_of", "unpacked",
]  # fmt: skip

#: A message may name more ancestors than these: the first one and the last count, as RFC 5537 §3.4.4 would have them
#: trimmed.
MAX_REFERENCES = 1_000
#: Stands for the Message-ID of a message without one.
NO_ID = 0
_LONGEST = 1_000
_HASH = 8


class SortField(IntEnum):
    """The lines of a piece, in order. Dates are seconds since 1970 UTC in decimal, nothing when there is no date."""

    SENT = 0
    #: `1` when the subject says that the message is a reply or forward.
    IS_REPLY = 1
    SUBJECT = 2
    FROM = 3
    TO = 4
    CC = 5
    DISPLAY_FROM = 6
    DISPLAY_TO = 7


#: Where the Message-IDs stand in an unpacked piece.
IDS = len(SortField)
#: The piece of a message with nothing in its header.
EMPTY = b"\n" * IDS + bytes(_HASH)


def sorting_of(found: EnvelopeFields, ids: MessageIds, comparator: Comparator = CASEFOLD) -> bytes:
    """The piece of a message, from its fields and what `read_ids` has found in them. Never raises."""
    texts = found.texts
    sent = sent_date(texts.get(b"date", b""))
    subject, reply = _subject(comparator.words(texts.get(b"subject", b"")))
    author, to, cc = (next(iter(found.lists.get(name, ())), None) for name in (b"from", b"to", b"cc"))
    keys = (subject, *(_mailbox(one, comparator) for one in (author, to, cc)),
            *(_display(one, comparator) for one in (author, to)))  # fmt: skip
    lines = (
        b"" if sent is None else b"%d" % sent,
        b"1" if reply else b"",
        *(_line(comparator.order_of(key)) for key in keys),
        _ids(ids),
    )
    return b"\n".join(lines)


def sorting_by(comparator: Comparator, block: bytes) -> bytes:
    """The piece of a message from its header block."""
    found = read_fields(block, fields(block))
    return sorting_of(found, read_ids(found.texts), comparator)


def _subject(text: str | bytes) -> tuple[str | bytes, bool]:
    if isinstance(text, str):
        return base_subject(text)
    # What there is to take away is ASCII.
    base, reply = base_subject(text.decode("latin-1"))
    return base.encode("latin-1"), reply


def _line(key: bytes) -> bytes:
    """One line; what is long is cut so that equal ones stay equal, and different ones different."""
    if len(key) > _LONGEST:
        key = key[:_LONGEST] + blake2b(key, digest_size=_HASH).hexdigest().encode("ascii")
    return key.replace(b"\n", b" ")


def _mailbox(address: Address | None, comparator: Comparator) -> str | bytes:
    return "" if address is None else comparator.text(address.mailbox or b"")


def _display(address: Address | None, comparator: Comparator) -> str | bytes:
    """RFC 5957 §3."""
    if address is None:
        return ""
    name = comparator.words(address.name).strip() if address.name else ""
    if name:
        return name
    if address.mailbox is not None and address.domain is not None:
        return comparator.text(address.mailbox + b"@" + address.domain)
    return comparator.text(address.mailbox or b"")


def _ids(ids: MessageIds) -> bytes:
    own, named = ids
    if len(named) > MAX_REFERENCES:
        named = [named[0], *named[1 - MAX_REFERENCES :]]
    return b"".join([bytes(_HASH) if own is None else _hash(own), *map(_hash, named)])


def _hash(message_id: bytes) -> bytes:
    return blake2b(message_id, digest_size=_HASH).digest()


# --- reading


#: A piece that was unpacked: by `SortField`, with SENT as a number or None; behind them Message-IDs, for `ids_in`.
Unpacked = tuple[Any, ...]


def unpacked(piece: bytes) -> Unpacked:
    """The values of a piece."""
    sent, *others = piece.split(b"\n", IDS)
    return int(sent) if sent else None, *others


def own_id_in(octets: bytes) -> int:
    """The number that stands for the message's own Message-ID, or NO_ID."""
    return int.from_bytes(octets[:_HASH], "little")


def ids_in(octets: bytes) -> tuple[int, ...]:
    """Numbers that stand for Message-IDs: the message's own or NO_ID, then those that it refers to."""
    return struct.unpack(f"<{len(octets) // _HASH}Q", octets)
