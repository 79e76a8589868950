from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.bodystructure import body_structures
from mailserver.mime.render import render
from mailserver.mime.structure import MAX_DEPTH, MAX_PARTS, Part, parse
from mailserver.model.mailbox import Rendered

MIXED = (
    b"Subject: x\r\nContent-Type: multipart/mixed; boundary=out\r\n\r\npreamble\r\n"
    b"--out\r\n\r\nfirst\r\n"
    b"--out\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n"
    b"--in\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>\r\n--in--\r\n\r\n"
    b"--out\r\nContent-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: BASE64\r\n"
    b'Content-Disposition: attachment; filename="b.png"\r\n\r\nAAAA\r\n'
    b"--out--\r\nepilogue\r\n"
)


def outline(part: Part) -> object:
    return [outline(child) for child in part.children] if part.children else part.media_type


def bodies(buf: bytes) -> list[bytes]:
    return [buf[part.body : part.end] for part in parse(buf).walk() if not part.children]


def test_parts_by_position() -> None:
    root = parse(MIXED)
    assert outline(root) == ["text/plain", [["text/html"]], "image/png"]
    assert bodies(MIXED) == [b"first", b"<p>", b"AAAA"]
    assert not root.ambiguous
    assert root.end == len(MIXED)
    image = root.children[2]
    assert (image.encoding, image.file_name) == (b"BASE64", "b.png")
    assert root.children[1].children[0].children[0].charset == b"utf-8"


def test_section_numbers() -> None:
    root = parse(MIXED)
    nested = root.children[1].children[0]
    assert root.find(()) is root
    assert root.find((1,)) is root.children[0]
    assert root.find((2,)) is root.children[1]
    assert root.find((2, 1)) is nested.children[0]
    assert root.find((3,)) is root.children[2]
    for numbers in ((0,), (4,), (1, 1), (3, 1), (2, 2), (2, 1, 1), (1, 1, 1)):
        assert root.find(numbers) is None


def test_a_message_that_is_no_multipart_is_its_own_part_one() -> None:
    root = parse(b"Subject: x\r\n\r\nbody")
    assert root.find((1,)) is root
    assert root.find((2,)) is None and root.find((1, 1)) is None
    forwarded = parse(b"Content-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nbody")
    assert forwarded.find((1,)) is forwarded
    assert forwarded.find((1, 1)) is forwarded.children[0]


def test_a_message_without_mime_fields_has_no_content_fields() -> None:
    root = parse(b"Content-Transfer-Encoding: base64\r\n\r\nbody")
    assert root.encoding is None
    assert parse(b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nbody").encoding == b"base64"


def test_a_type_that_is_none_is_text() -> None:
    for value in (b"text", b"", b"/", b"x/", b"/y", b";charset=utf-8"):
        buf = b"Content-Type: " + value + b"\r\n\r\nbody\r\n"
        assert body_structures(buf, parse(buf))[0] == b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 1)'


def test_the_missing_last_boundary() -> None:
    buf = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n"
    assert bodies(buf) == [b"one", b"two\r\n"]
    assert parse(buf).ambiguous


def test_a_digest_has_messages() -> None:
    buf = b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\nbody\r\n--b--"
    assert body_structures(buf, parse(buf))[0] == (
        b'(("message" "rfc822" NIL NIL NIL "7bit" 18 (NIL "x" NIL NIL NIL NIL NIL NIL NIL NIL) '
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 0) 2) "digest")'
    )


def test_a_multipart_without_parts_shows_an_empty_one() -> None:
    buf = b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx"
    basic, extended = body_structures(buf, parse(buf))
    assert basic == b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")'
    assert extended == (
        b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL) "mixed" NIL NIL NIL NIL)'
    )


def test_extension_data() -> None:
    buf = (
        b"Content-Type: TEXT/Plain; Format=flowed; x*=utf-8''%41\r\nContent-ID: <i@d>\r\n"
        b"Content-Language: en, (x) de\r\n"
        b'Content-Description: a\r\n "b"\r\nContent-MD5: Q2g=\r\nContent-Location: http://x/\r\n'
        b"Content-Disposition: inline\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa9\r\n"
    )
    assert body_structures(buf, parse(buf))[1] == (
        b'("TEXT" "Plain" ("Format" "flowed" "x*" "utf-8\'\'%41" "charset" "us-ascii") "<i@d>" "a \\"b\\"" "8bit" 4 1 '
        b'"Q2g=" ("inline" NIL) ("en" "de") "http://x/")'
    )


@pytest.mark.parametrize(
    ("boundary", "line", "parts"),
    [
        (b"b", b"--b ", 1),
        (b"b", b"--bx", 1),
        (b"b", b" --b", 0),
        (b"b", b"-- b", 0),
        (b'"b b"', b"--b b", 1),
        (b'"(c)"', b"--(c)", 1),
        (b"b(c)", b"--b", 1),
    ],
)
def test_boundary_lines(boundary: bytes, line: bytes, parts: int) -> None:
    buf = b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\n\r\n" + line + b"\r\n\r\nx\r\n"
    assert len(parse(buf).children) == parts


def test_of_two_boundaries_the_longer_and_then_the_exact_one_counts() -> None:
    buf = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n"
        b"--bb\r\n\r\none\r\n--bb--\r\n--b\r\n\r\ntwo\r\n--b--"
    )
    assert outline(parse(buf)) == [["text/plain"], "text/plain"]
    assert bodies(buf) == [b"one", b"two"]
    assert parse(buf).ambiguous


def test_an_outer_boundary_ends_what_is_open_within() -> None:
    buf = (
        b"Content-Type: multipart/mixed; boundary=out\r\n\r\n"
        b"--out\r\nContent-Type: multipart/mixed; boundary=in\r\n\r\n"
        b"--in\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n--out\r\n\r\nlast\r\n--out--"
    )
    root = parse(buf)
    assert outline(root) == [[["text/plain"]], "text/plain"]
    assert bodies(buf) == [b"", b"last"]
    assert root.ambiguous


def test_limits() -> None:
    nested = b"Content-Type: multipart/mixed; boundary=b%03d\r\n\r\n--b%03d\r\n"
    deep = b"".join(nested % (n, n) for n in range(MAX_DEPTH + 50))
    parts = list(parse(deep).walk())
    assert max(part.depth for part in parts) == MAX_DEPTH
    assert parts[-1].media_type == "application/octet-stream"
    wide = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * (MAX_PARTS + 50)
    root = parse(wide)
    assert len(list(root.walk())) == MAX_PARTS
    assert root.children[-1].end == len(wide)


HEADERS = [
    b"Content-Type: multipart/mixed; boundary=b", b"Content-Type: multipart/digest; boundary=bb", b"MIME-Version: 1.0",
    b"Content-Type: multipart/mixed; boundary=", b"Content-Type: message/rfc822", b"Content-Type: text/html", b"junk",
]  # fmt: skip
PIECES = [b"\r\n", b"\n", b"\r", b"--b", b"--bb", b"--b--", b"--", b"\r\n\r\n", b"x", b" "]
PIECES += [header + b"\r\n" for header in HEADERS]


@given(st.one_of(st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join), st.binary(max_size=100)))
def test_any_message_has_parts_within_each_other(buf: bytes) -> None:
    root = parse(buf)
    for part in root.walk():
        assert part.start <= part.body <= part.end <= len(buf)
        pos = part.body
        for child in part.children:
            assert pos <= child.start and child.end <= part.end
            pos = child.end
    rendered = render(buf)
    assert set(rendered) == set(Rendered)
    for piece in (rendered[Rendered.BODY], rendered[Rendered.BODYSTRUCTURE], rendered[Rendered.ENVELOPE]):
        assert piece.startswith(b"(") and piece.endswith(b")")
