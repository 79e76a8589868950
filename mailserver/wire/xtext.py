"""Texts inside of ESMTP parameters: xtext (RFC 3461 §4) and the forms of internationalized addresses (RFC 6533 §3).

What stands encoded in an envelope may stand for anything, CR LF too (ATTACKS E09): only printable text is ever decoded.
"""

from __future__ import annotations

import re

__all__ = ["ascii_unitext", "decode_unitext", "decode_xtext", "encode_unitext", "encode_xtext"]

_HEX = re.compile(r"\+([0-9A-F]{2})")
_XCHARS = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*")
_NOT_XCHAR = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")
_POINT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_NOT_QCHAR = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")


def decode_xtext(text: str) -> str | None:
    """The printable ASCII text that xtext stands for; None when it is no xtext, or stands for anything else."""
    if not _XCHARS.fullmatch(text):
        return None
    decoded = _HEX.sub(lambda match: chr(int(match[1], 16)), text)
    return decoded if decoded.isascii() and decoded.isprintable() else None


def encode_xtext(text: str) -> str:
    """ASCII text as xtext."""
    return _NOT_XCHAR.sub(lambda match: "".join(f"+{octet:02X}" for octet in match[0].encode()), text)


def decode_unitext(text: str) -> str | None:
    r"""The address that utf-8-addr-xtext or utf-8-addr-unitext stands for (`\x{...}` undone), None as above."""
    decoded = _POINT.sub(_character, _HEX.sub(lambda match: chr(int(match[1], 16)), text))
    return decoded if decoded.isprintable() else None


def _character(match: re.Match[str]) -> str:
    point = int(match[1], 16)
    # A surrogate, or more than Unicode has, is no character: what is not printable makes the whole text be left alone.
    return chr(point) if point < 0x110000 and not 0xD800 <= point < 0xE000 else "\0"


def encode_unitext(address: str) -> str:
    """utf-8-addr-xtext: the form of an address that stays ASCII everywhere."""
    return _NOT_QCHAR.sub(_point, address)


def ascii_unitext(text: str) -> str:
    """utf-8-addr-unitext as utf-8-addr-xtext, for transactions without SMTPUTF8; what is encoded already stays so."""
    return _NOT_ASCII.sub(_point, text)


def _point(match: re.Match[str]) -> str:
    return f"\\x{{{ord(match[0]):02X}}}"
