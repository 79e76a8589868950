"""APPEND with CATENATE: its parts as events, whole and by octets (RFC 4469); URLs of messages (RFC 5092)."""

from __future__ import annotations

import pytest

from mailserver.model.errors import InvalidInput
from mailserver.wire.imap.events import (
    AppendContinued,
    AppendFinished,
    AppendMessage,
    AppendStarted,
    BadCommand,
    CatenateEnd,
    CatenateText,
    CatenateUrl,
    Event,
    LiteralChunk,
    ProtocolClosed,
)
from mailserver.wire.imap.fetch_items import SectionText
from mailserver.wire.imap.urls import parse_message_url
from tests.helpers.wire_imap import SMALL, TRAILER, TRAILER_EVENT, every_way, feed, make

MESSAGE = AppendMessage(size=0, synchronizing=False, catenate=True)
STARTED = AppendStarted(b"a", "x", MESSAGE)
END, FINISHED = CatenateEnd(), AppendFinished(b"a")


def text(octets: bytes, *, synchronizing: bool = False, binary: bool = False) -> list[Event]:
    message = AppendMessage(size=len(octets), synchronizing=synchronizing, binary=binary)
    return [CatenateText(message), LiteralChunk(octets, last=True)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'URL "/a/;UID=1")', [CatenateUrl("/a/;UID=1"), END, FINISHED]),
        (b"url /a text {3+}\r\nabc)", [CatenateUrl("/a"), *text(b"abc"), END, FINISHED]),
        (b"TEXT {3+}\r\n)\r\n URL {2+}\r\n/a URL b)", [*text(b")\r\n"), *map(CatenateUrl, ("/a", "b")), END, FINISHED]),
        (b"TEXT ~{3+}\r\na\0b TEXT {0+}\r\n)", [*text(b"a\0b", binary=True), *text(b""), END, FINISHED]),
        (b"URL {3+}\r\n\xc3\xa4b)", [CatenateUrl("äb"), END, FINISHED]),
        (
            b"URL a) CATENATE (URL b) (\\Seen) {1+}\r\nx",
            [
                CatenateUrl("a"), END, AppendContinued(MESSAGE), CatenateUrl("b"), END,
                AppendContinued(AppendMessage(flags=frozenset({"\\Seen"}), size=1, synchronizing=False)),
                LiteralChunk(b"x", last=True), FINISHED,
            ],
        ),
    ],
)  # fmt: skip
def test_parts(line: bytes, expected: list[Event]) -> None:
    assert every_way(b"a APPEND x CATENATE (" + line + b"\r\n") == [STARTED, *expected]


@pytest.mark.parametrize(
    "line",
    [
        b")", b"URL a", b"URL a b)", b"TEXT abc)", b"PART {3+}\r\nabc)", b"TEXT {1+}\r\nx", b"TEXT {1+}\r\nx)x",
        b"URL)", b"URL {2+}\r\n\xff\xff)", b"URL a)\t", b"TEXT UTF8 (~{1+}\r\nx))",
    ],
)  # fmt: skip
def test_what_is_wrong_costs_this_command_only(line: bytes) -> None:
    events = every_way(b"a APPEND x CATENATE (" + line + b"\r\n")
    assert isinstance(events[-1], BadCommand) and events[-1].tag == b"a"
    assert events[0] == STARTED


def test_bounds() -> None:
    events = every_way(b"a APPEND x CATENATE (TEXT {1001}\r\n", limits=SMALL)
    assert isinstance(events[-1], BadCommand) and events[-1].code == "TOOBIG"
    assert isinstance(every_way(b"a APPEND x CATENATE (TEXT {1001+}\r\n", limits=SMALL)[-1], ProtocolClosed)
    assert isinstance(every_way(b"a APPEND x CATENATE (URL {8193+}\r\n")[-1], ProtocolClosed)
    assert isinstance(every_way(b"a APPEND x CATENATE (URL {8193}\r\n")[-1], BadCommand)
    many = every_way(b"a APPEND x CATENATE (" + b"URL a " * 1001 + b"URL b)\r\n")
    assert isinstance(many[-1], BadCommand) and many[-1].code == "LIMIT"


@pytest.mark.parametrize(
    "line", [b"URL a TEXT {3}\r\n", b"URL a TEXT {3+}\r\nabc URL {1+}\r\nb)\r\n", b"URL a)\r\n"]
)
def test_a_message_that_is_refused(line: bytes) -> None:
    assert feed(b"a APPEND x CATENATE (" + line + TRAILER, accept=False) == [STARTED, TRAILER_EVENT]


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (b"URL a TEXT {3}\r\n", 1),
        (b"URL a TEXT {3+}\r\nabc URL b)\r\n", 1),
        (b"TEXT {3+}\r\nabc URL b TEXT {3+}\r\nabc TEXT {3+}\r\nabc)\r\n", 3),
        (b"URL a URL b)\r\n", 1),
        (b"URL a TEXT {3}\r\n", 2),
        (b"URL a TEXT {3+}\r\nabc URL {1+}\r\nb)\r\n", 2),
    ],
)
def test_a_part_that_is_refused_ends_the_command(line: bytes, parts: int) -> None:
    connection = make()
    connection.receive_data(b"a APPEND x CATENATE (" + line + TRAILER)
    assert connection.next_event() == STARTED
    connection.accept_literal()
    for number in range(parts):
        event = connection.next_event()
        if isinstance(event, CatenateText) and number < parts - 1:
            connection.accept_literal()
    connection.refuse_literal()
    assert connection.next_event() == TRAILER_EVENT


def test_urls() -> None:
    url = parse_message_url("/INBOX;UIDVALIDITY=785799047/;UID=113330/;section=1.5.9/;PARTIAL=0.1024")
    assert (url.mailbox, url.uid, url.uid_validity, url.partial) == ("INBOX", 113330, 785799047, (0, 1024))
    assert url.section.part == (1, 5, 9) and url.section.text is None
    assert parse_message_url("/a%20b/%C3%A4/;UID=1").mailbox == "a b/ä"
    assert parse_message_url(";UID=1;PARTIAL=7").partial == (7, None)
    assert parse_message_url("/;uid=4294967295").mailbox is None
    section = parse_message_url("x/;UID=1/;SECTION=2.HEADER.FIELDS%20(%22Date%22)").section
    assert section.text is SectionText.HEADER_FIELDS and section.fields == ("date",) and section.part == (2,)


@pytest.mark.parametrize(
    "url",
    [
        "", "/INBOX", "imap://host/INBOX/;UID=1", "//host/INBOX/;UID=1", "/INBOX/;UID=0", "/INBOX/;UID=x",
        "/INBOX/;UID=1;UID=2", "/INBOX/;UID=1/;SECTION=x", "/INBOX/;UID=1/;SECTION=1]", "/INBOX/;SECTION=1/;UID=1",
        "/a b/;UID=1", "/%ff/;UID=1", "/%/;UID=1",
        "/INBOX/;UID=1;EXPIRE=2030-01-01T00:00:00Z", "/INBOX/;UID=1;URLAUTH=anonymous:internal:00", "/\u00e4/;UID=1",
        "/INBOX/;UID=1;PARTIAL=1.0", "/INBOX/;UID=1;PARTIAL=.5", "/INBOX/;UID=" + "1" * 5000,
        "/" + "x" * 9000 + "/;UID=1",
    ],
)  # fmt: skip
def test_no_urls_of_messages(url: str) -> None:
    with pytest.raises(InvalidInput):
        parse_message_url(url)
