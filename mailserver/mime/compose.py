"""Messages of our own, and what a submitted message may lack (RFC 6409 §8)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Sequence

from mailserver.mime.dates import format_date

__all__ = ["message", "missing_fields", "phrase", "unstructured"]

_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN = re.compile(r"[A-Za-z0-9 .!#$%&'*+/?^_`{|}~-]*")
# RFC 2047 §2: at most 75 characters an encoded word; 45 octets are 60 digits of base64.
_WORD_OCTETS = 45


def missing_fields(names: Collection[bytes], *, epoch: float, message_id: str) -> bytes:
    """Date and Message-ID, as lines to put on top of a header that lacks them (RFC 6409 §8.2, §8.3); else b"".

    `names` are those of its fields, in lower case; `message_id` comes without its angle brackets. Date is the moment of
    submission.
    """
    lines = []
    if b"date" not in names:
        lines.append(f"Date: {format_date(epoch)}\r\n")
    if b"message-id" not in names:
        lines.append(f"Message-ID: <{_UNSAFE.sub('', message_id)}>\r\n")
    return "".join(lines).encode("utf-8", "replace")


def message(
    *,
    sender: str,
    sender_name: str = "",
    to: str,
    subject: str,
    text: str,
    epoch: float,
    message_id: str,
    auto_submitted: str = "auto-generated",
    reply_to: str = "",
    answers: str = "",
    references: Sequence[str] = (),
) -> bytes:
    """A small text message of the server's own, with CRLF line ends.

    Args:
        sender: The address in From.
        sender_name: A display name for it, in any script.
        to: The address in To.
        subject: In any script, one line.
        text: The body; it travels as base64 unless it is ASCII with short lines.
        epoch: Seconds since 1970 UTC.
        message_id: Without angle brackets.
        auto_submitted: RFC 3834 §5, so that nobody answers it automatically.
        reply_to: The address to answer to, where it is not that in From.
        answers: The Message-ID of the message that this is an answer to, without angle brackets.
        references: Message-IDs of those before that one, likewise.
    """
    name = f"{phrase(sender_name)} " if sender_name else ""
    lines = [
        f"Date: {format_date(epoch)}",
        f"From: {name}<{_UNSAFE.sub('', sender)}>",
        f"To: <{_UNSAFE.sub('', to)}>",
        *([f"Reply-To: <{_UNSAFE.sub('', reply_to)}>"] if reply_to else []),
        f"Subject: {unstructured(subject)}",
        f"Message-ID: <{_UNSAFE.sub('', message_id)}>",
        *_thread(answers, references),
        f"Auto-Submitted: {_UNSAFE.sub('', auto_submitted)}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
    ]
    encoding, body = _encoded(text)
    lines.append(f"Content-Transfer-Encoding: {encoding}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace") + body


def _encoded(text: str) -> tuple[str, bytes]:
    body = "\r\n".join(text.split("\n")).encode("utf-8", "replace")
    encoding = "7bit"
    if not body.isascii() or any(len(line) > 78 for line in body.split(b"\r\n")) or b"\0" in body:
        encoding, body = "base64", base64.encodebytes(body).replace(b"\n", b"\r\n")
    return encoding, body if body.endswith(b"\r\n") else body + b"\r\n"


def _thread(answers: str, references: Sequence[str]) -> list[str]:
    """In-Reply-To and References (RFC 5322 §3.6.4)."""
    if not answers:
        return []
    ids = [f"<{_UNSAFE.sub('', one)}>" for one in (*references, answers)]
    return [f"In-Reply-To: {ids[-1]}", "References: " + "\r\n ".join(ids)]


def phrase(text: str) -> str:
    """A display name, in any script, as it may stand before an address."""
    clean = _UNSAFE.sub(" ", text)
    if _PLAIN.fullmatch(clean):
        return f'"{clean}"'
    if clean.isascii():
        return '"' + re.sub(r'(["\\])', r"\\\1", clean) + '"'
    return _encoded_words(clean)


def unstructured(text: str) -> str:
    """Text as the value of Subject and its like: on one line, in encoded words where it must be (RFC 2047)."""
    clean = _UNSAFE.sub(" ", text)
    return clean if clean.isascii() and "=?" not in clean else _encoded_words(clean)


def _encoded_words(text: str) -> str:
    """RFC 2047 §5: whole characters in each word, words on lines of their own."""
    words, piece = [], b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(piece) + len(octets) > _WORD_OCTETS:
            words.append(piece)
            piece = b""
        piece += octets
    words.append(piece)
    return "\r\n ".join(f"=?utf-8?B?{binascii.b2a_base64(word, newline=False).decode('ascii')}?=" for word in words)
