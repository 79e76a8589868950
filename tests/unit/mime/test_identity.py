"""EMAILID and THREADID (RFC 8474 §5)."""

from __future__ import annotations

import pytest

from mailserver.mime.envelope import read_fields
from mailserver.mime.headers import fields
from mailserver.mime.identity import email_id, thread_id
from mailserver.mime.message_ids import read_ids


def thread(head: bytes, own: bytes = b"Mx") -> bytes:
    message = head + b"\r\n\r\nbody"
    return thread_id(read_ids(read_fields(message, fields(message)).texts), own)


FIRST = thread(b"Message-ID: <a@b>")


def test_an_email_id_is_of_the_octets() -> None:
    assert email_id(b"a") == email_id(b"a") != email_id(b"b")
    assert email_id(b"a").startswith(b"M") and len(email_id(b"a")) == 41


@pytest.mark.parametrize(
    "head",
    [
        b"Message-ID: <c@d>\r\nReferences: <a@b> <x@y>",
        b"References:\r\n <a@b>\r\n <x@y>\r\nIn-Reply-To: <other@one>",
        b"In-Reply-To: Anna's message of Monday <a@b>\r\nMessage-ID: <c@d>",
        b"References: nothing\r\nIn-Reply-To: <>\r\nMessage-ID:<a\r\n @b>",
        b"References: <no-id> <a@b>",
        b'Message-ID: <"a"@b>',
        b"message-id: <c@d>\r\nMessage-ID: <a@b>",
    ],
)
def test_the_first_id_that_is_known_names_the_thread(head: bytes) -> None:
    assert thread(head) == FIRST


def test_a_message_without_ids_is_a_thread_of_its_own() -> None:
    alone = thread(b"Subject: x\r\nReferences: <<<", own=b"M1")
    assert alone.startswith(b"T") and alone != thread(b"Subject: x", own=b"M2")
    assert alone == thread(b"Subject: other", own=b"M1")


def test_a_long_header_is_read_once() -> None:
    assert thread(b"References: " + b"<" * 500_000).startswith(b"T")
