"""What SORT and THREAD compare: base subjects (RFC 5256 §2.1), sent dates (§2.2), i;unicode-casemap (RFC 5051)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.base_subject import base_subject
from mailserver.mime.casemap import casemap
from mailserver.mime.comparators import ASCII_CASEMAP, OCTET, UNICODE_CASEMAP, Comparator
from mailserver.mime.dates import sent_date
from mailserver.mime.envelope import read_fields
from mailserver.mime.headers import fields
from mailserver.mime.message_ids import message_ids, read_ids
from mailserver.mime.sorting import (
    EMPTY,
    IDS,
    MAX_REFERENCES,
    NO_ID,
    SortField,
    ids_in,
    own_id_in,
    sorting_by,
    sorting_of,
    unpacked,
)
from mailserver.mime.words import decode_words

NOON = 1_795_172_400


@pytest.mark.parametrize(
    ("subject", "base", "reply"),
    [
        (b"hello", "hello", False),
        (b"Re: hello", "hello", True),
        (b"RE : fw:FWD: hello", "hello", True),
        (b"re: [list] Re[2]: hello (fwd) ", "hello", True),
        (b"hello (FWD) (fwd)", "hello", True),
        (b"[list] hello", "hello", False),
        (b"[a] [b] hello", "hello", False),
        (b"[a][b]", "[b]", False),
        (b"[a]", "[a]", False),
        (b"[a", "[a", False),
        (b"[Re: x", "[Re: x", False),
        (b"reply: x", "reply: x", False),
        (b"[fwd: hello]", "hello", True),
        (b"[FWD: [list] re: [Fwd: hello] (fwd)]", "hello", True),
        (b"[fwd: hello", "[fwd: hello", False),
        (b"Re:", "", True),
        (b"(fwd)", "", True),
        (b"", "", False),
        (b" two \t spaces\r\n\tfolded ", "two spaces folded", False),
        (b"=?utf-8?q?Re=3A_Gr=C3=BC=C3=9Fe?=", "Grüße", True),
    ],
)
def test_base_subject(subject: bytes, base: str, reply: bool) -> None:
    assert base_subject(decode_words(subject)) == (base, reply)


@given(st.text("[]() :rRefwd\tx", max_size=40))
def test_a_base_subject_is_its_own(text: str) -> None:
    base, _ = base_subject(text)
    assert base_subject(base)[0] == base


@pytest.mark.parametrize(
    ("subject", "base", "reply"),
    [
        (b"[a]" * 300_000, b"[a]", False),
        (b"[fwd: " * 100_000 + b"]" * 100_000, b"", True),
        (b"re: " * 250_000, b"", True),
        (b"(fwd)" * 200_000, b"", True),
        (b"re [a" * 200_000, b"re [a" * 200_000, False),
    ],
    ids=["blobs", "forwards", "replies", "trailers", "no reply"],
)
def test_base_subject_of_long_ones(subject: bytes, base: bytes, reply: bool) -> None:
    """As of short ones; quadratic work would not end."""
    found, is_reply = base_subject(decode_words(subject))
    assert found.encode() == base and is_reply == reply


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Fri, 20 Nov 2026 12:00:00 +0100", NOON),
        (b"20 Nov 26 11:00 GMT", NOON),
        (b"20 Nov 2026 11:00:00 +99", NOON),
        (b"20 Nov 2026 11:00:00 nowhere", NOON),
        (b"20 Nov 2026 31:00:00 +0100", NOON - 11 * 3600),
        (b"20 Nov 2026", NOON - 11 * 3600),
        (b"20 Nov 2026 noon", NOON - 11 * 3600),
        (b"31 Nov 2026 11:00:00", None),
        (b"soon", None),
        (b"", None),
    ],
)
def test_sent_date(value: bytes, expected: int | None) -> None:
    assert sent_date(value) == expected


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Hello", b"HELLO"),
        ("gr\u00fc\u00dfe", "GRU\u0308\u00dfE".encode()),
        ("\u01c4", "Dz\u030c".encode()),
        ("\ufb01", b"fi"),
        ("\u00b2", b"2"),
    ],
)
def test_casemap(text: str, key: bytes) -> None:
    assert casemap(text) == key


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (b"<a@b>", [b"a@b"]),
        (b'<"01KF8JCEOCBS0045PS"@xxx.yyy.com>', [b"01KF8JCEOCBS0045PS@xxx.yyy.com"]),
        (b'<a@b>\r\n <"c d"@e> words <f\r\n @g>', [b"a@b", b"cd@e", b"f@g"]),
        (b"<a> <@> <a@> <> < <b@c", []),
        (b"John <john@x> wrote <a@b>", [b"john@x", b"a@b"]),
    ],
)
def test_message_ids(value: bytes, ids: list[bytes]) -> None:
    assert list(message_ids(value)) == ids


@pytest.mark.parametrize(
    "value", [b'<\\"' * 300_000, b'<"' * 300_000, b'<"\\"' * 200_000, b"<" * 900_000, b"<a" * 400_000]
)
def test_message_ids_of_long_ones(value: bytes) -> None:
    assert list(message_ids(value)) == []  # quadratic work would not end


def _piece(header: bytes) -> bytes:
    header = header.replace(b"\n", b"\r\n") + b"\r\n"
    found = read_fields(header, fields(header))
    return sorting_of(found, read_ids(found.texts))


def ids_of(piece: bytes) -> tuple[int, ...]:
    octets = unpacked(piece)[IDS]
    assert own_id_in(octets) == ids_in(octets)[0]
    return ids_in(octets)


def test_a_piece() -> None:
    piece = _piece(
        b"From: =?utf-8?q?B=C3=B6b?= <Bob@x.test>, eve@x.test\nTo: friends: ann@x.test;\nCc: carl@x.test\n"
        b"Subject: Re: One\nDate: Fri, 20 Nov 2026 12:00:00 +0100\nMessage-ID: <m@x>\nReferences: <a@x> <b@x>\n"
    )
    assert [unpacked(piece)[field] for field in SortField] == [
        NOON, b"1", b"ONE", b"BOB", b"FRIENDS", b"CARL", "BO\u0308B\0b\u00f6b".encode(), b"FRIENDS",
    ]  # fmt: skip
    assert unpacked(piece)[SortField.SENT] == NOON
    assert len(ids_of(piece)) == 3
    other = _piece(b"Message-ID: <b@x>\nIn-Reply-To: <a@x> <c@x>\n")
    assert ids_of(other) == (ids_of(piece)[2], ids_of(piece)[1])


@pytest.mark.parametrize(
    ("comparator", "keys"),
    [
        (UNICODE_CASEMAP, ["GRU\u0308\u00dfE", "BOB", "BO\u0308B"]),
        (ASCII_CASEMAP, ["GR\u00fc\u00dfE", "BOB", "B\u00f6B"]),
        (OCTET, ["Gr\u00fc\u00dfe", "Bob", "B\u00f6b"]),
    ],
)
def test_a_piece_by_another_comparator(comparator: Comparator, keys: list[str]) -> None:
    block = b"From: =?utf-8?q?B=C3=B6b?= <Bob@x.test>\r\nSubject: Re: =?iso-8859-1?q?Gr=FC=DFe?= (fwd)\r\n\r\nx"
    piece = unpacked(sorting_by(comparator, block))
    found = [piece[field] for field in (SortField.SUBJECT, SortField.FROM, SortField.DISPLAY_FROM)]
    assert found == [key.encode() for key in keys] and piece[SortField.IS_REPLY] == b"1"


def test_what_is_no_text_comes_last() -> None:
    block = b"From: b\xf6b@x.test\r\nSubject: Re: [x] =?utf-8?q?Gr=FC=DFe?= (fwd)\r\n\r\n"
    piece = unpacked(sorting_by(UNICODE_CASEMAP, block))
    assert piece[SortField.SUBJECT] == b"\xffGr\xfc\xdfe" and piece[SortField.IS_REPLY] == b"1"
    assert piece[SortField.FROM] == b"\xffb\xf6b"
    # To the usual comparator it is text.
    usual = unpacked(_piece(b"Subject: =?utf-8?q?Gr=FC=DFe?=\n"))[SortField.SUBJECT]
    assert usual == unpacked(_piece("Subject: GR\ufffd\ufffdE\n".encode()))[SortField.SUBJECT]


def test_a_piece_of_nothing() -> None:
    piece = _piece(b"")
    assert piece == EMPTY
    assert {unpacked(piece)[field] for field in SortField} == {b"", None}
    assert unpacked(piece)[SortField.SENT] is None
    assert ids_of(piece) == (NO_ID,)


def test_display_names() -> None:
    def shown(value: bytes) -> bytes:
        name: bytes = unpacked(_piece(b"From: " + value + b"\n"))[SortField.DISPLAY_FROM]
        return name

    assert shown(b'"Ann, B." <a@x.test>') == b"ANN, B."
    assert shown(b"a@x.test") == shown(b'"" <a@x.test>') == b"A@X.TEST"


def test_what_is_in_a_header_twice() -> None:
    # As in ENVELOPE.
    piece = _piece(b"Subject: a\nSubject: b\nFrom: a@x.test\nFrom: b@x.test\n")
    assert (unpacked(piece)[SortField.SUBJECT], unpacked(piece)[SortField.FROM]) == (b"B", b"A")


def test_what_is_long_is_bounded_and_stays_different() -> None:
    long = b"x" * 5000
    pieces = [_piece(b"Subject: " + long + end + b"\n") for end in (b"a", b"b", b"A")]
    keys = [unpacked(piece)[SortField.SUBJECT] for piece in pieces]
    assert len(keys[0]) < 1100
    assert keys[0] == keys[2] != keys[1]
    many = b" ".join(b"<%d@x>" % number for number in range(10_000))
    ids = ids_of(_piece(b"References: " + many + b"\n"))
    assert len(ids) == 1 + MAX_REFERENCES
    assert [ids[1], ids[-1]] == [ids_of(_piece(b"Message-ID: <%d@x>\n" % number))[0] for number in (0, 9999)]


def test_line_breaks_in_a_subject_do_not_break_the_piece() -> None:
    piece = _piece(b"Subject: =?utf-8?q?a=0A9=0Ab?=\nFrom: =?utf-8?q?c=0Ad?= <e@x.test>\nMessage-ID: <\n\n")
    assert unpacked(piece)[SortField.SUBJECT] == b"A 9 B"
    assert unpacked(piece)[SortField.DISPLAY_FROM] == b"C D"
    assert struct.calcsize("<Q") == len(piece.split(b"\n", len(SortField))[-1])
