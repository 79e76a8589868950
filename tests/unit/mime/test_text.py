from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.structure import parse
from mailserver.mime.text import decode_transfer, part_text

MULTIPART = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble words\r\n"
    b"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"> quoted before\r\nGr=FC=DFe aus K=F6ln, l=\r\nang\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?innen=C3=A9?=\r\n\r\ninner text\r\n"
    b"--b\r\nContent-Type: application/octet-stream\r\n\r\nbinary words\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("encoding", "body", "plain"),
    [
        (None, b"a=20b", b"a=20b"),
        (b"8BIT", b"\xe9", b"\xe9"),
        (b"Quoted-Printable", b"a=20b=\r\nc \t\r\nd=3d", b"a bc\r\nd="),
        (b"quoted-printable", b"a=zz=", b"a=zz"),
        (b"base64", b"YWJj\r\nZGVm\r\n", b"abcdef"),
        (b"BASE64", b"YW!Jj=junk", b"abc\x8e\xe9\xe4"),
        (b"base64", b"YQ==YWI=YWJj", b"aababc"),
        (b"base64", b"YWJjZ", b"abc"),
        (b"x-unknown", b"abc", b"abc"),
    ],
)
def test_transfer_encodings(encoding: bytes | None, body: bytes, plain: bytes) -> None:
    assert decode_transfer(body, encoding) == plain


def test_the_text_of_parts() -> None:
    _, text, _, inner, binary = parse(MULTIPART).walk()
    assert part_text(MULTIPART, text) == "> quoted before\r\nGrüße aus Köln, lang"
    assert part_text(MULTIPART, inner) == "inner text"
    assert part_text(MULTIPART, binary) == "binary words"


@given(st.binary(max_size=200), st.sampled_from([b"base64", b"quoted-printable", b"", b"uuencode"]))
def test_any_body_is_decoded(body: bytes, encoding: bytes) -> None:
    assert len(decode_transfer(body, encoding)) <= len(body) + 3


@given(st.binary(max_size=150))
def test_any_message_has_texts(body: bytes) -> None:
    for kind in (b"text/html; charset=utf-16", b"text/plain; charset=zlib", b"multipart/mixed; boundary=a"):
        buf = b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + body
        assert all(part_text(buf, part) is not None for part in parse(buf).walk())


def test_part_text_reads_no_more_than_asked() -> None:
    buf = b"\r\n0123456789"
    assert part_text(buf, parse(buf), 4) == "0123"
