"""Signs that a message wants to be taken for another's (ATTACKS L16), and honest mail that looks a little like it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.findings import NOTHING, AuthResult, Reason
from tests.helpers.judging import BEN, arriving, dkim, dmarc, proofs, text
from tests.helpers.plugins import Server, alone, running


@asynccontextmanager
async def phishing(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, sections=alone("phishing"), order=("phishing",)) as server:
        yield server


async def reasons(tmp_path: Path, message: bytes, *results: AuthResult, **session: Any) -> tuple[Reason, ...]:
    async with phishing(tmp_path) as server:
        return (await server.hooks.message(arriving(message, proofs(*results), **session))).findings.reasons


def html(source: str, author: str = "Bob <bob@far.test>") -> bytes:
    message = EmailMessage()
    message["From"] = author
    message.set_content("see the other part")
    message.add_alternative(source, subtype="html")
    return message.as_bytes()


def attached(name: str) -> bytes:
    message = EmailMessage()
    message["From"] = "bob@far.test"
    message.set_content("x")
    message.add_attachment(b"MZ", maintype="application", subtype="octet-stream", filename=name)
    return message.as_bytes()


@pytest.mark.parametrize(
    ("message", "results", "points", "words"),
    [
        (text('"boss@bank.test" <x@evil.test>'), (), 1.5, "shows boss@bank.test, but it is from x@evil.test"),
        (text('"Boss <boss@bank.test>" <x@evil.test>'), (), 1.5, "shows boss@bank.test"),
        (text("=?utf-8?q?boss=40bank=2Etest?= <x@evil.test>"), (), 1.5, "shows boss@bank.test"),
        (text("example.test Helpdesk <x@evil.test>"), (), 1.5, "mentions example.test, but it is from x@evil.test"),
        (text("Anna <anna@example.test>"), (), 1.5, "claims to be from example.test, where you are yourself"),
        (text("Anna <anna@example.test>", List_Id="<l.far.test>"), (), 0.5, "claims to be from example.test"),
        (text("Anna <anna@examp1e.test>"), (), 3.0, "examp1e.test is made to look like your own example.test"),
        (text("Anna <anna@xn--exmple-4nf.test>"), (), 4.5, "exmple-4nf.test) is made to look like your own"),
        (text("Anna <anna@exampel.test>"), (), 1.5, "is one letter away from your own example.test"),
        (text("Anna <anna@example.test.evil.test>"), (), 1.5, "begins like your own example.test"),
        (text("=?utf-8?b?4oCuYmFuaw==?= <x@evil.test>"), (), 1.5, "turn the direction of writing"),
        (text("=?utf-8?q?Pay=E2=80=8BPal?= <x@evil.test>"), (), 1.5, "characters that nobody sees"),
        (text(Subject="=?utf-8?q?Inv=E2=80=8Boice?="), (), 0.5, "The subject has characters that nobody sees"),
        (text("Boss <boss@bank.test>", Reply_To="boss.bank@gmail.com"), (), 0.7, "private address: boss.bank@gmail"),
        (text("Boss <boss@mybank.test>", Reply_To="boss@rnybank.test"), (), 1.5, "which only looks like"),
        (attached("invoice\u202efdp.exe"), (), 1.5, "The name of an attached file"),
        (html('<a href="https://evil.test">https://bank.test/login</a>'), (), 1.5, "bank.test leads to evil.test"),
        (html('<a href="https://evil.test">www.bank.test</a>'), (dmarc("far.test"),), 1.0, "bank.test leads to"),
        # A name alone may be a brand; the worst one of all links counts.
        (html('<a href="https://evil.test">bank.test</a>'), (), 0.5, "shows bank.test leads to"),
        (html('<a href="//e.test">bank.test</a><a href="//e.test">bank.test/x</a>'), (), 1.5, "shows bank.test leads"),
        (html('<a href="https://bank.test@evil.test/">x</a>'), (), 1.5, "begins with bank.test, and leads"),
        (html('<a href="http://192.0.2.1/x">x</a>' * 5), (), 1.0, "a bare number"),
        (html('<a href="http://3221225985/">x</a>'), (), 1.0, "a bare number in place of a name: 3221225985"),
        (html('<a href="http://[2001:db8::1]:80/">x</a>'), (), 1.0, "a bare number in place of a name: [2001:db8::1]"),
        (html('<a href="https://xn--pypal-4ve.com">x</a>'), (), 1.0, "mixes letters of several alphabets"),
    ],
)  # fmt: skip
async def test_signs(tmp_path: Path, message: bytes, results: Any, points: float, words: str) -> None:
    found = await reasons(tmp_path, message, *results)
    assert words in " / ".join(reason.text for reason in found)
    assert sum(reason.points for reason in found) == points
    assert all(reason.check == "phishing" for reason in found)


@pytest.mark.parametrize(
    ("message", "results"),
    [
        (text(), ()),
        (text("bob@far.test <bob@far.test>"), ()),
        (text('"bob@mail.far.test" <bob@far.test>'), ()),
        (text("\"'bob@else.test' via Friends\" <friends@lists.test>", List_Id="<friends.lists.test>"), ()),
        (text("Anna <anna@example.test>"), (dkim("example.test"),)),
        (text("Anna at example <anna@mail.example.test>"), ()),
        (text("Bob <bob@far.test>", Reply_To="Bob <bob@gmail.com>", List_Id="<x.test>"), ()),
        (text("Bob <bob@gmail.com>", Reply_To="Bob <bob@gmx.de>"), ()),
        (text("Bob <bob@far.test>", Reply_To="office@far.test"), ()),
        (text("Shop <news@shop.test>", Reply_To="help@desk.test"), ()),
        (text("=?utf-8?q?=D7=93=D7=95=D7=93?= <david@far.test>"), ()),
        (text("=?utf-8?b?2YXbjOKAjNiu2YjYp9mH2YU=?= <x@far.test>"), ()),
        (text(""), ()), (text("nothing"), ()), (b"", ()), (b"\r\n\r\n", ()),
        (attached("r\u00e9sum\u00e9.pdf"), ()),
        (html('<a href="https://far.test/x">www.far.test</a><a href="https://else.test">here</a>'), ()),
        (html('<a href="https://click.esp.test/1">far.test/sale</a>'), (dkim("far.test"),)),
        (html('<a href="https://eur01.safelinks.protection.outlook.com/?url=x">bank.test</a>'), ()),
        (html('<a href="https://github.test/x/README.md">README.md</a>'), ()),
        (html('<a href="mailto:x@y.test">x@y.test</a>'), ()),
    ],
)  # fmt: skip
async def test_honest_mail(tmp_path: Path, message: bytes, results: Any) -> None:
    assert await reasons(tmp_path, message, *results) == ()


@pytest.mark.parametrize("session", [{"trusted": True}, {"account": BEN}, {"service": "submission"}])
async def test_whose_mail_is_not_looked_at(tmp_path: Path, session: dict[str, Any]) -> None:
    assert await reasons(tmp_path, text('"boss@bank.test" <x@evil.test>'), **session) == ()


async def test_much_of_everything_is_bounded(tmp_path: Path) -> None:
    links = b'<a href="https://e.test">b.test</a>' * 50
    head = "--b\r\nContent-Type: text/html; name=\"\u202e\"\r\n\r\n".encode()
    pages = (head + links) * 500
    message = text(Content_Type="multipart/mixed; boundary=b").removesuffix(b"text\r\n") + pages
    async with phishing(tmp_path) as server:
        found = (await server.hooks.message(arriving(message, to="anna@example.test"))).findings
        assert len(found.reasons) == 2 and found.score == 2.0
        assert (await server.hooks.message(arriving(b"From: " + b"<" * 900_000))).findings == NOTHING
