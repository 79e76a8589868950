"""How a message is made: what is told, and what is not."""

from __future__ import annotations

import pytest

from mailserver.mime.feature_style import (
    author_style,
    body_style,
    field_style,
    html_style,
    recipient_style,
    subject_style,
)
from mailserver.mime.features import features
from mailserver.mime.view import MessageView


def test_fields_as_they_are_spelt_and_in_their_order() -> None:
    view = MessageView.of(b"Received: x\r\nfrom: a@b\r\nX-Spam-Status: No\r\nSUBJECT: x\r\nTo: c@d\r\n\r\n")
    found = list(field_style(view.head, view.fields))
    assert found == ["field from", "field SUBJECT", "field To", "field from SUBJECT", "field SUBJECT To"]
    many = MessageView.of(b"".join(b"X-%d: y\r\n" % i for i in range(1000)) + b"\r\n")
    assert len(list(field_style(many.head, many.fields))) == 119


def test_the_way_it_took_and_the_mailbox_it_lay_in_change_nothing() -> None:
    sent = b"From: a@b.example\r\nTo: c@d.example\r\nSubject: Hello\r\n\r\nHello\r\n"
    trace = b"Return-Path: <a@b.example>\r\nReceived: from x\r\nAuthentication-Results: x\r\nReceived-SPF: pass\r\n"
    assert features(trace + sent).style == features(sent).style


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"BUY THIS NOW!", {"subject in capitals", "subject ends in !"}),
        (b"Offer          xkqz", {"subject with a tail"}),
        (b"Re: lunch?", {"subject of an answer", "subject ends in ?"}),
        (b"Fwd: lunch", {"subject of a forwarded message"}),
        (b"=?utf-8?q?x?=", {"subject encoded"}),
        (b"\xe9t\xe9", {"subject in raw octets"}),
        (b"", {"subject empty"}),
        (b"USA", set()),
    ],
)
def test_subjects(value: bytes, expected: set[str]) -> None:
    assert set(subject_style(value)) == expected


def test_authors() -> None:
    assert list(author_style(b"", b"")) == ["author without an address"]
    assert list(author_style(b"<bob7@x>", b"bob7")) == ["author without a name", "author digits 1"]
    assert list(author_style(b'"BOB" <bob@x>', b"bob")) == [
        "author named", "author in quotes", "author digits 0", "author in capitals"
    ]  # fmt: skip


def test_recipients() -> None:
    assert list(recipient_style(b"a@b, c@d", b"a@b")) == ["to 2", "to its author"]
    assert list(recipient_style(b'"A" <a@b>', b"")) == ["to 1", "to a name"]
    assert list(recipient_style(b"", b"a@b")) == ["to 0"]


def test_html_and_bodies() -> None:
    assert set(html_style("<FONT COLOR=Red size='2'><td  bgcolor = \"#fff\"> color=none")) == {
        "look color red", "look size 2", "look bgcolor #fff", "look color none"
    }  # fmt: skip
    assert len(set(html_style(" ".join(f" size={i}" for i in range(1000))))) == 200
    found = set(body_style(b"HURRY NOW FRIENDS!!!\r\nonly $5\r\n", 4, 1))
    assert {"exclamations 2", "dollars 1", "words 3", "links 1", "lines of capitals 1", "raw octets 0"} <= found
    assert "capitals 7" in found
    assert len(set(body_style(b"", 0, 0))) == 9
