"""A message that several look at: read once, and only what is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from mailserver.mime import view as module
from mailserver.mime.dkim.canonical import BodyDigests, BodyForm
from mailserver.mime.headers import fields, header_block_end, value
from mailserver.mime.sole_author import sole_author
from mailserver.mime.structure import parse
from mailserver.mime.text import part_text
from mailserver.mime.view import MessageView

MAIL = (
    b"From: Anna <Anna@far.test>\r\nTo: b@x.test, c@x.test\r\nSubject: one\r\n two\r\nList-Id: a\r\nList-Id: b\r\n"
    b"Message-ID: <1@far.test>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n--b\r\n\r\nmore\r\n--b--\r\n"
)


class Counted:
    """How often each thing is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        for name in ("fields", "parse", "part_text", "people", "from_author", "SignedHeader"):
            monkeypatch.setattr(module, name, self._counting(name, getattr(module, name)))

    def _counting(self, name: str, work: Any) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append(name)
            return work(*args)

        return call


def test_it_shows_what_the_message_says() -> None:
    it = MessageView.of(MAIL)
    assert it.header_size == header_block_end(MAIL) and it.fields == fields(MAIL)
    for name in (b"subject", b"list-id", b"none", b"to"):
        assert it.value(name) == value(MAIL, name)
    assert it.author is not None and it.author.key == "anna@far.test" and it.authors[0].name == "Anna"
    assert [one.address.key for one in it.named_in(b"to") if one.address] == ["b@x.test", "c@x.test"]
    assert it.named_in(b"cc") == () and it.message_id == "1@far.test"
    assert it.sole_author == sole_author(MAIL) and it.sole_author.domain == "far.test"
    texts = [it.text(part, 1000) for part in it.structure.walk() if not part.children]
    assert texts == [part_text(MAIL, part) for part in parse(MAIL).walk() if not part.children] == ["Grüße", "more"]


def test_nobody_is_the_author_of_what_reads_in_two_ways() -> None:
    for doubtful in (b"Subject: a\r\nSubject: b\r\n" + MAIL, b"From: x@evil.test\r\n" + MAIL, b""):
        assert MessageView.of(doubtful).sole_author == sole_author(doubtful)
        assert MessageView.of(doubtful).sole_author.domain == ""


def test_each_part_is_read_once_and_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    it = MessageView.of(MAIL)
    assert counted.calls == []
    for _ in range(3):
        assert it.value(b"subject") and it.author and it.sole_author.domain and it.signed_header
        assert [it.text(part, limit) for part in it.structure.children for limit in (4, 1000, 2000)]
    assert sorted(counted.calls) == [
        "SignedHeader", "fields", "from_author", "parse", "part_text", "part_text", "part_text", "people",
    ]  # fmt: skip


def test_texts_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_TEXT", 5)
    it = MessageView.of(MAIL)
    counted = Counted(monkeypatch)
    one, other = it.structure.children
    for _ in range(2):
        assert (it.text(one, 1000), it.text(other, 1000)) == ("Grüße", "more")
    assert counted.calls.count("part_text") == 3


def test_what_is_known_of_a_body_is_not_made_again() -> None:
    body = b"a  b \r\n\r\n\r\n"
    forms = {BodyForm(relaxed=True), BodyForm(relaxed=False), BodyForm(relaxed=True, limit=2)}
    first = BodyDigests(forms)
    assert first.know({})
    first.feed(body)
    first.end()
    again = BodyDigests(forms)
    assert not again.know(first.found)
    assert all(again.digest(form) == first.digest(form) and again.length(form) == first.length(form) for form in forms)
    # What is new is made, and what is known stays so.
    some = BodyDigests(forms)
    assert some.know({BodyForm(relaxed=True): first.found[BodyForm(relaxed=True)]})
    some.feed(body)
    some.end()
    assert some.found == first.found
