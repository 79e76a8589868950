"""Whom a message names, and how much of it is read."""

from __future__ import annotations

import pytest

from mailserver.mime.author import named_in
from mailserver.mime.view import MessageView


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"From: Anna <Anna@Example.TEST>\r\n\r\n", [("Anna", "anna@example.test")]),
        (b"Subject: x\nFROM:\n anna@example.test\n\n", [("", "anna@example.test")]),
        (b"From: =?utf-8?q?J=C3=BCrgen?= <j@x.test>\r\n\r\n", [("Jürgen", "j@x.test")]),
        (b'From: "boss@bank.test" <evil@x.test>\r\n\r\n', [("boss@bank.test", "evil@x.test")]),
        (b'From: "a b"@x.test\r\n\r\n', [("", '"a b"@x.test')]),
        (b"From: One <a@x.test>, Two <b@y.test>\r\n\r\n", [("One", "a@x.test"), ("Two", "b@y.test")]),
        (b"From: Anna <no address>\r\n\r\n", [("Anna", None)]),
        (b"From: a@b\xc3\xbc.test\r\n\r\n", [("", "a@xn--b-eha.test")]),
        (b"From: \xff\xfe <a@x.test>\r\n\r\n", [("\ufffd\ufffd", "a@x.test")]),
        (b"From: <\xff@x.test>\r\n\r\n", [("", None)]),
        (b"From: team: a@x.test, b@x.test;\r\n\r\n", [("", "a@x.test"), ("", "b@x.test")]),
        (b"From: \r\n\r\n", []), (b"Subject: x\r\n\r\nFrom: a@x.test\r\n", []), (b"", []),
    ],
)  # fmt: skip
def test_the_author(head: bytes, expected: list[tuple[str, str | None]]) -> None:
    found = [(author.name, str(author.address) if author.address else None) for author in named_in(head)]
    assert [(name, address and address.lower()) for name, address in found] == expected
    author = MessageView.of(head).author
    assert (author and author.key) == next((address.replace('"', "") for _, address in expected if address), None)


def test_a_field_without_end() -> None:
    head = b"From: " + b"a@x.test, " * 100_000 + b"\r\n\r\n"
    assert len(named_in(head)) == 20
    assert len(named_in(b"From: " + b"(" * 1_000_000 + b"\r\n\r\n")) <= 20


def test_other_fields() -> None:
    head = b"From: a@x.test\r\nReply-To: Else <b@y.test>\r\n\r\n"
    assert [author.name for author in named_in(head, b"reply-to")] == ["Else"]
