from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.headers import (
    MAX_FIELDS,
    MAX_HEADER,
    field_value,
    fields,
    header_block_end,
    select,
    unfold,
    value,
)

HEADER = b"From: a@b\r\nSUBJECT : one\r\n two\r\n\tthree\r\nno field\r\n more of it\r\nX:\r\n\r\nBody: not a field\r\n"


def found(buf: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, field_value(buf, start, end)) for name, start, end in fields(buf)]


@pytest.mark.parametrize(
    ("buf", "end"),
    [
        (b"", 0),
        (b"\r\nbody", 2),
        (b"\nbody", 1),
        (b"A: b\r\n\r\nbody", 8),
        (b"A: b\n\nbody", 6),
        (b"A: b\r\n\nbody", 7),
        (b"A: b\n\r\nbody", 7),
        (b"A: b\r\nC: d", 10),
        (b"A: b\r\n \r\n\r\nbody", 11),
        (b"A: b\r\r\n\r\r\n", 10),
    ],
)
def test_the_header_ends_at_the_first_empty_line(buf: bytes, end: int) -> None:
    assert header_block_end(buf) == end


def test_fields_have_lower_case_names_and_keep_their_folding() -> None:
    assert found(HEADER) == [(b"from", b"a@b"), (b"subject", b"one\r\n two\r\n\tthree"), (b"x", b"")]
    assert value(HEADER, b"subject") == b"one two\tthree"
    assert value(HEADER, b"x") == b""
    assert value(HEADER, b"body") is None
    assert select(HEADER, fields(HEADER), {b"subject", b"x"}) == b"SUBJECT : one\r\n two\r\n\tthree\r\nX:\r\n"


def test_a_value_of_white_space_alone_loses_one() -> None:
    assert found(b"A:  \r\nB: \t c \r\nC:d\r\nE:\r\n f\r\n") == [
        (b"a", b" "), (b"b", b"c "), (b"c", b"d"), (b"e", b"\r\n f"),
    ]  # fmt: skip


def test_only_crlf_and_lf_end_a_line() -> None:
    text = b"a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\xe2\x80\xa8h\ri"
    assert found(b"A: " + text + b"\r\nB: c\n") == [(b"a", text), (b"b", b"c")]


def test_unfold_takes_line_ends_away_and_keeps_white_space() -> None:
    assert unfold(b"a\r\n b\n\tc\r\n") == b"a b\tc"
    assert unfold(b"a\rb") == b"a b"


def test_what_is_beyond_the_limits_is_not_read() -> None:
    assert len(fields(b"A: b\r\n" * (MAX_FIELDS + 10))) == MAX_FIELDS
    assert fields(b"A: " + b"x" * MAX_HEADER + b"\r\nB: c\r\n")[0][2] == MAX_HEADER
    assert len(fields(b"A: " + b"x" * MAX_HEADER + b"\r\nB: c\r\n")) == 1


@given(st.binary(max_size=300))
def test_fields_lie_in_the_header_one_behind_the_other(buf: bytes) -> None:
    pos = 0
    for name, start, end in fields(buf):
        assert pos <= start < end <= header_block_end(buf)
        assert buf[start:end].lower().startswith(name)
        field_value(buf, start, end)
        pos = end
