"""Strings as IMAP sends them (RFC 9051 §4.3): quoted where that is allowed, else a literal."""

from __future__ import annotations

import re

__all__ = ["human", "nstring", "string"]

# RFC 9051 §9 TEXT-CHAR without quoted-specials: most values need neither an escape nor a literal.
_PLAIN = re.compile(rb'[\x01-\x09\x0b\x0c\x0e-\x21\x23-\x5b\x5d-\x7f]*')
_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]*")
_SPECIAL = re.compile(rb'(["\\])')
_SPACE = re.compile(rb"[ \t\r\n]+")
_UNTIDY = re.compile(rb"[\t\r\n\0]|  |^ | \Z")


def string(value: bytes) -> bytes:
    """A quoted string or a literal. NUL, which IMAP cannot carry (RFC 9051 §9 CHAR8), becomes 0x80."""
    if _PLAIN.fullmatch(value):
        return b'"%b"' % value
    if _QUOTABLE.fullmatch(value):
        return b'"%b"' % _SPECIAL.sub(rb"\\\1", value)
    value = value.replace(b"\0", b"\x80")
    return b"{%d}\r\n%b" % (len(value), value)


def nstring(value: bytes | None) -> bytes:
    """A string, or NIL for None."""
    return b"NIL" if value is None else string(value)


def human(value: bytes) -> bytes:
    """A string that people read: each run of white space is one space, none at the ends."""
    if _UNTIDY.search(value):
        value = _SPACE.sub(b" ", value).strip(b" ")
    return string(value)
