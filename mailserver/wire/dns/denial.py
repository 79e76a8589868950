"""Names that do not exist although the answer has no error: compact denial of existence (RFC 9824)."""

from __future__ import annotations

from mailserver.wire.dns.message import Message, Record
from mailserver.wire.dns.names import skip_name

__all__ = ["denied"]

_NSEC, _NSEC3, _NXNAME = 47, 50, 128


def denied(message: Message, name: str) -> bool:
    """Does a proof in the reply say that there is no such `name` (§3.1, NXNAME among the types of the name)?

    The records come only to who asks for them (DO, RFC 3225). An NSEC3 record has the name as a hash; what an answer
    about one name proves with this type is about that name.
    """
    return any(
        _has_nxname(message.data, record)
        for record in message.authority
        if (record.kind == _NSEC and record.owner == name) or record.kind == _NSEC3
    )


def _has_nxname(data: bytes, record: Record) -> bool:
    """Is it among the types of an NSEC (RFC 4034 §4.1) or NSEC3 record (RFC 5155 §3.2)? Not of what is malformed."""
    end = record.at + record.length
    at = skip_name(data, record.at) if record.kind == _NSEC else _behind_hash(data, record.at, end)
    block, octet, bit = _NXNAME >> 8, _NXNAME % 256 // 8, 0x80 >> _NXNAME % 8
    while at >= 0 and at + 2 <= end:
        size, bits = data[at + 1], at + 2
        at = bits + size
        if not 1 <= size <= 32 or at > end:
            return False
        if data[bits - 2] == block:
            return size > octet and bool(data[bits + octet] & bit)
    return False


def _behind_hash(data: bytes, at: int, end: int) -> int:
    """Behind algorithm, flags, iterations, salt, and the next name's hash; -1: it is too short for that."""
    for fixed in (4, 0):
        at += fixed
        if at >= end:
            return -1
        at += 1 + data[at]
    return at
