"""ATTACKS I: hostile IMAP input, at the engine without a socket. Work is counted, time is not measured."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Sequence
from typing import overload

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.imap.access.patterns import pattern_matcher
from mailserver.model.numset import MAX_NUMBER, NumSet
from mailserver.wire.imap import responses
from mailserver.wire.imap.commands import Fetch, Id, Login, Search, Select, StartTls, Store
from mailserver.wire.imap.events import (
    BadCommand,
    CommandReceived,
    ContinuationNeeded,
    Event,
    LiteralChunk,
    ProtocolClosed,
)
from mailserver.wire.imap.fetch_items import BodySection
from mailserver.wire.imap.fragments import literal_header
from mailserver.wire.imap.lexer import Lexer, parse_sequence_set
from mailserver.wire.imap.limits import Limits
from mailserver.wire.imap.sequence_set import SequenceSet
from tests.helpers.wire_imap import command, drain, every_way, feed, make


def only_bad(events: list[Event]) -> BadCommand:
    (event,) = events
    assert isinstance(event, BadCommand), event
    return event


# I01, I02: literals


@pytest.mark.parametrize("authenticated", [False, True])
@pytest.mark.parametrize(
    "announced",
    [b"{4294967295}", b"{%b}" % (b"9" * 40), b"{-1}", b"{+5}", b"{1_0}", "{٣}".encode(), b"{ 5}", b"{0x5}", b"{}"],
)
def test_i01_literal_counts_that_are_none_or_too_big(announced: bytes, authenticated: bool) -> None:
    for name in (b"LOGIN ", b"ID (", b"SELECT ", b"FOO "):
        answer = only_bad(every_way(b"a " + name + announced + b"\r\n", authenticated=authenticated))
        assert answer.tag == b"a"


@pytest.mark.parametrize("announced", [b"{5++}", b"{+}", b"{4294967295+}", b"{-1+}", b"{1_0+}", "{٣+}".encode()])
def test_i01_a_client_that_does_not_wait_for_a_false_literal_is_hung_up(announced: bytes) -> None:
    (event,) = every_way(b"a LOGIN " + announced + b"\r\nb NOOP\r\n", authenticated=False)
    assert isinstance(event, ProtocolClosed)
    assert event.text


def test_i01_a_count_allocates_nothing() -> None:
    tracemalloc.start()
    try:
        for count in (b"{4294967295}", b"{8192}", b"{8192+}"):
            feed(b"a LOGIN " + count + b"\r\n", authenticated=False)
        assert tracemalloc.get_traced_memory()[1] < 65_536
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("authenticated", [False, True])
def test_i02_a_literal_above_the_limit_is_refused_without_a_continuation(authenticated: bool) -> None:
    most = Limits().literals if authenticated else Limits().literals_before_login
    answer = only_bad(every_way(b"a LOGIN {%d}\r\n" % (most + 1), authenticated=authenticated))
    assert (answer.tag, answer.status, answer.code) == (b"a", "NO", "TOOBIG")
    assert feed(b"a LOGIN {%d}\r\n" % most, authenticated=authenticated) == [ContinuationNeeded()]


@pytest.mark.parametrize("authenticated", [False, True])
def test_i02_a_literal_above_the_limit_that_comes_unasked_hangs_up(authenticated: bool) -> None:
    most = Limits().literals if authenticated else Limits().literals_before_login
    (event,) = every_way(b"a LOGIN {%d+}\r\n" % (most + 1), authenticated=authenticated)
    assert isinstance(event, ProtocolClosed)
    assert str(most) in event.text


@pytest.mark.parametrize("authenticated", [False, True])
def test_i02_the_literals_of_a_command_count_together(authenticated: bool) -> None:
    most = Limits().literals if authenticated else Limits().literals_before_login
    half = b"{%d+}\r\n%b" % (most // 2, b"x" * (most // 2))
    assert isinstance(every_way(b"a LOGIN %b %b\r\n" % (half, half), authenticated=authenticated)[0], CommandReceived)
    answer = only_bad(every_way(b"a LOGIN %b {%d}\r\n" % (half, most // 2 + 1), authenticated=authenticated))
    assert (answer.tag, answer.code) == (b"a", "TOOBIG")


def test_i01_numbers_of_thousands_of_digits() -> None:
    for line in (b"SEARCH LARGER %b", b"FETCH 1 BODY[%b]", b"FETCH %b FLAGS", b"FETCH 1 BODY[]<%b.1>"):
        only_bad(every_way(b"a " + line % (b"9" * 5000) + b"\r\n"))


def test_i02_a_message_above_the_limit() -> None:
    limits = Limits(append=1000)
    answer = only_bad(every_way(b"a APPEND INBOX {1001}\r\n", limits=limits))
    assert (answer.status, answer.code) == ("NO", "TOOBIG")
    (event,) = every_way(b"a APPEND INBOX {1001+}\r\n", limits=limits)
    assert isinstance(event, ProtocolClosed)


# I03: what must work


def test_i03_outlook_logs_in_with_literals() -> None:
    name = b"Microsoft Outlook 16.0."
    assert command(b'ID ("name" {23+}\r\n%b)' % name, authenticated=False) == Id((("name", name.decode()),))
    user = b"somebody.else@mail.test.xx.yy"
    assert command(b"LOGIN {29+}\r\n%b {6+}\r\nsesame" % user, authenticated=False) == Login(user.decode(), "sesame")
    events = every_way(b"a LOGIN {29}\r\n%b {6}\r\nsesame\r\n" % user, authenticated=False)
    assert events[:2] == [ContinuationNeeded(), ContinuationNeeded()]
    assert isinstance(events[2], CommandReceived)


# I04: many small literals


def test_i04_ten_thousand_small_literals_in_one_command() -> None:
    connection = make()
    connection.receive_data(b"a SEARCH")
    most = 0
    found: list[Event] = []
    for _ in range(10_000):
        connection.receive_data(b" TEXT {10+}\r\n0123456789")
        found += drain(connection)
        held = connection.unread + sum(len(part) for part in connection._parts)
        most = max(most, held)
    assert isinstance(found[0], BadCommand | ProtocolClosed)
    limits = Limits()
    assert most <= limits.line + limits.literals + 64


def test_i04_a_client_in_the_middle_of_a_literal_holds_little() -> None:
    tracemalloc.start()
    try:
        connections = []
        for _ in range(100):
            connection = make(authenticated=False)
            connection.receive_data(b"a LOGIN {8192+}\r\n" + b"x" * 8000)
            assert drain(connection) == []
            connections.append(connection)
        assert tracemalloc.get_traced_memory()[0] / len(connections) < 32_768
    finally:
        tracemalloc.stop()


# I05: nesting


@pytest.mark.parametrize("line", [b"", b"a ", b"a LOGIN ", b"a LIST ", b"a ID "])
def test_i05_parentheses_before_login(line: bytes) -> None:
    only_bad(every_way(line + b"(" * 8000 + b"\r\n", authenticated=False))


@pytest.mark.parametrize(
    "program",
    [
        b"(" * 10_000,
        b"(" * 10_000 + b"ALL" + b")" * 10_000,
        b"NOT " * 10_000 + b"ALL",
        b"OR " * 10_000 + b"ALL ALL",
        b"OR ALL " * 8_000 + b"ALL",
        b"NOT (" * 8_000 + b"ALL" + b")" * 8_000,
    ],
)
def test_i05_nested_search(program: bytes) -> None:
    answer = only_bad(every_way(b"a SEARCH " + program + b"\r\n"))
    assert answer.tag == b"a"
    assert "50 deep" in answer.text


def test_i05_what_is_nested_less_is_taken() -> None:
    assert isinstance(command(b"SEARCH " + b"(" * 49 + b"ALL" + b")" * 49), Search)
    only_bad(every_way(b"a SEARCH " + b"(" * 50 + b"ALL" + b")" * 50 + b"\r\n"))


# I06: sets


class Counted(Sequence[int]):
    """Numbers from 1 to `count` that count how often they are looked at."""

    def __init__(self, count: int) -> None:
        self.numbers = range(1, count + 1)
        self.looks = 0

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> list[int]: ...
    def __getitem__(self, at: int | slice) -> int | list[int]:
        if isinstance(at, slice):
            found = list(self.numbers[at])
            self.looks += len(found)
            return found
        self.looks += 1
        return self.numbers[at]


def picked(found: object) -> SequenceSet:
    assert isinstance(found, SequenceSet)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b",".join([b"1:4294967295"] * 1000), 100),
        (b"*:*", 1),
        (b"4294967295:1", 100),
        (b",".join([b"*"] * 5000), 1),
        (b",".join(b"%d:%d" % (n, n + MAX_NUMBER // 2) for n in range(1, 2000)), 100),
    ],
)
def test_i06_sets_cost_what_exists(text: bytes, expected: int) -> None:
    fetched = command(b"FETCH " + text + b" FLAGS")
    stored = command(b"UID STORE " + text + b" +FLAGS.SILENT (\\Seen)")
    searched = command(b"SEARCH " + text)
    assert isinstance(fetched, Fetch)
    assert isinstance(stored, Store)
    assert isinstance(searched, Search)
    for messages in (fetched.messages, stored.messages):
        existing = Counted(100)
        numbers = picked(messages).resolve(100)
        assert len(numbers.ranges) <= 2
        assert sum(map(len, numbers.indexes_in(existing))) == expected
        assert existing.looks <= 200


def test_i06_a_hundred_thousand_ranges() -> None:
    text = b",".join(b"%d:%d" % (n, n + 1) for n in range(1, 300_000, 3))
    existing = Counted(100)
    found = parse_sequence_set(text).resolve(100)
    assert [at + 1 for span in found.indexes_in(existing) for at in span] == [n for n in range(1, 101) if n % 3]
    # In a command they do not fit into a line.
    only_bad(feed(b"a FETCH " + text[:900_000] + b" FLAGS\r\n"))


def test_i06_qresync() -> None:
    many = b",".join([b"1:4294967295"] * 1000)
    selected = command(b"SELECT x (QRESYNC (1 2 %b (1:4294967295 1:4294967295)))" % many)
    assert isinstance(selected, Select)
    assert selected.qresync is not None
    assert selected.qresync.known_uids == NumSet(((1, MAX_NUMBER),))
    assert selected.qresync.match == (NumSet(((1, MAX_NUMBER),)), NumSet(((1, MAX_NUMBER),)))


@given(st.lists(st.tuples(st.integers(1, MAX_NUMBER), st.integers(1, MAX_NUMBER)), min_size=1, max_size=50))
def test_i06_ranges_are_joined(pairs: list[tuple[int, int]]) -> None:
    text = ",".join(f"{low}:{high}" for low, high in pairs).encode()
    ranges = parse_sequence_set(text).numbers.ranges
    assert all(low <= high for low, high in ranges)
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(ranges))
    assert all(low in NumSet(ranges) and high in NumSet(ranges) for low, high in pairs)


# I08: sections


def test_i08_deep_sections() -> None:
    for item in (b"BODY[%b]", b"BODY.PEEK[%b.HEADER]", b"BINARY[%b]", b"BINARY.SIZE[%b]"):
        deep = b".".join([b"1"] * 10_000)
        answer = only_bad(every_way(b"a FETCH 1 " + item % deep + b"\r\n"))
        assert "50 deep" in answer.text
        assert isinstance(command(b"FETCH 1 " + item % b".".join([b"1"] * 50)), Fetch)
        only_bad(every_way(b"a FETCH 1 " + item % b".".join([b"1"] * 51) + b"\r\n"))


def test_i08_many_header_fields() -> None:
    answer = only_bad(every_way(b"a FETCH 1 BODY[HEADER.FIELDS (%b)]\r\n" % b" ".join([b"x"] * 10_000)))
    assert "at most 1000" in answer.text


def test_i08_partial_ranges() -> None:
    only_bad(every_way(b"a FETCH 1 BODY[]<0.0>\r\n"))
    fetched = command(b"FETCH 1 BODY[]<4294967295.1>")
    assert isinstance(fetched, Fetch)
    assert fetched.items == (BodySection(peek=False, partial=(4294967295, 1), name=b"BODY[]<4294967295>"),)
    only_bad(every_way(b"a FETCH 1 BODY[]<9223372036854775808.1>\r\n"))


# I09: patterns


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*a" * 30 + "b", "a" * 1000, False),
        ("*a" * 30 + "b", "a" * 1000 + "b", True),
        ("*%" * 500, "a/" * 500, True),
        ("*%" * 500 + "b", "a/" * 500, False),
        ("%" * 500 + "b", "a" * 1000, False),
        ("%a" * 40 + "/%", "a" * 100 + "/b", True),
        ("%*/" * 20 + "x", "a/" * 200, False),
    ],
)
def test_i09_patterns_do_not_explode(pattern: str, name: str, matches: bool) -> None:
    # A backtracking matcher does not come back from any of these.
    assert pattern_matcher(pattern, "/")(name) is matches


def _matches(pattern: str, name: str) -> bool:
    """The meaning of a pattern, with no thought of time."""
    if not pattern:
        return not name
    if pattern[0] in "*%":
        longest = name.find("/") if pattern[0] == "%" and "/" in name else len(name)
        return any(_matches(pattern[1:], name[length:]) for length in range(longest + 1))
    return bool(name) and name[0] == pattern[0] and _matches(pattern[1:], name[1:])


@given(st.text("ab/*%", max_size=7), st.text("ab/", max_size=7))
def test_i09_patterns_mean_what_they_say(pattern: str, name: str) -> None:
    assert pattern_matcher(pattern, "/")(name) is _matches(pattern, name)


# I14: controls, tags, and our own output


@pytest.mark.parametrize("control", [b"\r", b"\n", b"\0"])
@pytest.mark.parametrize("line", [b'a LOGIN "%b" z', b'a SELECT "x%by"', b"a SELECT x%by", b"a%b NOOP", b"a NO%bOP"])
def test_i14_controls_in_lines(control: bytes, line: bytes) -> None:
    only_bad(every_way(line % control + b"\r\n"))


@pytest.mark.parametrize(
    "tag", [b"x" * 8000, b"x" * 129, b"+", b"*", b"a+", b"a*b", b'"a"', b"a(b", b"{3}", b"a\\b", b"\x7f", b"\xc3\xa4"]
)
def test_i14_tags_that_are_none(tag: bytes) -> None:
    assert only_bad(every_way(tag + b" NOOP\r\n")).tag == b"*"


def test_i14_a_tag_of_any_other_kind_is_taken() -> None:
    for tag in (b"x" * 128, b"A.0-1]", b"~{"[:1], b"&#$'!"):
        (event,) = every_way(tag + b" NOOP\r\n")
        assert isinstance(event, CommandReceived)
        assert event.tag == tag


hostile = st.text(alphabet=st.sampled_from('a"\\\r\n\0{}3+*%&-é ]()'), max_size=20)


@given(hostile, st.booleans())
def test_i14_hostile_names_stay_in_their_place(name: str, utf8: bool) -> None:
    name = name.replace("\0", "")
    line = responses.list_line([b"\\HasNoChildren"], "/", name, utf8=utf8)
    head = b'* LIST (\\HasNoChildren) "/" '
    assert line.startswith(head)
    lexer = Lexer(line[:-2], len(head), utf8=utf8)
    assert lexer.mailbox_name(lexer.string()) == name
    lexer.end()


@given(hostile)
def test_i14_hostile_words_stay_in_one_line(text: str) -> None:
    line = responses.status_line(b"a", "NO", text)
    assert line.count(b"\n") == line.count(b"\r") == 1
    assert b"\0" not in line


@given(st.binary(max_size=30))
def test_i14_hostile_header_values_stay_in_their_place(value: bytes) -> None:
    rendered = responses.string(value)
    header = literal_header(rendered.split(b"\r\n")[0])
    if rendered.startswith(b'"'):
        assert header is None
        assert b"\r" not in rendered
    else:
        assert header is not None
        assert len(rendered.split(b"\r\n", 1)[1]) == header.size == len(value)


# C02: what comes with STARTTLS


@pytest.mark.parametrize("behind", [b"b LOGIN u p\r\n", b"b", b"\x16\x03\x01", b"b LOGIN {3+}\r\nabc {1+}\r\nx\r\n"])
def test_c02_octets_behind_starttls_are_never_read(behind: bytes) -> None:
    connection = make(authenticated=False)
    connection.receive_data(b"a STARTTLS\r\n" + behind)
    assert connection.next_event() == CommandReceived(b"a", "STARTTLS", StartTls())
    assert not connection.begin_tls()


def test_c02_starttls_takes_no_literal() -> None:
    only_bad(every_way(b"a STARTTLS {3+}\r\nabc\r\n", authenticated=False))


# I16: a chunk of a message is never a command


@given(st.binary(max_size=80).filter(lambda data: bool(data) and b"\0" not in data), st.integers(1, 20))
def test_i16_messages_are_only_messages(message: bytes, step: int) -> None:
    events = feed(b"a APPEND x {%d+}\r\n%b\r\n" % (len(message), message), step=step)
    assert [event.data for event in events if isinstance(event, LiteralChunk)] == [message]
    assert len(events) == 3
