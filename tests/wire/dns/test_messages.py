"""DNS messages: what dnspython writes is read as it reads it itself, and nothing that servers send raises."""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.dns import MailExchanger, Tlsa
from mailserver.wire.dns.denial import denied
from mailserver.wire.dns.message import (
    MAX_RECORDS,
    Message,
    Question,
    encode_query,
    is_reply_to,
    is_truncated,
    parse_message,
)  # fmt: skip
from mailserver.wire.dns.names import encode_name, read_name, skip_name
from mailserver.wire.dns.records import kind_name, kind_number, negative_ttl, present, value

HEADER = struct.Struct("!HHHHHH")
QUESTION = Question.of("a.test", 1)
assert QUESTION is not None

labels = st.text("abcXYZ019-_", min_size=1, max_size=10)
names = st.lists(labels, min_size=1, max_size=6).map(lambda parts: ".".join(parts) + ".")
octets = st.integers(0, 255)
RDATA = {
    "A": st.tuples(octets, octets, octets, octets).map(lambda parts: ".".join(map(str, parts))),
    "AAAA": st.ip_addresses(v=6).map(str),
    "MX": st.tuples(st.integers(0, 65535), names).map(lambda pair: f"{pair[0]} {pair[1]}"),
    "CNAME": names,
    "PTR": names,
    "NS": names,
    "TXT": st.lists(st.text("abc \\;=\"", max_size=20), min_size=1, max_size=4).map(
        lambda parts: " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)
    ),
    "TLSA": st.tuples(octets, octets, st.binary(min_size=1, max_size=40)).map(
        lambda parts: f"{parts[0]} {parts[1]} 0 {parts[2].hex()}"
    ),
    "SRV": st.tuples(octets, octets, octets, names).map(lambda parts: " ".join(map(str, parts))),
    "SOA": st.tuples(names, names, *[st.integers(0, 2**31)] * 5).map(lambda parts: " ".join(map(str, parts))),
    "CAA": st.tuples(octets, st.sampled_from(["issue", "iodef"]), st.text("abc;=", max_size=9)).map(
        lambda parts: f'{parts[0]} {parts[1]} "{parts[2]}"'
    ),
    "DS": st.tuples(octets, st.integers(1, 255), st.binary(min_size=32, max_size=32)).map(
        lambda parts: f"{parts[0]} {parts[1]} 2 {parts[2].hex()}"
    ),
}
records = st.sampled_from(sorted(RDATA)).flatmap(lambda kind: st.tuples(names, st.just(kind), RDATA[kind]))


def expected(kind: str, rdata: Any) -> Any:
    """What our value of dnspython's rdata must be."""
    if kind in ("A", "AAAA"):
        # dnspython writes mapped addresses with dots.
        return str(ipaddress.ip_address(rdata.address))
    if kind == "MX":
        return MailExchanger(rdata.preference, rdata.exchange.to_text(omit_final_dot=True).lower())
    if kind in ("CNAME", "PTR", "NS"):
        return rdata.target.to_text(omit_final_dot=True).lower()
    if kind == "TXT":
        return b"".join(rdata.strings)
    if kind == "TLSA":
        return Tlsa(rdata.usage, rdata.selector, rdata.mtype, rdata.cert)
    return None


@given(found=st.lists(records, max_size=8), ttl=st.integers(0, 2**31 - 1))
def test_what_dnspython_writes(found: list[tuple[str, str, str]], ttl: int) -> None:
    query = dns.message.make_query("a.test.", "A", use_edns=0)
    response = dns.message.make_response(query)
    for owner, kind, text in found:
        response.answer.append(dns.rrset.from_text(owner, ttl, "IN", kind, text))
    message = parse_message(response.to_wire())
    assert message is not None
    assert len(message.answers) == len(found)
    for record, rrset, (owner, kind, _) in zip(message.answers, response.answer, found, strict=True):
        assert (record.owner + ".", kind_name(record.kind), record.ttl) == (owner.lower(), kind, ttl)
        assert value(message, record) == expected(kind, rrset[0])
        shown = present(message, record)
        assert shown is not None
        again = dns.rrset.from_text(owner, ttl, "IN", kind, shown)[0]
        assert again.to_digestable() == rrset[0].to_digestable()


def reply_to(question: Question, **changes: int) -> bytes:
    fields = {"id": 7, "flags": 0x8180, "qd": 1, "an": 0, "ns": 0, "ar": 0} | changes
    return HEADER.pack(*fields.values()) + question.wire


@given(st.binary(max_size=400))
def test_noise_never_raises(noise: bytes) -> None:
    assert QUESTION is not None
    for counts in ((0, 0, 0), (1, 0, 0), (3, 2, 2), (65535, 65535, 65535)):
        data = reply_to(QUESTION, an=counts[0], ns=counts[1], ar=counts[2]) + noise
        assert is_reply_to(data, 7, QUESTION)
        look_at(parse_message(data))
    is_reply_to(noise, 7, QUESTION)
    for start in range(len(noise)):
        read_name(noise, start)
        skip_name(noise, start)


@given(found=st.lists(records, min_size=1, max_size=4), cut=st.integers(0, 400), flips=st.lists(st.integers(0, 3000)))
def test_damage_never_raises(found: list[tuple[str, str, str]], cut: int, flips: list[int]) -> None:
    response = dns.message.make_response(dns.message.make_query("a.test.", "A", use_edns=0))
    for owner, kind, text in found:
        response.answer.append(dns.rrset.from_text(owner, 5, "IN", kind, text))
    for kind, text in (("NSEC", "b.test. A TYPE128"), ("NSEC3", f"1 0 3 aabb {'0' * 32} A TYPE128")):
        response.authority.append(dns.rrset.from_text("a.test.", 5, "IN", kind, text))
    wire = bytearray(response.to_wire())
    for flip in flips:
        if flip // 8 % len(wire) >= HEADER.size:
            wire[flip // 8 % len(wire)] ^= 1 << flip % 8
    for data in (bytes(wire), bytes(wire[: max(HEADER.size, len(wire) - cut)])):
        look_at(parse_message(data))


def look_at(message: Message | None) -> None:
    if message is not None:
        for record in (*message.answers, *message.authority):
            value(message, record)
            present(message, record)
        negative_ttl(message)
        denied(message, "a.test")


def test_the_query_is_what_dnspython_reads() -> None:
    question = Question.of("_25._tcp.Example.test", 52)
    assert question is not None
    read = dns.message.from_wire(encode_query(4711, question))
    assert (read.id, read.edns, read.payload) == (4711, 0, 1232)
    assert dns.flags.to_text(read.flags) == "RD AD"
    assert read.question[0].to_text() == "_25._tcp.Example.test. IN TLSA"
    assert not read.ednsflags & dns.flags.DO
    wanted = Question.of("a.test", 1, proofs=True)
    assert wanted is not None and dns.message.from_wire(encode_query(1, wanted)).ednsflags == dns.flags.DO
    read = dns.message.from_wire(encode_query(1, question, edns=False, checking_disabled=True))
    assert read.edns == -1
    assert dns.flags.to_text(read.flags) == "RD AD CD"


@pytest.mark.parametrize(
    ("what", "data", "accepted"),
    [
        ("the reply", reply_to(QUESTION), True),
        ("another id", reply_to(QUESTION, id=8), False),
        ("a query", reply_to(QUESTION, flags=0x0100), False),
        ("another opcode", reply_to(QUESTION, flags=0x9180), False),
        ("two questions", reply_to(QUESTION, qd=2), False),
        ("no question, no error", reply_to(QUESTION, qd=0), False),
        ("no question, REFUSED", reply_to(QUESTION, qd=0, flags=0x8185), True),
        ("other letters", reply_to(QUESTION).replace(b"\1a\4test", b"\1A\4TeSt"), True),
        ("another name", reply_to(QUESTION).replace(b"\1a\4", b"\1b\4"), False),
        ("another type", reply_to(QUESTION)[:-4] + b"\0\2\0\1", False),
        ("another class", reply_to(QUESTION)[:-1] + b"\3", False),
        ("half a question", reply_to(QUESTION)[:-1], False),
        ("half a header", reply_to(QUESTION)[:11], False),
        ("nothing", b"", False),
    ],
)
def test_only_the_answer_to_this_question_counts(what: str, data: bytes, accepted: bool) -> None:
    assert QUESTION is not None
    assert is_reply_to(data, 7, QUESTION) is accepted, what


def test_truncation_is_seen() -> None:
    assert QUESTION is not None
    assert is_truncated(reply_to(QUESTION, flags=0x8380))
    assert not is_truncated(reply_to(QUESTION))


@pytest.mark.parametrize(
    ("what", "data", "at"),
    [
        ("to itself", b"\xc0\x00", 0),
        ("forward", b"\xc0\x02\1a\0", 0),
        ("to each other", b"\xc0\x02\xc0\x00", 2),
        ("round and round", b"\1a\xc0\x00", 0),
        ("cut", b"\1a\xc0", 0),
        ("no end", b"\1a", 0),
        ("long label", b"\x40" + b"a" * 64 + b"\0", 0),
        ("256 octets", b"\1a" * 127 + b"\1\0" + b"\0", 0),
        ("33 pointers", b"\0" + b"".join(b"\xc0" + bytes([max(0, 2 * n - 1)]) for n in range(33)), 65),
    ],
)
def test_a_name_that_does_not_end(what: str, data: bytes, at: int) -> None:
    assert read_name(data, at) == ("", -1), what


def test_the_longest_name() -> None:
    wire = b"\1a" * 127 + b"\0"
    assert read_name(wire, 0) == (".".join("a" * 127), 255)
    assert encode_name(".".join("a" * 127)) == wire
    assert encode_name(".".join("a" * 127) + "a") is None
    data = b"\0" + b"".join(b"\xc0" + bytes([max(0, 2 * n - 1)]) for n in range(32))
    assert read_name(data, 63) == ("", 65)


def test_odd_octets_in_names_are_escaped() -> None:
    assert read_name(b"\4a.b\\\3\n c\0", 0)[0] == "a\\046b\\092.\\010\\032c"
    assert read_name(b"\1\xff\0", 0)[0] == "\\255"


def test_records_have_a_bound() -> None:
    assert QUESTION is not None
    record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4abcd"
    data = reply_to(QUESTION, an=5000) + record * 5000
    message = parse_message(data)
    assert message is not None
    assert len(message.answers) == MAX_RECORDS
    assert parse_message(data[:-1]) is None


def test_another_class_is_not_looked_at() -> None:
    assert QUESTION is not None
    message = parse_message(reply_to(QUESTION, an=1) + b"\xc0\x0c\0\1\0\3\0\0\0\1\0\4abcd")
    assert message is not None
    assert message.answers == ()


def test_types_have_names_and_numbers() -> None:
    assert [kind_number(name) for name in ("mx", "MX", "TYPE15", "TYPE65535", "TYPE65536", "TYPE", "TYPE-1", "X")] == [
        15, 15, 15, 65535, None, None, None, None,
    ]  # fmt: skip
    assert [kind_name(kind) for kind in (1, 28, 65280)] == ["A", "AAAA", "TYPE65280"]
