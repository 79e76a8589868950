"""Lists of tags (RFC 6376 §3.2), as signatures and key records have them. Linear, bounded, never raising."""

from __future__ import annotations

import binascii
import re

__all__ = ["FWS", "names_of", "octets_of", "read_tags", "without_value"]

#: What may be folded away.
FWS = b" \t\r\n"
_MOST = 50
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")
_NO_FWS = bytes.maketrans(b"", b"")


def read_tags(text: bytes) -> dict[bytes, bytes] | None:
    """Name → value, both without outer white space; None when it is no list, or a tag stands in it twice."""
    parts = text.split(b";", _MOST + 1)
    if not parts[-1].strip(FWS):
        parts.pop()
    if len(parts) > _MOST:
        return None
    found: dict[bytes, bytes] = {}
    for part in parts:
        name, equals, value = part.partition(b"=")
        name = name.strip(FWS)
        if not equals or name in found or _NAME.fullmatch(name) is None:
            return None
        found[name] = value.strip(FWS)
    return found


def without_value(text: bytes, tag: bytes) -> bytes:
    """The list as it stands, but for the value of a tag: what a signature covers of itself (RFC 6376 §3.7)."""
    parts = text.split(b";")
    for number, part in enumerate(parts):
        name, equals, _ = part.partition(b"=")
        if equals and name.strip(FWS) == tag:
            parts[number] = name + equals
            break
    return b";".join(parts)


def octets_of(value: bytes, limit: int) -> bytes | None:
    """Base64, folded or not (RFC 6376 §2.10); None for nonsense, nothing, or more than `limit` octets."""
    text = value.translate(_NO_FWS, FWS)
    if not text or len(text) > (limit + 2) // 3 * 4:
        return None
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None


def names_of(value: bytes) -> list[bytes]:
    """Words separated by colons, in lower case."""
    return [name.strip(FWS).lower() for name in value.split(b":")]
