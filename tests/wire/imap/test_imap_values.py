"""Modified UTF-7, dates and sequence sets: known answers, what is refused, and round trips."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.errors import InvalidInput
from mailserver.model.numset import MAX_NUMBER, NumSet
from mailserver.wire.imap import utf7
from mailserver.wire.imap.dates import format_date_time, parse_date, parse_date_time
from mailserver.wire.imap.lexer import ParseError, parse_sequence_set
from mailserver.wire.imap.sequence_set import SequenceSet

# Modified UTF-7

NAMES = [
    ("INBOX", b"INBOX"),
    ("", b""),
    ("A & B", b"A &- B"),
    ("&&", b"&-&-"),
    ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # RFC 3501 §5.1.3
    ("Entwürfe", b"Entw&APw-rfe"),
    ("é&ü", b"&AOk-&-&APw-"),
    ("\N{GRINNING FACE}", b"&2D3eAA-"),
    ("a\tb", b"a&AAk-b"),
    ("\x7f", b"&AH8-"),
]


@pytest.mark.parametrize(("name", "raw"), NAMES)
def test_modified_utf7(name: str, raw: bytes) -> None:
    assert utf7.encode(name) == raw
    assert utf7.decode(raw) == name


@pytest.mark.parametrize(
    "raw",
    [
        b"&",
        b"a&",
        b"&AOk",  # not terminated
        b"&AOk ",
        b"&A-",  # too short
        b"&AO-",  # not whole octets of UTF-16
        b"&AOl-",  # bits beyond the last octet
        b"&AOk=-",  # padding
        b"&AGE-",  # printable ASCII in base64
        b"&AC8-",  # a separator that nobody would see
        b"&AC4ALg-",
        b"&ACY-",  # an ampersand in base64
        b"&AOk-&AOk-",  # two runs where one would do
        b"&2D0-",  # half a surrogate pair
        b"&3gDYPQ-",  # the halves the wrong way round
        b"&U/BTFw-",  # the alphabet of MIME
        b"\xc3\xa4",
        b"a\0",
        b"a\r\nb",
    ],
)
def test_what_is_not_canonical_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInput, match="modified UTF-7"):
        utf7.decode(raw)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_modified_utf7_round_trip(name: str) -> None:
    raw = utf7.encode(name)
    assert raw.isascii()
    assert utf7.decode(raw) == name


@given(st.binary(max_size=40) | st.from_regex(rb"[&a-zA-Z0-9+,-]{0,20}", fullmatch=True))
def test_no_two_spellings_of_one_name(raw: bytes) -> None:
    try:
        name = utf7.decode(raw)
    except InvalidInput:
        return
    assert utf7.encode(name) == raw


def test_surrogates_do_not_stop_a_response() -> None:
    assert utf7.encode("a\udcff").isascii()


# Dates

MOMENTS = [
    (b"17-Jul-1996 02:44:25 -0700", 837_596_665, b'"17-Jul-1996 09:44:25 +0000"'),
    (b" 1-JAN-1970 00:00:00 +0000", 0, b'" 1-Jan-1970 00:00:00 +0000"'),
    (b"01-jan-1970 00:00:00 +0001", -60, b'"31-Dec-1969 23:59:00 +0000"'),
    (b"29-Feb-2024 23:59:60 +0000", 1_709_251_199, b'"29-Feb-2024 23:59:59 +0000"'),
    (b"31-Dec-9999 23:59:59 -0000", 253_402_300_799, b'"31-Dec-9999 23:59:59 +0000"'),
    (b" 1-Jan-0001 00:00:00 +0000", -62_135_596_800, b'" 1-Jan-0001 00:00:00 +0000"'),
]


@pytest.mark.parametrize(("text", "seconds", "formatted"), MOMENTS)
def test_date_time(text: bytes, seconds: int, formatted: bytes) -> None:
    assert parse_date_time(text) == seconds
    assert format_date_time(seconds) == formatted


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"17-Jul-1996",
        b"1-Jul-1996 02:44:25 +0000",
        b"  -Jul-1996 02:44:25 +0000",
        b"31-Jun-1996 02:44:25 +0000",
        b"29-Feb-2023 00:00:00 +0000",
        b"17-Jux-1996 02:44:25 +0000",
        b"17-Jul-0000 02:44:25 +0000",
        b"17-Jul-1996 24:00:00 +0000",
        b"17-Jul-1996 00:60:00 +0000",
        b"17-Jul-1996 00:00:61 +0000",
        b"17-Jul-1996 00:00:00 +2400",
        b"17-Jul-1996 00:00:00 +0060",
        b"17-Jul-1996 00:00:00 0000",
        b"17-Jul-1996 00:00:00 +0000 ",
        "١٧-Jul-1996 00:00:00 +0000".encode(),
    ],
)
def test_no_date_time(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_date_time(text)


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_date_time_round_trip(seconds: int) -> None:
    assert parse_date_time(format_date_time(seconds)[1:-1]) == seconds


@given(st.integers())
def test_every_number_can_be_shown_as_a_date(seconds: int) -> None:
    parse_date_time(format_date_time(seconds)[1:-1])


@given(st.dates())
def test_date_round_trip(day: datetime.date) -> None:
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    assert parse_date(f"{day.day}-{months[day.month - 1]}-{day.year:04}".encode()) == day


# Sequence sets


@pytest.mark.parametrize(
    ("text", "ranges", "star"),
    [
        (b"1", ((1, 1),), None),
        (b"5:2,3,9", ((2, 5), (9, 9)), None),
        (b"2,4:7,9,12:*", ((2, 2), (4, 7), (9, 9)), 12),
        (b"*:4,5:7", ((5, 7),), 4),
        (b"*", (), MAX_NUMBER),
        (b"*:*", (), MAX_NUMBER),
        (b"7:*,3:*,*", (), 3),
        (b"4294967295:1", ((1, MAX_NUMBER),), None),
    ],
)
def test_sequence_set(text: bytes, ranges: tuple[tuple[int, int], ...], star: int | None) -> None:
    found = parse_sequence_set(text)
    assert found == SequenceSet(NumSet(ranges), star)
    assert parse_sequence_set(str(found).encode()) == found


@pytest.mark.parametrize(
    ("text", "highest", "expected"),
    [
        (b"*", 7, "7"),
        (b"3291:*", 7, "7"),  # RFC 9051 §9 seq-range
        (b"3:*", 7, "3:7"),
        (b"1,5:*", 7, "1,5:7"),
        (b"*", 0, ""),
        (b"2:*,9", 0, "9"),
        (b"1:3", 7, "1:3"),
    ],
)
def test_what_a_star_means(text: bytes, highest: int, expected: str) -> None:
    assert str(parse_sequence_set(text).resolve(highest)) == expected


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=8), st.integers(1, 30))
def test_sequence_sets_mean_what_they_say(pairs: list[tuple[int, int]], highest: int) -> None:
    text = ",".join(f"{low or '*'}:{high or '*'}" for low, high in pairs).encode()
    expected = set()
    for low, high in ((low or highest, high or highest) for low, high in pairs):
        expected |= set(range(min(low, high), max(low, high) + 1))
    # Numbers above the highest message exist in no mailbox.
    found = set(parse_sequence_set(text).resolve(highest))
    assert {n for n in found if n <= highest} == {n for n in expected if n <= highest}


@pytest.mark.parametrize(
    ("text", "count", "exceeds"),
    [
        (b"3,9,2:4", 9, False), (b"3,9,2:4", 8, True), (b"2:*", 3, False), (b"3:*", 3, False), (b"4:*", 3, True),
        (b"*:4", 3, True), (b"*", 3, False), (b"*", 0, True), (b"1:*", 0, True), (b"1", 0, True),
    ],
)  # fmt: skip
def test_numbers_above_the_number_of_messages(text: bytes, count: int, exceeds: bool) -> None:
    assert parse_sequence_set(text).exceeds(count) is exceeds


@pytest.mark.parametrize("text", [b"", b",", b"1,", b"0", b"0:3", b"1:", b":1", b"1:2:3", b"**", b"1*", b"9" * 5000])
def test_no_sequence_set(text: bytes) -> None:
    with pytest.raises(ParseError):
        parse_sequence_set(text)
