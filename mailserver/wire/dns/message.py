"""The frame of DNS messages: header, question, sections (RFC 1035 §4.1), and EDNS (RFC 6891)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from mailserver.wire.dns.names import encode_name, read_name, skip_name

__all__ = ["UDP_SIZE", "Message", "Question", "Record", "encode_query", "is_reply_to", "is_truncated", "parse_message"]

#: What fits into one packet on every way, so that nobody has to put fragments together (RFC 6891 §6.2.5).
UDP_SIZE = 1232
#: Records of a section that are looked at.
MAX_RECORDS = 1000

_IN, _OPT = 1, 41
_QR, _TC, _RD, _AD, _CD, _OPCODE = 0x8000, 0x0200, 0x0100, 0x0020, 0x0010, 0x7800
_HEADER = struct.Struct("!HHHHHH")
_FIXED = struct.Struct("!HHIH")
#: Root name, type, our UDP size, no extended code, version 0, flags (DO: none or that one), no options.
_OUR_OPT = {proofs: b"\0" + _FIXED.pack(_OPT, UDP_SIZE, 0x8000 if proofs else 0, 0) for proofs in (False, True)}
#: Answers without the question they are about: the server did not get as far as reading it.
_FORMERR, _SERVFAIL, _NOTIMP, _REFUSED = 1, 2, 4, 5
#: RFC 8914 Extended DNS Errors.
_EDE = 15
_MAX_EXPLANATIONS = 5


@dataclass(frozen=True, slots=True)
class Question:
    """A name and a type of the class IN, ready to be sent. `proofs`: the records of DNSSEC are wanted, too (DO)."""

    name: str
    kind: int
    wire: bytes
    proofs: bool = False

    @classmethod
    def of(cls, name: str, kind: int, *, proofs: bool = False) -> Question | None:
        """None: no such name can be."""
        encoded = encode_name(name)
        return None if encoded is None else cls(name, kind, encoded + kind.to_bytes(2, "big") + b"\0\1", proofs)


class Record(NamedTuple):
    """One record of the class IN; its data are `length` octets of the message at `at`."""

    owner: str
    kind: int
    ttl: int
    at: int
    length: int


@dataclass(frozen=True, slots=True)
class Message:
    """A reply. `explanations` are the server's own words and codes for a failure (RFC 8914)."""

    data: bytes
    rcode: int
    authentic: bool
    answers: tuple[Record, ...]
    authority: tuple[Record, ...]
    explanations: tuple[tuple[int, str], ...] = ()


def encode_query(number: int, question: Question, *, edns: bool = True, checking_disabled: bool = False) -> bytes:
    """A recursive query; AD in it asks to be told whether DNSSEC proved the answer (RFC 6840 §5.7)."""
    flags = _RD | _AD | (_CD if checking_disabled else 0)
    header = _HEADER.pack(number, flags, 1, 0, 0, 1 if edns else 0)
    return header + question.wire + (_OUR_OPT[question.proofs] if edns else b"")


def is_reply_to(data: bytes, number: int, question: Question) -> bool:
    """Is this a reply to just that query? Anything else is noise, or a guess of somebody who cannot see the query.

    RFC 5452 §9.1: the id and the whole question must be ours. Letters may come back in another case.
    """
    if len(data) < _HEADER.size:
        return False
    found, flags, questions, *_ = _HEADER.unpack_from(data)
    if found != number or not flags & _QR or flags & _OPCODE:
        return False
    if questions == 0:
        return flags & 0xF in (_FORMERR, _SERVFAIL, _NOTIMP, _REFUSED)
    end = _HEADER.size + len(question.wire)
    name, kind = data[_HEADER.size : end - 4], data[end - 4 : end]
    return questions == 1 and name.lower() == question.wire[:-4].lower() and kind == question.wire[-4:]


def is_truncated(data: bytes) -> bool:
    """TC: ask again over TCP. The sections may end anywhere then."""
    return bool(data[2] & _TC >> 8)


def parse_message(data: bytes) -> Message | None:
    """Read a reply that `is_reply_to` accepted. None: it is malformed."""
    _, flags, questions, *counts = _HEADER.unpack_from(data)
    at = _HEADER.size
    for _ in range(questions):
        at = skip_name(data, at)
        if at < 0:
            return None
        at += 4
    sections: list[list[Record]] = []
    for count in counts[:2]:
        records, at = _section(data, at, count)
        if at < 0:
            return None
        sections.append(records)
    extended, explanations = _options(data, at, counts[2])
    if extended is None:
        return None
    return Message(
        data,
        rcode=extended << 4 | flags & 0xF,
        authentic=bool(flags & _AD),
        answers=tuple(sections[0]),
        authority=tuple(sections[1]),
        explanations=explanations,
    )


def _section(data: bytes, at: int, count: int) -> tuple[list[Record], int]:
    records: list[Record] = []
    size = len(data)
    # Most owners are one pointer, and the same one.
    pointed: dict[bytes, str] = {}
    for _ in range(count):
        start = data[at : at + 2]
        if (owner := pointed.get(start, "")):
            at += 2
        elif len(records) < MAX_RECORDS:
            owner, at = read_name(data, at)
            if start >= b"\xc0":
                pointed[start] = owner
        else:
            at = skip_name(data, at)
        if at < 0 or at + _FIXED.size > size:
            return records, -1
        kind, group, ttl, length = _FIXED.unpack_from(data, at)
        at += _FIXED.size
        if at + length > size:
            return records, -1
        if group == _IN and len(records) < MAX_RECORDS:
            # RFC 2181 §8: with the top bit set it counts as zero.
            records.append(Record(owner, kind, 0 if ttl >> 31 else ttl, at, length))
        at += length
    return records, at


def _options(data: bytes, at: int, count: int) -> tuple[int | None, tuple[tuple[int, str], ...]]:
    """Extended RCODE and explanations of the OPT record (RFC 6891 §6.1.3); None for the first: malformed."""
    extended = 0
    explanations: tuple[tuple[int, str], ...] = ()
    size = len(data)
    for _ in range(count):
        at = skip_name(data, at)
        if at < 0 or at + _FIXED.size > size:
            return None, ()
        kind, _, ttl, length = _FIXED.unpack_from(data, at)
        at += _FIXED.size
        if at + length > size:
            return None, ()
        if kind == _OPT:
            extended, explanations = ttl >> 24, _explanations(data[at : at + length])
        at += length
    return extended, explanations


def _explanations(options: bytes) -> tuple[tuple[int, str], ...]:
    found: list[tuple[int, str]] = []
    at = 0
    while at + 4 <= len(options) and len(found) < _MAX_EXPLANATIONS:
        code, length = struct.unpack_from("!HH", options, at)
        value = options[at + 4 : at + 4 + length]
        if code == _EDE and len(value) >= 2:
            words = value[2:].decode("utf-8", "replace").rstrip("\0")
            found.append((value[0] << 8 | value[1], "".join(c if c.isprintable() else "?" for c in words[:200])))
        at += 4 + length
    return tuple(found)
