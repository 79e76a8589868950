from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.params import (
    MAX_PARAMS,
    decoded,
    parse_atoms,
    parse_disposition,
    parse_token,
    parse_type,
)


@pytest.mark.parametrize(
    ("raw", "params"),
    [
        (b"text/plain", ()),
        (b"text/plain; charset=UTF-8", ((b"charset", b"UTF-8"),)),
        (b'text/plain;a="b;c\\"d";e=f;', ((b"a", b'b;c"d'), (b"e", b"f"))),
        (b"text/plain (c) ; a = b (d) ; e=f", ((b"a", b"b"), (b"e", b"f"))),
        (b"text/plain;\r\n a=b;\r\n\tc=d", ((b"a", b"b"), (b"c", b"d"))),
        (b"text/plain; junk; a=b", ((b"a", b"b"),)),
        (b'text/plain; a="b', ()),
        (b"text/plain; a=b c=d; e=f", ((b"a", b"b"), (b"e", b"f"))),
        (b"text/plain; a==?utf-8?q?x?=; b=c", ((b"a", b"=?utf-8?q?x?="), (b"b", b"c"))),
        (b"text/plain; n*1=b; n*0=a", ((b"n", b"ab"),)),
        (b"text/plain; n*0*=utf-8'en'a%20; n*1=b%; z=y", ((b"z", b"y"), (b"n*", b"utf-8'en'a%20b%25"))),
        (b"text/plain; n*0=a; n*2=c", ((b"n*0", b"a"), (b"n*2", b"c"))),
        (b"text/plain; n*=utf-8''%C3%A9", ((b"n*", b"utf-8''%C3%A9"),)),
        (b"text/plain; n**=x; n*a=y", ((b"n**", b"x"), (b"n*a", b"y"))),
    ],
)
def test_parameters(raw: bytes, params: tuple[tuple[bytes, bytes], ...]) -> None:
    assert parse_type(raw) == (b"text", b"plain", params)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"a/b; filename=x.txt", "x.txt"),
        (b"a/b; filename*=utf-8''%C3%A9%2Etxt", "é.txt"),
        (b"a/b; filename*=iso-8859-1'de'%E9", "é"),
        (b"a/b; filename=plain; filename*=utf-8''better", "better"),
        (b'a/b; filename="=?utf-8?q?=C3=A9?=.txt"', "é.txt"),
        (b"a/b; filename*0*=utf-8''%C3; filename*1*=%A9; filename*2=%41", "é%41"),
        (b"a/b; filename*=zlib''%41", "A"),
        (b"a/b; filename*=nonsense", "nonsense"),
        (b"a/b; name=x", None),
    ],
)
def test_decoded(raw: bytes, text: str | None) -> None:
    typed = parse_type(raw)
    assert typed is not None
    assert decoded(typed.params, b"filename") == text


def test_other_fields() -> None:
    assert parse_disposition(b"Attachment; filename=a") == (b"Attachment", ((b"filename", b"a"),))
    assert parse_disposition(b"(open") is None
    assert parse_token(b" (c) 8bit (d)") == b"8bit"
    assert parse_token(b"7bit foo") is None and parse_token(b"") is None
    assert parse_atoms(b"en, (x) de-DE , ") == [b"en", b"de-DE"]


def test_the_number_of_parameters_is_bounded() -> None:
    typed = parse_type(b"text/plain" + b"".join(b"; p%d=x" % n for n in range(10_000)))
    assert typed is not None and len(typed.params) == MAX_PARAMS


PIECES = [
    b"a", b"/", b";", b"=", b'"', b"*", b"*0", b"*1", b"*0*", b" ", b"(", b")", b"\\", b"''", b"%41", b"\r\n ", b"\xe9",
    b"=?utf-8?q?x?=",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join))
def test_any_value_is_read_without_complaint(raw: bytes) -> None:
    typed = parse_type(raw)
    if typed is not None:
        for name, _ in typed.params:
            decoded(typed.params, name.lower().rstrip(b"*"))
    parse_disposition(raw)
    parse_token(raw)
    parse_atoms(raw)
