from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.envelope import envelope
from mailserver.mime.quote import human, nstring, string


def test_envelope() -> None:
    header = (
        b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nSubject:  =?utf-8?q?a?=\r\n\t b  \r\nFrom: Anna <a@b>\r\n"
        b"To: c@d, Group: e@f;\r\nMessage-ID: <1@b>\r\nIn-Reply-To: <0@b>\r\n <x@b>\r\n\r\nSubject: body\r\n"
    )
    assert envelope(header) == (
        b'("Fri, 20 Nov 2026 10:00:00 +0000" "=?utf-8?q?a?= b" (("Anna" NIL "a" "b")) (("Anna" NIL "a" "b")) '
        b'(("Anna" NIL "a" "b")) ((NIL NIL "c" "d")(NIL NIL "Group" NIL)(NIL NIL "e" "f")(NIL NIL NIL NIL)) NIL NIL '
        b'"<0@b> <x@b>" "<1@b>")'
    )


def test_nothing_is_nil_and_an_empty_field_is_empty() -> None:
    assert envelope(b"") == b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
    assert envelope(b"Subject:\r\nFrom:\r\nTo: \r\n\r\n") == b'(NIL "" NIL NIL NIL NIL NIL NIL NIL NIL)'


def test_sender_and_reply_to_stand_for_themselves() -> None:
    assert envelope(b"From: a@b\r\nSender: c@d\r\nReply-To: e@f\r\n") == (
        b'(NIL NIL ((NIL NIL "a" "b")) ((NIL NIL "c" "d")) ((NIL NIL "e" "f")) NIL NIL NIL NIL NIL)'
    )


def test_two_fields_of_a_name() -> None:
    assert envelope(b"Subject: a\r\nSubject: b\r\nTo: a@b\r\nTo: c@d\r\n") == (
        b'(NIL "b" NIL NIL NIL ((NIL NIL "a" "b")(NIL NIL "c" "d")) NIL NIL NIL NIL)'
    )


def test_strings() -> None:
    assert string(b'a "b" \\') == b'"a \\"b\\" \\\\"'
    assert string(b"\xc3\xa9") == b"{2}\r\n\xc3\xa9"
    assert string(b"a\r\nb") == b"{4}\r\na\r\nb"
    assert string(b"a\0b") == b"{3}\r\na\x80b"
    assert nstring(None) == b"NIL" and nstring(b"NIL") == b'"NIL"' and nstring(b"") == b'""'
    assert human(b"  a \t\r\n b  ") == b'"a b"'


@given(st.binary(max_size=200))
def test_a_string_is_one_quoted_or_one_literal(value: bytes) -> None:
    for shown in (string(value), human(value)):
        assert b"\0" not in shown
        if shown.startswith(b"{"):
            size, _, text = shown.partition(b"}\r\n")
            assert int(size[1:]) == len(text)
        else:
            assert shown[:1] == shown[-1:] == b'"' and shown.isascii() and b"\n" not in shown and b"\r" not in shown


@given(st.binary(max_size=400))
def test_any_header_has_an_envelope(header: bytes) -> None:
    assert envelope(header).startswith(b"(")
