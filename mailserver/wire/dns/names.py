"""Domain names of DNS messages, as text in lower case without the last dot (RFC 1035 §3.1, §4.1.4)."""

from __future__ import annotations

import re

__all__ = ["encode_name", "read_name", "skip_name"]

_MAX_NAME, _MAX_LABEL = 255, 63
#: Pointers in one name: each stands for at least one label in honest messages.
_MAX_POINTERS = 32
#: Octets that need no escape in text; a dot inside a label does.
_PLAIN = re.compile(rb"[!#%&'*+,/0-9:<=>?A-Z\[\]^_`a-z{|}~.-]*")


def encode_name(name: str) -> bytes | None:
    """The name in wire form, never compressed. None: it cannot be one (labels of 1 to 63 octets, 255 in all)."""
    if not name:
        return b"\0"
    if not name.isascii() or "\\" in name:
        return None
    parts = []
    for label in name.encode("ascii").split(b"."):
        if not 0 < len(label) <= _MAX_LABEL:
            return None
        parts.append(bytes((len(label),)) + label)
    encoded = b"".join(parts) + b"\0"
    return encoded if len(encoded) <= _MAX_NAME else None


def skip_name(data: bytes, at: int) -> int:
    """Where the name at `at` ends; -1: it does not."""
    size = len(data)
    while at < size:
        length = data[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2 if at + 2 <= size else -1
        if length > _MAX_LABEL:
            return -1
        at += length + 1
    return -1


def read_name(data: bytes, at: int) -> tuple[str, int]:
    """The name at `at`, and where it ends there; ("", -1) when it is none.

    A pointer must lead further back than the last one, so a loop cannot be; a name ends at 255 octets, and with 32
    pointers: what a name can cost has a bound.
    """
    labels: list[bytes] = []
    end, floor, length, size = -1, at, 0, len(data)
    pointers = 0
    while at < size:
        octets = data[at]
        if octets == 0:
            return _text(labels), at + 1 if end < 0 else end
        if octets >= 0xC0:
            if at + 2 > size:
                break
            target = (octets & 0x3F) << 8 | data[at + 1]
            if end < 0:
                end = at + 2
            pointers += 1
            if target >= floor or pointers > _MAX_POINTERS:
                break
            at = floor = target
            continue
        length += octets + 1
        if octets > _MAX_LABEL or length >= _MAX_NAME or at + 1 + octets > size:
            break
        labels.append(data[at + 1 : at + 1 + octets])
        at += octets + 1
    return "", -1


def _text(labels: list[bytes]) -> str:
    joined = b".".join(labels).lower()
    if _PLAIN.fullmatch(joined) and joined.count(b".") == max(len(labels) - 1, 0):
        return joined.decode("ascii")
    return ".".join(_escape(label) for label in labels)


def _escape(label: bytes) -> str:
    """RFC 1035 §5.1: what is special or does not print, as \\X or \\DDD."""
    return "".join(chr(octet) if _prints(octet) else f"\\{octet:03d}" for octet in label.lower())


def _prints(octet: int) -> bool:
    return octet != ord(".") and _PLAIN.fullmatch(bytes((octet,))) is not None
