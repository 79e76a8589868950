"""wire/imap/connection.py and fragments.py: boundaries, literals, APPEND, IDLE, SASL, STARTTLS, limits, the end."""

from __future__ import annotations

import pytest

from mailserver.wire.imap.commands import Authenticate, Idle, Login, Noop, Select, StartTls
from mailserver.wire.imap.connection import ImapConnection
from mailserver.wire.imap.events import (
    AppendContinued,
    AppendFinished,
    AppendMessage,
    AppendStarted,
    BadCommand,
    CommandReceived,
    ContinuationNeeded,
    Event,
    IdleDone,
    LiteralChunk,
    ProtocolClosed,
    SaslResponse,
)
from mailserver.wire.imap.lexer import Lexer
from mailserver.wire.imap.limits import Limits
from mailserver.wire.imap.parse import PARSERS
from tests.helpers.wire_imap import SMALL, TRAILER, TRAILER_EVENT, drain, every_way, feed, make

LATE = 824_259_865  # 1996-02-14 01:04:25 UTC


def bad(event: Event) -> BadCommand:
    assert isinstance(event, BadCommand), event
    return event


# One at a time


def test_commands_come_one_at_a_time() -> None:
    connection = make()
    connection.receive_data(b"a NOOP\r\nb SELECT x\r\nc")
    assert connection.next_event() == CommandReceived(b"a", "NOOP", Noop())
    assert connection.unread == len(b"b SELECT x\r\nc")
    assert connection.next_event() == CommandReceived(b"b", "SELECT", Select(mailbox="x"))
    assert connection.next_event() is None
    connection.receive_data(b" NOOP\r\n")
    assert connection.next_event() == CommandReceived(b"c", "NOOP", Noop())


def test_mode_changes_between_pipelined_commands_hold_for_the_next() -> None:
    connection = make()
    connection.receive_data(b'a ENABLE UTF8=ACCEPT\r\nb SELECT "\xc3\xa4"\r\n')
    assert isinstance(connection.next_event(), CommandReceived)
    connection.utf8 = True
    assert connection.next_event() == CommandReceived(b"b", "SELECT", Select(mailbox="ä"))


def test_a_plugin_brings_a_command() -> None:
    def xyzzy(lexer: Lexer) -> object:
        lexer.space()
        return ("xyzzy", lexer.text())

    connection = ImapConnection(Limits(), {**PARSERS, b"XYZZY": xyzzy})
    connection.receive_data(b"a xyzzy {5+}\r\nhello\r\nb XYZZY\r\n")
    first, second = drain(connection)
    assert first == CommandReceived(b"a", "XYZZY", ("xyzzy", "hello"))
    assert bad(second).tag == b"b"


@pytest.mark.parametrize("line", [b"a NOOP\nb NOOP", b"a NO\rOP", b"a LOGIN \"x\ny\" z", b"a LOGIN x\0y z"])
def test_only_crlf_ends_a_line_and_controls_are_refused(line: bytes) -> None:
    (event,) = every_way(line + b"\r\n")
    assert bad(event).tag == b"a"


def test_what_a_literal_holds_is_never_a_command() -> None:
    events = every_way(b"a LOGIN {19+}\r\nx\r\nb NOOP\r\nc {3+}\r\n y\r\n", authenticated=False)
    assert events == [CommandReceived(b"a", "LOGIN", Login("x\r\nb NOOP\r\nc {3+}\r\n", "y"))]
    events = every_way(b"a FOO {10+}\r\nb LOGOUT\r\n\r\n", authenticated=False)
    assert [type(event) for event in events] == [BadCommand]


# Limits


def test_a_long_line_before_login_hangs_up() -> None:
    (event,) = feed(b"a LOGIN " + b"x" * 300, limits=SMALL, authenticated=False)
    assert isinstance(event, ProtocolClosed)
    assert "200" in event.text
    (event,) = every_way(b"a LOGIN " + b"x" * 300 + b"\r\n", limits=SMALL, authenticated=False)
    assert isinstance(event, ProtocolClosed)


def test_a_long_line_after_login_costs_that_command_only() -> None:
    (event,) = every_way(b"tag FETCH " + b"1," * 300 + b"1 FLAGS\r\n", limits=SMALL)
    assert bad(event).tag == b"tag"
    assert "400 octets" in bad(event).text


def test_a_long_line_with_a_literal_behind_it_stays_in_step() -> None:
    literal = b" {9+}\r\nx LOGOUT\r and more {2+}\r\nyy\r\n"
    (event,) = every_way(b"tag FETCH " + b"1," * 300 + literal, limits=SMALL)
    assert bad(event).tag == b"tag"


def test_the_lines_of_one_command_count_together() -> None:
    (event,) = every_way(b"a SEARCH " + b"TEXT {1+}\r\nx " * 60 + b"ALL\r\n", limits=SMALL)
    assert bad(event).tag == b"a"


def test_a_line_that_never_ends_hangs_up() -> None:
    events = feed(b"a " + b"x" * 2_000_000, step=65536)
    assert [type(event) for event in events] == [BadCommand, ProtocolClosed]


def test_a_line_of_exactly_the_limit_is_taken() -> None:
    name = b"x" * (200 - len(b"a LOGIN  y"))
    (event,) = every_way(b"a LOGIN " + name + b" y\r\n", limits=SMALL, authenticated=False)
    assert isinstance(event, CommandReceived)
    (event,) = every_way(b"a LOGIN " + name + b"x y\r\n", limits=SMALL, authenticated=False)
    assert isinstance(event, ProtocolClosed)


# APPEND


def test_append() -> None:
    message = b"From: x\r\n\r\nbody {3}\r\n)"
    line = b'a APPEND saved (\\Seen $Work) "14-Feb-1996 02:04:25 +0100" {%d}\r\n%b\r\n' % (len(message), message)
    expected = AppendMessage(flags=frozenset({"\\Seen", "$Work"}), date=LATE, size=len(message))
    assert every_way(line) == [
        AppendStarted(b"a", "saved", expected),
        LiteralChunk(message, last=True),
        AppendFinished(b"a"),
    ]


@pytest.mark.parametrize("mailbox", [b"INBOX", b'"inbox"', b"{5+}\r\nInbox"])
@pytest.mark.parametrize(
    ("options", "flags", "date"),
    [(b"", set(), None), (b" ()", set(), None), (b" (\\Draft)", {"\\Draft"}, None)],
)
def test_append_with_every_spelling(mailbox: bytes, options: bytes, flags: set[str], date: int | None) -> None:
    events = every_way(b"a append " + mailbox + options + b" {3+}\r\nabc\r\n")
    message = AppendMessage(flags=frozenset(flags), date=date, size=3, synchronizing=False)
    assert events == [AppendStarted(b"a", "INBOX", message), LiteralChunk(b"abc", last=True), AppendFinished(b"a")]


def test_append_asks_before_the_message_comes() -> None:
    connection = make()
    connection.receive_data(b"a APPEND {1}\r\n")
    assert connection.next_event() == ContinuationNeeded()
    connection.receive_data(b"x {3}\r\n")
    assert isinstance(connection.next_event(), AppendStarted)
    assert connection.accept_literal() == b"+ go ahead\r\n"
    connection.receive_data(b"ab")
    assert connection.next_event() == LiteralChunk(b"ab", last=False)
    assert connection.next_event() is None
    connection.receive_data(b"c\r\n")
    assert connection.next_event() == LiteralChunk(b"c", last=True)
    assert connection.next_event() == AppendFinished(b"a")


def test_nothing_is_said_to_a_client_that_does_not_wait() -> None:
    connection = make()
    connection.receive_data(b"a APPEND x {3+}\r\n")
    connection.next_event()
    assert connection.accept_literal() == b""


def test_a_big_message_streams_and_is_not_held() -> None:
    connection = make()
    connection.receive_data(b"a APPEND x {5000000+}\r\n")
    assert isinstance(connection.next_event(), AppendStarted)
    connection.accept_literal()
    total = 0
    for _ in range(100):
        connection.receive_data(b"x" * 50_000)
        while isinstance(event := connection.next_event(), LiteralChunk):
            assert len(event.data) <= 65_536
            total += len(event.data)
        assert connection.unread == 0
    assert total == 5_000_000
    connection.receive_data(b"\r\n")
    assert connection.next_event() == AppendFinished(b"a")


def test_refused_messages_are_thrown_away() -> None:
    started = AppendStarted(b"a", "x", AppendMessage(size=8))
    # A client that waits sends no literal after the NO.
    assert feed(b"a APPEND x {8}\r\n" + TRAILER, accept=False) == [started, TRAILER_EVENT]
    events = every_way(b"a APPEND x {8+}\r\nb NOOP\r\n (\\Seen) {3+}\r\nabc {2+}\r\n\r\n\r\n", accept=False)
    assert [type(event) for event in events] == [AppendStarted]
    events = every_way(b"a APPEND x {8+}\r\nb NOOP\r\n {3}\r\n", accept=False)
    assert [type(event) for event in events] == [AppendStarted]


def test_a_message_that_is_passed_over_is_refused() -> None:
    for line in (b"a APPEND x {8}\r\n", b"a APPEND x {8+}\r\nb LOGOUT {3+}\r\nabc\r\n"):
        connection = make()
        connection.receive_data(line + TRAILER)
        assert isinstance(connection.next_event(), AppendStarted)
        assert connection.next_event() == TRAILER_EVENT
        with pytest.raises(RuntimeError):
            connection.accept_literal()


def test_multiappend() -> None:
    line = b'a APPEND x (\\Seen) {3}\r\nabc (\\Draft) "14-Feb-1996 01:04:25 +0000" ~{4+}\r\nd\0ef {1}\r\ng\r\n'
    assert every_way(line) == [
        AppendStarted(b"a", "x", AppendMessage(flags=frozenset({"\\Seen"}), size=3)),
        LiteralChunk(b"abc", last=True),
        AppendContinued(
            AppendMessage(flags=frozenset({"\\Draft"}), date=LATE, size=4, binary=True, synchronizing=False)
        ),
        LiteralChunk(b"d\0ef", last=True),
        AppendContinued(AppendMessage(size=1)),
        LiteralChunk(b"g", last=True),
        AppendFinished(b"a"),
    ]


def test_append_utf8() -> None:
    assert every_way(b"a APPEND x UTF8 (~{3}\r\nabc)\r\n") == [
        AppendStarted(b"a", "x", AppendMessage(size=3, binary=True, utf8=True)),
        LiteralChunk(b"abc", last=True),
        AppendFinished(b"a"),
    ]
    events = every_way(b"a APPEND x UTF8 (~{3}\r\nabc\r\n")
    assert "expected )" in bad(events[-1]).text
    events = every_way(b"a APPEND x UTF8 ({3+}\r\nabc)\r\n")
    assert "literal8" in bad(events[-1]).text


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        (b"APPEND x (\\Foo) {3}", "BAD", ""),
        (b"APPEND x (\\Seen {3}", "BAD", ""),
        (b'APPEND x "99-Feb-1996 02:04:25 +0100" {3}', "BAD", ""),
        (b"APPEND x y {3}", "BAD", ""),
        (b"APPEND &AGE- {3}", "NO", "CANNOT"),
        (b"APPEND x {0}", "NO", ""),
        (b"APPEND x {1001}", "NO", "TOOBIG"),
        (b"APPEND x ~{4294967296}", "NO", "TOOBIG"),
    ],
)
def test_bad_append_is_answered_before_the_message_is_sent(line: bytes, status: str, code: str) -> None:
    (event,) = every_way(b"a " + line + b"\r\n", limits=SMALL)
    assert (bad(event).tag, bad(event).status, bad(event).code) == (b"a", status, code)


def test_bad_append_of_a_client_that_does_not_wait_stays_in_step() -> None:
    (event,) = every_way(b"a APPEND x (\\Foo) {10+}\r\nb LOGOUT\r\n\r\n")
    assert bad(event).tag == b"a"


def test_append_above_the_limit_of_a_client_that_does_not_wait_hangs_up() -> None:
    for line in (b"a APPEND x {1001+}\r\n", b"a APPEND x (\\Foo) {1001+}\r\n", b"a APPEND x {1+}\r\na y {1001+}\r\n"):
        assert isinstance(feed(line, limits=SMALL)[-1], ProtocolClosed)


def test_nul_in_a_message() -> None:
    events = every_way(b"a APPEND x {11+}\r\n\0\r\nb NOOP\r\n\r\n")
    assert [type(event) for event in events] == [AppendStarted, BadCommand]
    assert "NUL" in bad(events[-1]).text


def test_trouble_after_a_message_ends_the_command() -> None:
    for rest in (b"garbage", b" (\\Seen)", b" {3} x", b" "):
        events = every_way(b"a APPEND x {3+}\r\nabc" + rest + b"\r\n")
        assert [type(event) for event in events] == [AppendStarted, LiteralChunk, BadCommand]
    events = every_way(b"a APPEND x {3+}\r\nabc" + b"y" * 500 + b"\r\n", limits=SMALL)
    assert [type(event) for event in events] == [AppendStarted, LiteralChunk, BadCommand]


def test_one_append_has_so_many_messages() -> None:
    events = every_way(b"a APPEND x" + b" {1+}\r\ny" * 4 + b"\r\n", limits=SMALL)
    assert bad(events[-1]).code == "LIMIT"
    events = every_way(b"a APPEND x" + b" {1+}\r\ny" * 3 + b"\r\n", limits=SMALL)
    assert events[-1] == AppendFinished(b"a")


def test_append_before_login_is_no_stream() -> None:
    (event,) = every_way(b"a APPEND x {3+}\r\nabc\r\n", authenticated=False)
    assert "login" in bad(event).text
    (event,) = every_way(b"a APPEND x {300000}\r\n", authenticated=False)
    assert bad(event).code == "TOOBIG"


def test_deciding_without_a_message_is_a_mistake_of_ours() -> None:
    with pytest.raises(RuntimeError):
        make().accept_literal()


# IDLE and SASL


def test_idle() -> None:
    assert every_way(b"a IDLE\r\ndone\r\n") == [CommandReceived(b"a", "IDLE", Idle()), IdleDone()]
    events = every_way(b"a IDLE\r\nb NOOP\r\n")
    assert bad(events[-1]).tag == b"a"
    assert isinstance(feed(b"a IDLE\r\n" + b"x" * 10_000)[-1], ProtocolClosed)


def test_sasl() -> None:
    started = CommandReceived(b"a", "AUTHENTICATE", Authenticate("PLAIN"))
    assert every_way(b"a AUTHENTICATE PLAIN\r\nAGEAYg==\r\n") == [started, SaslResponse(b"\0a\0b")]
    assert every_way(b"a AUTHENTICATE PLAIN\r\n\r\n") == [started, SaslResponse(b"")]
    assert every_way(b"a AUTHENTICATE PLAIN\r\n*\r\n") == [started, SaslResponse(None)]
    assert b"\0a\0b".hex() not in repr(SaslResponse(b"\0a\0b"))


@pytest.mark.parametrize("answer", [b"AGE!!AYg==", b"AGEAYg", b"AGEAYg=", b"AGEAYg== ", b"=", b"A", b"**"])
def test_sasl_answers_are_strict_base64(answer: bytes) -> None:
    events = every_way(b"a AUTHENTICATE PLAIN\r\n" + answer + b"\r\n")
    assert bad(events[-1]).tag == b"a"


def test_a_long_sasl_answer_hangs_up() -> None:
    assert isinstance(feed(b"a AUTHENTICATE PLAIN\r\n" + b"A" * 200, limits=SMALL)[-1], ProtocolClosed)


# STARTTLS and the end


def test_starttls() -> None:
    connection = make(authenticated=False)
    connection.receive_data(b"a STARTTLS\r\n")
    assert connection.next_event() == CommandReceived(b"a", "STARTTLS", StartTls())
    assert connection.begin_tls()
    assert connection.next_event() is None
    connection.tls_started()
    connection.receive_data(b"b NOOP\r\n")
    assert connection.next_event() == CommandReceived(b"b", "NOOP", Noop())


def test_octets_in_clear_during_the_handshake_hang_up() -> None:
    connection = make(authenticated=False)
    connection.receive_data(b"a STARTTLS\r\n")
    connection.next_event()
    assert connection.begin_tls()
    connection.receive_data(b"b NOOP\r\n")
    assert isinstance(connection.next_event(), ProtocolClosed)


def test_the_end_of_input() -> None:
    connection = make()
    connection.receive_data(b"a NOOP\r\nb NO")
    connection.receive_eof()
    assert drain(connection) == [CommandReceived(b"a", "NOOP", Noop()), ProtocolClosed("")]
    assert connection.next_event() is None
    connection.receive_data(b"c NOOP\r\n")
    assert connection.next_event() is None
    assert connection.unread == 0


@pytest.mark.parametrize("begun", [b"a APPEND x {3}\r\na", b"a IDLE\r\n", b"a AUTHENTICATE X\r\n", b"a LOGIN {3}\r\n"])
def test_the_end_of_input_in_every_state(begun: bytes) -> None:
    connection = make()
    connection.receive_data(begun)
    drain(connection)
    connection.receive_eof()
    assert drain(connection) == [ProtocolClosed("")]
