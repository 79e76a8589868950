"""Messages of several parts (RFC 2046 §5.1): transfer encodings that fit, and a boundary that is in none of them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BodyPart", "crlf_lines", "encoded", "join", "make_attachment", "make_part"]

# RFC 5322 §2.1.1.
_LONGEST_LINE = 998
_BARE = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class BodyPart:
    """A part in the encoding in which it travels. `encoding`: 7bit, 8bit, quoted-printable or base64. `file_name`
    (ASCII, without quotes) is that of a part to be saved."""

    media_type: str
    description: str
    encoding: str
    body: bytes
    file_name: str = ""


def crlf_lines(octets: bytes) -> bytes:
    """The same text with CRLF for whatever ends its lines, and one at its end."""
    lines = _BARE.sub(b"\r\n", octets)
    return lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n"


def encoded(body: bytes, *, eight_bit: bool) -> tuple[str, bytes]:
    """How a body with CRLF lines can travel, and as what; `eight_bit`: 8-bit octets may stay as they are."""
    clean = b"\0" not in body and max(map(len, body.split(b"\r\n"))) <= _LONGEST_LINE
    if clean and body.isascii():
        return "7bit", body
    if clean and eight_bit:
        return "8bit", body
    return "quoted-printable", binascii.b2a_qp(body)


def make_part(media_type: str, description: str, body: bytes, *, eight_bit: bool) -> BodyPart:
    """A part of text; its lines get CRLF."""
    return BodyPart(media_type, description, *encoded(crlf_lines(body), eight_bit=eight_bit))


def make_attachment(media_type: str, description: str, file_name: str, octets: bytes) -> BodyPart:
    """A part of whatever octets, to be saved as a file of that name."""
    body = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return BodyPart(media_type, description, "base64", body, file_name)


def join(parts: Sequence[BodyPart], seed: str) -> tuple[str, bytes]:
    """A boundary (the same for the same seed and parts), and the body of a multipart of these parts."""
    number = 0
    while True:
        digest = hashlib.sha256(f"{seed}.{number}".encode()).digest()[:15]
        boundary = "=_" + base64.b32encode(digest).decode("ascii")
        if all(boundary.encode() not in part.body for part in parts):
            break
        number += 1
    lines = []
    for part in parts:
        lines.append(
            f"--{boundary}\r\nContent-Description: {part.description}\r\nContent-Type: {part.media_type}\r\n"
            f"Content-Transfer-Encoding: {part.encoding}\r\n{_disposition(part)}\r\n".encode("ascii")
        )
        lines += [part.body, b"\r\n"]
    lines.append(f"--{boundary}--\r\n".encode("ascii"))
    return boundary, b"".join(lines)


def _disposition(part: BodyPart) -> str:
    return f'Content-Disposition: attachment;\r\n filename="{part.file_name}"\r\n' if part.file_name else ""
