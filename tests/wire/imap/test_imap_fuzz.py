"""The connection never raises, never holds more than it may, and says the same however its input is cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.wire.imap.events import BadCommand, Event
from mailserver.wire.imap.parse import PARSERS
from mailserver.wire.imap.responses import status_line
from tests.helpers.wire_imap import SMALL, drain, feed, make

ATOMS = [
    b"INBOX", b"(", b")", b"[", b"]", b"<0.5>", b'""', b'"a\\"b"', b'"', b"\\Seen", b"\\", b"$", b"*", b"1:*", b"1,3:2",
    b"{3}\r\nabc", b"{3+}\r\na\r\n", b"~{2+}\r\n\0\0", b"{0}", b"{9999999}", b"{5++}", b"{-1}", b"{", b"}", b"&AOk-",
    b"&AGE-", b"\xc3\xa4", b"\xff", b"\0", b"\r", b"\n", b"\r\n", b"NIL", b"NOT", b"OR", b"RETURN",
    b"UTF8 (~{1+}\r\nx)", b"UID", b"FLAGS", b"+FLAGS.SILENT", b"BODY[1.MIME]",
    b"BODY.PEEK[HEADER.FIELDS (a b)]", b"BINARY.SIZE[1]",
    b"FAST", b"(CHANGEDSINCE 1 VANISHED)", b"(QRESYNC (1 2 3 (4 5)))", b"(USE (\\Sent))", b"STATUS (MESSAGES)",
    b"CHARSET UTF-8",
    b'"17-Jul-1996 02:44:25 -0700"', b"1-Feb-1994", b"SINCE", b"HEADER", b"MODSEQ", b"LARGER", b"99999999999999999999",
    b"=", b"AGEAYg==", b"DONE", b"+ ", b"a", b"1", b"0",
]  # fmt: skip

words = st.sampled_from(ATOMS) | st.binary(max_size=6)
names = st.sampled_from([*sorted(PARSERS), b"APPEND", b"FOO", b""])
line = st.builds(
    lambda tag, name, args, spaced: tag + b" " + name + b"".join((b" " if spaced else b"") + a for a in args) + b"\r\n",
    st.sampled_from([b"a", b"A.1", b"", b"*", b"+"]),
    names,
    st.lists(words, max_size=8),
    st.booleans(),
)
streams = st.lists(line | st.binary(max_size=20), max_size=6).map(b"".join)


def check(events: list[Event]) -> None:
    for event in events:
        if isinstance(event, BadCommand):
            answer = status_line(event.tag, event.status, event.text, event.code)
            assert answer.count(b"\r\n") == 1
            assert event.text.isascii()
            assert event.text.isprintable()


@settings(max_examples=400)
@given(streams, st.booleans(), st.booleans(), st.booleans(), st.integers(1, 9))
def test_any_input_in_any_pieces(data: bytes, authenticated: bool, utf8: bool, accept: bool, step: int) -> None:
    def run(size: int) -> list[Event]:
        return feed(data, step=size, authenticated=authenticated, utf8=utf8, accept=accept, limits=SMALL)

    whole = run(0)
    check(whole)
    # A NUL is found in the piece that has it, so how much of the message came before depends on the pieces.
    if b"\0" not in data:
        assert run(step) == whole


@settings(max_examples=200)
@given(
    streams,
    st.sampled_from([
        b"a IDLE\r\n", b"a AUTHENTICATE X\r\n", b"a APPEND x {30+}\r\n", b"a LOGIN {9+}\r\n",
        b"a APPEND x CATENATE (URL a TEXT {9+}\r\n",
    ]),
)  # fmt: skip
def test_any_input_in_every_state(data: bytes, first: bytes) -> None:
    check(feed(first + data, limits=SMALL))
    connection = make(limits=SMALL)
    connection.receive_data(first + data)
    connection.receive_eof()
    check(drain(connection))
    assert connection.next_event() is None


@settings(max_examples=200)
@given(st.lists(line, max_size=6).map(b"".join), st.booleans())
def test_what_waits_is_bounded(data: bytes, authenticated: bool) -> None:
    connection = make(limits=SMALL, authenticated=authenticated)
    most = max(SMALL.line, SMALL.literals) + 64
    for start in range(0, len(data), 16):
        connection.receive_data(data[start : start + 16])
        drain(connection)
        assert connection.unread <= most
