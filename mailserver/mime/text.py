"""The text of a part of a message: transfer encodings (RFC 2045 §6) and charsets undone.

Nothing raises, every piece is bounded by the size of what comes in, and charsets come from the list in `words.py`.
"""

from __future__ import annotations

import binascii
import re

from mailserver.mime.normal import normalized
from mailserver.mime.structure import Part
from mailserver.mime.words import decode_octets

__all__ = ["decode_transfer", "fold", "has_padding", "part_text"]

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+")
# Only from where a run begins: a long one inside a line is looked at once.
_QP_SPACE = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n)")


def decode_transfer(body: bytes, encoding: bytes | None) -> bytes:
    """Undo a Content-Transfer-Encoding (RFC 2045 §6) as far as it can be undone; unknown ones are left as they are."""
    name = (encoding or b"").lower()
    if name == b"base64":
        return _base64(body)
    if name == b"quoted-printable":
        return binascii.a2b_qp(_QP_SPACE.sub(b"", body) if has_padding(body) else body)
    return body


def has_padding(body: bytes) -> bool:
    """Whether there is white space at ends of lines, which is none of the text of quoted-printable (RFC 2045 §6.7).

    Few bodies have it, and to look costs a tenth of taking it away.
    """
    return (
        b" \r\n" in body or b" \n" in body or (b"\t" in body and (b"\t\r\n" in body or b"\t\n" in body))
    )


def _base64(body: bytes) -> bytes:
    digits = _NOT_BASE64.sub(b"", body)
    # Padding in the middle: several encoded pieces were put together. What follows it is decoded on its own.
    out = []
    for piece in digits.replace(b"==", b"=").split(b"=")[:1000]:
        usable = piece[:-1] if len(piece) % 4 == 1 else piece
        out.append(binascii.a2b_base64(usable + b"=" * (-len(usable) % 4)))
    return b"".join(out)


def part_text(buf: bytes, part: Part, limit: int | None = None) -> str:
    """The text of one text part, from at most `limit` octets of its body."""
    end = part.end if limit is None else min(part.end, part.body + limit)
    return decode_octets(decode_transfer(buf[part.body : end], part.encoding), part.charset)


def fold(text: str) -> str:
    """The form in which texts are compared: without regard to case (RFC 9051 §6.4.4), and to whether a letter with a
    mark is written as one character or as two."""
    folded = text.casefold()
    return folded if folded.isascii() else normalized("NFC", folded)
