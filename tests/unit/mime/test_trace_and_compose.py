from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime import compose, trace
from mailserver.mime.addresses import parse_addresses
from mailserver.mime.headers import fields, value
from mailserver.mime.structure import parse
from mailserver.mime.text import part_text
from mailserver.mime.words import decode_words

NOON = 1_795_168_800


def received(**changes: str) -> bytes:
    facts = {
        "helo": "client.test", "peer": "192.0.2.1", "by": "mx.test", "protocol": "ESMTPS", "queue_id": "0abc",
    } | changes  # fmt: skip
    return trace.received(epoch=NOON, **facts)


def test_received() -> None:
    assert received(recipient="a@b", tls="TLSv1.3 with cipher X", peer_name="host.test") == (
        b"Received: from client.test (host.test [192.0.2.1])\r\n"
        b"\t(using TLSv1.3 with cipher X)\r\n"
        b"\tby mx.test with ESMTPS id 0abc\r\n"
        b"\tfor <a@b>;\r\n"
        b"\tFri, 20 Nov 2026 10:00:00 +0000\r\n"
    )
    assert b"([IPv6:2001:db8::1])" in received(peer="2001:db8::1")
    assert b"id 0abc;\r\n" in received()


def test_return_path() -> None:
    assert trace.return_path(None) == b"Return-Path: <>\r\n"
    assert trace.return_path("a@b") == b"Return-Path: <a@b>\r\n"


FACTS = ["helo", "peer", "peer_name", "by", "protocol", "queue_id", "recipient", "tls"]


@given(st.text(max_size=60), st.sampled_from(FACTS))
def test_a_peer_cannot_begin_a_line(text: str, name: str) -> None:
    line = received(**{name: text})
    assert [name for name, _, _ in fields(line)] == [b"received"]
    assert line.count(b"\n") == line.count(b"\r\n") == line.count(b"\r")
    assert b"\0" not in line
    assert len(fields(trace.return_path(text))) == 1


def test_missing_fields() -> None:
    assert compose.missing_fields({b"date", b"message-id"}, epoch=NOON, message_id="a@b") == b""
    assert compose.missing_fields({b"subject"}, epoch=NOON, message_id="a@b") == (
        b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <a@b>\r\n"
    )


def test_a_message_of_our_own() -> None:
    plain = compose.message(
        sender="postmaster@example.test", to="anna@example.test", subject="Welcome", text="Hello\n.\nyou",
        epoch=NOON, message_id="1@example.test",
    )  # fmt: skip
    assert plain.endswith(b"Content-Transfer-Encoding: 7bit\r\n\r\nHello\r\n.\r\nyou\r\n")
    assert value(plain, b"date") == b"Fri, 20 Nov 2026 10:00:00 +0000"


@given(st.text(max_size=200), st.text(max_size=40), st.text(max_size=120))
def test_any_text_comes_back(subject: str, name: str, text: str) -> None:
    made = compose.message(
        sender="p@x", sender_name=name, to="a@y", subject=subject, text=text, epoch=NOON, message_id="1@x"
    )
    assert made.count(b"\n") == made.count(b"\r\n") == made.count(b"\r") - text.count("\r") * made.count(b"7bit")
    assert [field for field, _, _ in fields(made)] == [
        b"date", b"from", b"to", b"subject", b"message-id", b"auto-submitted", b"mime-version", b"content-type",
        b"content-transfer-encoding",
    ]  # fmt: skip
    shown = decode_words(value(made, b"subject") or b"")
    clean = "".join(" " if ord(c) < 32 or ord(c) == 127 else c for c in subject)
    assert shown.split() == clean.encode("utf-8", "replace").decode().split()
    (author,) = parse_addresses(value(made, b"from") or b"")
    assert (author.mailbox, author.domain) == (b"p", b"x")
    assert part_text(made, parse(made)).startswith(text.replace("\n", "\r\n").encode("utf-8", "replace").decode())
