"""ATTACKS D: parsing messages. Work is counted (calls, parts), time is measured in the long runs only."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.mime.addresses import parse_addresses, read_addresses
from mailserver.mime.dates import parse_date
from mailserver.mime.envelope import envelope
from mailserver.mime.headers import MAX_FIELDS, fields, header_block_end, select, unfold, value
from mailserver.mime.params import MAX_PARAMS, decoded, parse_type
from mailserver.mime.preview import preview
from mailserver.mime.render import render
from mailserver.mime.structure import MAX_DEPTH, MAX_PARTS, parse
from mailserver.mime.text import decode_transfer, part_text
from mailserver.mime.words import decode_octets, decode_words
from mailserver.model.mailbox import Rendered


def calls(work: Callable[[], object]) -> int:
    """How many functions, of Python and of C, `work` calls."""
    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def everything(message: bytes) -> None:
    """All that the server ever does with the inside of a message."""
    root = parse(message)
    render(message)
    preview(message, root)
    parse_date(value(message, b"date") or b"")
    for part in root.walk():
        assert part.media_type is not None
        part_text(message, part)
        assert part.file_name is None or isinstance(part.file_name, str)


# -- D01 -------------------------------------------------------------------------------------------------------------

TOKENS = [
    b"From: ", b"To: ", b"Subject: ", b"Date: ", b"Message-ID: ", b"Content-Type: ", b"Content-Disposition: ",
    b"MIME-Version: ", b"Content-Transfer-Encoding: ", b"References: ", b"\r\n", b"\r\n ", b"\n", b"\r", b"\0", b":",
    b";", b",", b"<", b">", b"@", b'"', b"(", b")", b"\\", b"=", b"=?utf-8?q?", b"=?x?b?", b"?=", b"text/plain",
    b"multipart/mixed", b"boundary=b", b"--b", b"charset=",
    b"utf-7", b"*0*=", b"%", b"\xff", b"\xe2\x80\xa8", b"a", b"1", b"[", b"]", b".", b" ", b"\t", b"\x0b",
]  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=60).map(b"".join))
@settings(max_examples=300)
def test_d01_random_token_headers_never_raise(message: bytes) -> None:
    everything(message)


@pytest.mark.soak
def test_d01_a_million_random_token_headers() -> None:
    chooser = random.Random(1)
    for _ in range(1_000_000):
        everything(b"".join(chooser.choices(TOKENS, k=chooser.randint(1, 40))))


# -- D02 -------------------------------------------------------------------------------------------------------------

REPEATED: dict[str, Callable[[int], bytes]] = {
    "address list": lambda n: b"To: " + b"Anna B <a@b.example>, " * n,
    "addresses that are none": lambda n: b"To: " + b"a b <c, " * n,
    "encoded words": lambda n: b"Subject: " + b"=?utf-8?q?=C3=A9?= " * n,
    "encoded words without end": lambda n: b"Subject: " + b"=?utf-8?q?a" * n,
    "quoted strings": lambda n: b"From: " + b'"a\\"b" ' * n + b"<a@b>",
    "open quotes": lambda n: b"From: " + b'"a, ' * n,
    "comments": lambda n: b"From: " + b"(a) " * n + b"a@b",
    "open comments": lambda n: b"From: a@b " + b"(a\\) " * n,
    "parameters": lambda n: b"Content-Type: text/plain" + b"; a=b" * n,
    "broken parameters": lambda n: b"Content-Type: text/plain" + b'; ="a' * n,
    "references": lambda n: b"References: " + b"<a@b>\r\n " * n,
    "folded lines": lambda n: b"Subject: a" + b"\r\n a" * n,
    "spaces": lambda n: b"Subject: a" + b" " * n + b"b\r\nDate: " + b" " * n + b"x",
    "fields": lambda n: b"A: b\r\n" * n,
    "no fields": lambda n: b"ab\r\n" * n,
    "boundaries that are none": lambda n: b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--\r\n--a\r\n" * n,
    "quoted-printable spaces": lambda n: (
        b"Content-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1\r\n\r\n" + b" " * n + b"x"
    ),
    "html": lambda n: b"Content-Type: text/html\r\n\r\n" + b"<script><!--<b" * n,
    "marks": lambda n: b"Subject: a" + "\u0301\u0316".encode() * n,
    "blank lines": lambda n: b"\r\n" + b"\r\n" * n,
}  # fmt: skip


@pytest.mark.parametrize("shape", REPEATED)
def test_d02_twice_the_input_is_twice_the_work(shape: str) -> None:
    make = REPEATED[shape]
    small, large = (calls(lambda n=n: everything(make(n))) for n in (300, 600))  # type: ignore[misc]
    assert large <= 2.3 * small + 50


@pytest.mark.soak
@pytest.mark.parametrize("shape", REPEATED)
def test_d02_time_doubles_with_the_input(shape: str) -> None:
    make = REPEATED[shape]

    def seconds(size: int) -> float:
        message = make(size)
        best = 9.0
        for _ in range(5):
            start = time.process_time()
            everything(message)
            best = min(best, time.process_time() - start)
        return best

    for size in (16_000, 64_000):
        assert seconds(2 * size) <= 2.5 * seconds(size) + 0.005


# -- D03 to D05 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [b"(", b"a:", b"<", b'"', b"[", b"@", b",", b";", b"\\", b"((", b"=?", b"a:b,"])
@pytest.mark.parametrize("name", [b"From", b"Content-Type", b"Content-Disposition", b"Subject", b"Date"])
def test_d03_a_hundred_thousand_openings_do_not_recurse(piece: bytes, name: bytes) -> None:
    everything(name + b": " + piece * 100_000 + b"\r\n\r\n")


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_d04_depth_is_cut(depth: int) -> None:
    level = b"Content-Type: multipart/mixed; boundary=b%06d\r\n\r\n--b%06d\r\n"
    multipart = b"".join(level % (number, number) for number in range(depth))
    for message in (multipart, b"Content-Type: message/rfc822\r\n\r\n" * depth):
        parts = list(parse(message).walk())
        assert len(parts) == max(part.depth for part in parts) == MAX_DEPTH
        assert parts[-1].media_type == "application/octet-stream"
        assert parts[-1].end == len(message)
        everything(message)


def test_d05_the_number_of_parts_is_bounded() -> None:
    tiny = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 1_000_000
    digest = b"Content-Type: multipart/digest; boundary=b\r\n\r\n" + b"--b\r\n\r\nA: b\r\n\r\n\r\n" * 100_000
    for message in (tiny, digest):
        assert sum(1 for _ in parse(message).walk()) == MAX_PARTS
    assert len(render(tiny)[Rendered.BODYSTRUCTURE]) < 200 * MAX_PARTS


# -- D06 -------------------------------------------------------------------------------------------------------------


def body(boundary: bytes, *lines: bytes) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\n\r\n" + b"\r\n".join(lines) + b"\r\n"


AMBIGUOUS = {
    "two content types": (b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx", ["text/plain"]),
    "two encodings": (
        b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==",
        ["text/plain"],
    ),
    "two boundaries": (
        body(b"a; boundary=b", b"--b", b"", b"x", b"--a", b"Content-Type: text/html", b"", b"y", b"--a--", b"--b--"),
        ["text/html"],
    ),
    "an empty boundary": (body(b'""', b"--", b"", b"x", b"----"), ["text/plain"]),
    "a long boundary": (body(b"b" * 2048, b"--" + b"b" * 2048, b"", b"x", b"--" + b"b" * 2048 + b"--"), ["text/plain"]),
    "a boundary that begins another": (
        body(b"b", b"--b", b"Content-Type: multipart/mixed; boundary=bb", b"", b"--bb", b"Content-Type: text/html", b"",
             b"x", b"--bb--", b"", b"--b--"),
        ["text/html"],
    ),
    "no last boundary": (body(b"b", b"--b", b"Content-Type: text/html", b"", b"x"), ["text/html"]),
    "an outer boundary too early": (
        body(b"out", b"--out", b"Content-Type: multipart/mixed; boundary=in", b"", b"--in", b"", b"x", b"--out--"),
        ["text/plain"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_d06_there_is_one_reading_and_it_is_marked(case: str) -> None:
    message, leaves = AMBIGUOUS[case]
    root = parse(message)
    assert [part.media_type for part in root.walk() if not part.children] == leaves
    assert root.ambiguous


def test_d06_an_ordinary_message_is_not_marked() -> None:
    assert not parse(body(b'"=_1"', b"--=_1", b"", b"x", b"--=_1--")).ambiguous
    assert not parse(b"Subject: x\r\n\r\n--b\r\n").ambiguous


def test_d06_a_comment_holds_no_boundary() -> None:
    message = body(b"a(; boundary=b)", b"--b", b"", b"x", b"--a", b"Content-Type: text/html", b"", b"y", b"--a--")
    assert [part.media_type for part in parse(message).walk()] == ["multipart/mixed", "text/html"]


# -- D07 -------------------------------------------------------------------------------------------------------------


def test_d07_parameters_are_bounded_and_their_work_is_linear() -> None:
    pieces = b"".join(b"; filename*%d=x" % n for n in range(10_000))
    typed = parse_type(b"a/b" + pieces)
    assert typed is not None and len(typed.params) <= MAX_PARAMS
    small, large = (
        calls(lambda n=n: parse_type(b"a/b" + b"".join(b"; x*%d*=%%41" % i for i in range(n))))  # type: ignore[misc]
        for n in (5_000, 10_000)
    )
    assert large <= 2.3 * small


@pytest.mark.parametrize(
    ("params", "name"),
    [
        (b"filename*1=exe; filename*0=a.", "a.exe"),
        (b"filename*0=a.; filename*2=exe", None),
        (b"filename*=utf-8''a.%65xe", "a.exe"),
        (b"filename*0*=utf-8''a.%65; filename*1=xe", "a.exe"),
        (b'filename="=?utf-8?q?a.=65xe?="', "a.exe"),
        (b'filename="=?utf-8?q?=3D=3Futf-8=3Fq=3Fa.exe=3F=3D?="', "=?utf-8?q?a.exe?="),
        (b"FILENAME=a.exe", "a.exe"),
        (b"filename=a.txt; filename=a.exe", "a.txt"),
    ],
)
def test_d07_every_form_of_a_file_name_is_seen(params: bytes, name: str | None) -> None:
    message = b"Content-Disposition: attachment; " + params + b"\r\nMIME-Version: 1.0\r\n\r\nx"
    assert parse(message).file_name == name


def test_d07_a_gap_leaves_the_pieces_as_they_came() -> None:
    typed = parse_type(b"a/b; n*0=a; n*2=c")
    assert typed is not None and typed.params == ((b"n*0", b"a"), (b"n*2", b"c"))
    assert decoded(typed.params, b"n") is None


# -- D08 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [b"", b"<>", b'""@x', b"Group: a@b", b"a@b (open \\", b'"a@evil.example"', b"a@evil.example <", b"(a@evil.example)",
     b"@", b"alice@example.org)bob@evil.example", b"a@evil.example@good.example", b'"a@good.example" <a@evil.example',
     b"\\", b"Alice <alice@good.example> bob@evil.example"],
)  # fmt: skip
def test_d08_what_is_no_address_never_becomes_one(text: bytes) -> None:
    found, sound = read_addresses(text)
    envelope(b"From: " + text + b"\r\nTo: " + text + b"\r\n")
    # An empty quoted local part is well formed, though no account of anyone's.
    assert not sound or not found or text == b'""@x'
    if text.startswith((b'"a@', b"(a@")):
        assert not any(entry.is_mailbox for entry in found)


def test_d08_the_display_name_is_never_the_address() -> None:
    encoded = b"=?utf-8?q?a=40good.example?= <b@evil.example>"
    for text in (b'"a@good.example" <b@evil.example>', b"(a@good.example) b@evil.example", encoded):
        (entry,) = parse_addresses(text)
        assert (entry.mailbox, entry.domain) == (b"b", b"evil.example")


# -- D11 to D14 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [b"1 Jan 99999 00:00:00 +0000", b"1 Jan 2026 00:00:00 +99999999", b"1 Jan 2026 25:61:00 +0000",
     b"-1 Jan 2026 00:00:00 +0000", b"1 Jan -2026 00:00:00 +0000", b"32 Jan 2026 00:00:00 +0000",
     b"29 Feb 2025 00:00:00 +0000", b"1 Foo 2026 00:00:00 +0000",
     b"1 Jan 0000 00:00:00 +0000", b"1 Jan 2026 00:00:61 +0000", b"1 Jan 2026 00:00:00 +2400", b"", b"now",
     b"\xd9\xa1 Jan 2026 00:00", b"1 Jan 2026", b"(" * 1000],
)  # fmt: skip
def test_d11_a_date_that_is_none_falls_back(text: bytes) -> None:
    assert parse_date(text) is None


def test_d11_an_hour_that_a_time_change_left_out_is_a_moment() -> None:
    found = parse_date(b"29 Mar 2026 02:30:00 +0100")
    assert found is not None and found.epoch == 1_774_747_800


@pytest.mark.parametrize(
    "charset",
    [b"zlib", b"idna", b"unicode_escape", b"raw_unicode_escape", b"rot13", b"utf-7", b"hex", b"base64", b"punycode",
     b"undefined", b"mbcs", b"x" * 10_000, b"\0", b"", b"utf-8\r\nX: y", b"../../etc/passwd", b"UTF_8_SIG"],
)  # fmt: skip
@pytest.mark.parametrize(
    "octets", [b"+ADw-script+AD4-", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82", b"a\0b", b"\\x41", b"x\x9c\x03"]
)
def test_d12_only_listed_codecs_are_used(charset: bytes, octets: bytes) -> None:
    assert decode_octets(octets, charset) == octets.decode("utf-8", "replace")
    decode_words(b"=?" + charset[:40] + b"?q?" + octets + b"?=")
    message = b'Content-Type: text/plain; charset="' + charset.replace(b"\r\n", b"") + b'"\r\n\r\n' + octets
    assert "<script>" not in part_text(message, parse(message))


@pytest.mark.parametrize(
    "mark", [b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\r"]
)
def test_d13_only_crlf_and_lf_end_a_line(mark: bytes) -> None:
    header = b"Subject: a" + mark + b"Bcc: evil@x\r\nTo: b@c\r\n\r\n"
    assert [name for name, _, _ in fields(header)] == [b"subject", b"to"]
    assert value(header, b"bcc") is None
    assert select(header, fields(header), {b"subject"}) == b"Subject: a" + mark + b"Bcc: evil@x\r\n"
    assert header_block_end(b"A: b" + mark * 2 + b"\r\n\r\nx") == len(b"A: b" + mark * 2) + 4
    assert b"\n" not in unfold(b"a" + mark + b"b")


def rejoined(message: bytes) -> bytes:
    """The message put together again from its parts and from what lies between them."""
    out, pos = b"", 0
    for part in parse(message).walk():
        assert part.start >= pos
        out += message[pos : part.start] + message[part.start : part.body]
        pos = part.body
        if not part.children:
            out += message[part.body : part.end]
            pos = part.end
    return out + message[pos:]


@given(st.lists(st.sampled_from([*TOKENS, b"\r\n\r\n", b"--b--", b"\r\n--b\r\n"]), max_size=60).map(b"".join))
@settings(max_examples=300)
def test_d14_parts_joined_again_are_the_message(rest: bytes) -> None:
    message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + rest
    assert rejoined(message) == message


def test_d14_whole_messages_of_every_kind() -> None:
    count = 0
    for text in REPEATED.values():
        message = text(50)
        assert rejoined(message) == message
        everything(message)
        count += 1
    assert count == len(REPEATED)
    assert len(fields(REPEATED["fields"](MAX_FIELDS * 2))) == MAX_FIELDS
    assert decode_transfer(b"abc", None) == b"abc"
