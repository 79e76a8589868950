"""The codec of the milter protocol: what goes out octet for octet, and that nothing that comes in raises."""

from __future__ import annotations

import random
import struct

import pytest

from mailserver.model.reply import Reply
from mailserver.wire.milter import (
    CHUNK,
    MAX_PACKET,
    Action,
    Answer,
    Decoder,
    Edit,
    Malformed,
    Negotiated,
    Packet,
    Step,
    command,
    connect,
    header,
    macros,
    negotiate,
    negotiated,
    reply_of,
)

OFFERED = Action.ADD_HEADERS | Action.CHOOSE_MACROS
STEPS = Step.NO_HELO | Step.SKIP


def packet(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data) + 1) + kind + data


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (negotiate(Action.ADD_HEADERS | Action.QUARANTINE, Step.SKIP), b"\0\0\0\x0dO\0\0\0\6\0\0\0\x21\0\0\4\0"),
        (connect("a.test", "192.0.2.1", 25), b"\0\0\0\x15Ca.test\x004\0\x19192.0.2.1\0"),
        (connect("[::1]", "::1", 70000), b"\0\0\0\x0eC[::1]\x006\x11\x70::1\0"),
        (connect("x", "uid:0", 0), b"\0\0\0\4Cx\0U"),
        (command("H", "a\0b"), b"\0\0\0\4Hab\0"),
        (command("M", "<a@x>", "SIZE=1"), b"\0\0\0\x0eM<a@x>\0SIZE=1\0"),
        (command("E"), b"\0\0\0\1E"),
        (macros("C", {"j": "h", "{x}": ""}), b"\0\0\0\x0bDCj\0h\0{x}\0\0"),
        (header(b"A", b"  b\r\n\tc", leading_space=True), b"\0\0\0\x0aLA\0  b\n\tc\0"),
        (header(b"A", b"  b\0", leading_space=False), b"\0\0\0\5LA\0b\0"),
    ],
)
def test_what_goes_out(octets: bytes, expected: bytes) -> None:
    assert octets == expected


def test_what_goes_out_is_bounded() -> None:
    assert len(header(b"n" * 5000, b"v" * 100_000, leading_space=True)) <= CHUNK + 4 + 1
    assert len(command("M", "<a>", "x" * 100_000)) <= CHUNK + 4 + 1
    assert len(macros("C", {"a": "x" * 60_000, "b": "y" * 60_000, "c": "z"})) <= CHUNK + 4 + 1


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (packet(b"c"), Answer("continue")),
        (packet(b"a"), Answer("accept")),
        (packet(b"r"), Answer("reject")),
        (packet(b"t"), Answer("tempfail")),
        (packet(b"d"), Answer("discard")),
        (packet(b"s"), Answer("skip")),
        (packet(b"f"), Answer("tempfail")),
        (packet(b"4"), Answer("shutdown")),
        (packet(b"y", b"550 no\0rest"), Answer("reply", b"550 no")),
        (packet(b"p"), Packet(b"p")),
        (packet(b"O", b"abc"), Packet(b"O", b"abc")),
        (packet(b"h", b"A\0b\0"), Edit("add", b"A", b"b")),
        (packet(b"i", b"\0\0\0\2A\0b"), Edit("insert", b"A", b"b", 2)),
        (packet(b"m", b"\0\0\0\1A\0\0"), Edit("change", b"A", b"", 1)),
        (packet(b"b", b"a\0b"), Edit("body", value=b"a\0b")),
        (packet(b"q", b"why\0"), Edit("quarantine", value=b"why")),
        (packet(b"+", b"<a@x>\0"), Edit("add recipient")),
        (packet(b"-", b"<a@x>\0"), Edit("delete recipient")),
        (packet(b"e", b"<a@x>\0"), Edit("change sender")),
    ],
)
def test_what_comes_in(octets: bytes, expected: object) -> None:
    assert Decoder().feed(octets + packet(b"c")) == [expected, Answer("continue")]
    slowly = Decoder()
    assert [found for at in range(len(octets)) for found in slowly.feed(octets[at : at + 1])] == [expected]


@pytest.mark.parametrize(
    "octets",
    [
        b"\0\0\0\0", b"\xff\xff\xff\xff", struct.pack(">I", MAX_PACKET + 1), packet(b"m", b"\0\0"),
        packet(b"h", b"abc"), packet(b"i", b"\0\0\0\1abc"), packet(b"Z"), b"HTTP/1.1 400 Bad Request\r\n",
    ],
)  # fmt: skip
def test_what_is_not_of_the_protocol_ends_it(octets: bytes) -> None:
    decoder = Decoder()
    (found,) = decoder.feed(octets)
    assert isinstance(found, Malformed)
    assert decoder.feed(packet(b"c") * 3) == []


def test_anything_at_all() -> None:
    source = random.Random(5)
    for _ in range(3000):
        decoder = Decoder()
        octets = b"".join(
            packet(bytes([source.choice(b"acdrtsf4yhimbqpO+-e2Z")]), source.randbytes(source.randrange(12)))
            for _ in range(3)
        )
        for found in decoder.feed(octets[: source.randrange(len(octets) + 1)]):
            if isinstance(found, Packet):
                negotiated(found.data, OFFERED, STEPS)
            elif isinstance(found, Answer):
                reply_of(found.text)


def test_negotiation() -> None:
    head = struct.pack(">III", 6, 0xFF, Step.SKIP)
    data = head + struct.pack(">I", 2) + b"{auth_type} {i} j\0" + struct.pack(">I", 99) + b"x\0"
    macros_chosen = {"M": ("{auth_type}", "i", "j")}
    assert negotiated(data, OFFERED, STEPS) == Negotiated(6, Action.ADD_HEADERS, Step.SKIP, macros_chosen)
    assert negotiated(head + b"\0\0", OFFERED, STEPS) == Negotiated(6, Action.ADD_HEADERS, Step.SKIP)
    for bad in (b"", head[:11], struct.pack(">III", 7, 0, 0), struct.pack(">III", 1, 0, 0),
                struct.pack(">III", 6, 0, Step.NO_BODY)):  # fmt: skip
        assert isinstance(negotiated(bad, OFFERED, STEPS), Malformed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"550 5.7.1 no", Reply(550, "5.7.1", "no")),
        (b"451 later 100%%", Reply(451, "", "later 100%")),
        (b"550-5.7.1 one\r\n550 5.7.1 two\r\n", Reply(550, "5.7.1", "one\ntwo")),
        (b"550 4.7.1 no", Reply(550, "", "4.7.1 no")),
        (b"550", Reply(550, "", "Refused by a filter")),
        (b"250 fine", None),
        (b"", None),
        (b"no", None),
        (b"5x0 no", None),
        (b"550-a\r\ngarbage", None),
    ],
)
def test_replies(text: bytes, expected: Reply | None) -> None:
    assert reply_of(text) == expected
