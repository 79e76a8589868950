"""Modified UTF-7, the encoding of mailbox names in IMAP4rev1 (RFC 3501 §5.1.3).

A name has exactly one encoding here: input that decodes but would not be encoded so again is refused, else two
spellings would name one mailbox, and `&AC8-` would smuggle in a separator (ATTACKS J02).
"""

from __future__ import annotations

import binascii
import re

from mailserver.model.errors import InvalidInput

__all__ = ["decode", "encode"]

_PLAIN = re.compile(r"[\x20-\x25\x27-\x7e]*")
_TO_ENCODE = re.compile(r"[^\x20-\x25\x27-\x7e]+")
_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")
_DIRECT = re.compile(rb"[\x20-\x25\x27-\x7e]+")
_NOT_CANONICAL = "the mailbox name is not in canonical modified UTF-7 (RFC 3501 section 5.1.3); send & as &-"


def encode(name: str) -> bytes:
    """The encoding of a name; surrogates, which no name of ours has, become `?`."""
    if _PLAIN.fullmatch(name):
        return name.encode("ascii")
    return _TO_ENCODE.sub(lambda found: _shift(found[0]), name).encode("ascii")


def _shift(run: str) -> str:
    # An ampersand alone is `&-`; beside characters that need base64 it stays plain too, each of its own.
    out = []
    for piece in re.split("(&)", run):
        if piece == "&":
            out.append("&-")
        elif piece:
            coded = binascii.b2a_base64(piece.encode("utf-16-be", "replace"), newline=False).rstrip(b"=")
            out.append(f"&{coded.replace(b'/', b',').decode('ascii')}-")
    return "".join(out)


def decode(raw: bytes) -> str:
    """The name that is encoded so.

    Raises:
        InvalidInput: not modified UTF-7, or not the one encoding of the name.
    """
    if b"&" not in raw:
        if not _DIRECT.fullmatch(raw) and raw:
            raise InvalidInput(_NOT_CANONICAL)
        return raw.decode("ascii")
    out: list[str] = []
    at = 0
    while at < len(raw):
        if found := _DIRECT.match(raw, at):
            out.append(found[0].decode("ascii"))
        elif found := _SHIFTED.match(raw, at):
            out.append(_unshift(found[1]))
        else:
            raise InvalidInput(_NOT_CANONICAL)
        at = found.end()
    name = "".join(out)
    if encode(name) != raw:
        raise InvalidInput(_NOT_CANONICAL)
    return name


def _unshift(coded: bytes) -> str:
    if not coded:
        return "&"
    try:
        units = binascii.a2b_base64(coded.replace(b",", b"/") + b"=" * (-len(coded) % 4))
        return units.decode("utf-16-be")
    except ValueError:
        raise InvalidInput(_NOT_CANONICAL) from None
