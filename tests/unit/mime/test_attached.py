"""Parts that programs write for programs; files in messages of our own; who claims to have signed."""

from __future__ import annotations

import email
import email.policy
from typing import Any

from mailserver.mime.attached import find_part
from mailserver.mime.dkim.signing import signing_domains
from mailserver.mime.multipart import join, make_attachment, make_part


def test_a_file_goes_out_and_is_found() -> None:
    octets = bytes(range(256)) * 50
    parts = [
        make_part("text/plain; charset=utf-8", "Text", b"Hello\n", eight_bit=False),
        make_attachment("application/x", "File", "a!b.gz", octets),
    ]
    boundary, body = join(parts, "seed")
    message = f'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'.encode() + body
    assert find_part(message, ("application/y", "application/x")) == ("application/x", octets)
    read: Any = email.message_from_bytes(message, policy=email.policy.SMTP)
    text, file = read.iter_parts()
    assert (file.get_filename(), file.get_content()) == ("a!b.gz", octets)
    assert text.get_content_disposition() is None
    assert max(map(len, message.split(b"\r\n"))) <= 78


def test_parts_of_messages_within_do_not_count() -> None:
    inner = b"Content-Type: application/x\r\n\r\noctets"
    message = b"Content-Type: message/rfc822\r\n\r\n" + inner
    assert find_part(message, ("application/x",)) is None
    assert find_part(inner, ("application/x",)) == ("application/x", b"octets")


def test_who_claims_to_have_signed() -> None:
    header = (
        b"DKIM-Signature: v=1; a=rsa-sha256;\r\n\td=One.test; s=x; bh=d=no.test; b=eA==\r\n"
        b"dkim-signature: d=two.test\r\n"
        b"DKIM-Signature: v=1; xd=three.test; d=a b.test;\r\n"
        b"From: <a@b.test>\r\n\r\nDKIM-Signature: d=body.test\r\n"
    )
    assert signing_domains(header) == {"one.test", "two.test"}
