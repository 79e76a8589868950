"""Bounds on the header of a message that comes in (RFC 5321 §6.3 loops; ATTACKS B09)."""

from __future__ import annotations

import re

from mailserver.mime.headers import header_block_end
from mailserver.model.reply import Reply
from mailserver.net.settings import LimitsSettings

__all__ = ["check_header", "delivered_to"]

_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_DELIVERED_TO = re.compile(rb"^delivered-to[ \t]*:[ \t]*([^\r\n]{1,400})", re.IGNORECASE | re.MULTILINE)
_TOO_LARGE = Reply(552, "5.3.4", "The header is too large")
_TOO_MANY = Reply(552, "5.3.4", "The header has too many fields")
_LOOP = Reply(554, "5.4.6", "Too many hops: this message runs in a circle")


def check_header(head: bytes, limits: LimitsSettings) -> Reply | None:
    """`head` is the first MiB of the message. None: within the bounds."""
    end = header_block_end(head, 0, len(head))
    if end > limits.header_size or (end == len(head) and len(head) >= limits.header_size):
        return _TOO_LARGE
    lines = head.count(b"\n", 0, end)
    if lines > limits.header_fields:
        folded = head.count(b"\n ", 0, end) + head.count(b"\n\t", 0, end)
        if lines - folded - 1 > limits.header_fields:
            return _TOO_MANY
    if end > limits.header_field and _has_long_field(head, end, limits.header_field):
        return _TOO_LARGE
    for hops, _ in enumerate(_RECEIVED.finditer(head, 0, end), 1):
        if hops > limits.received_hops:
            return _LOOP
    return None


def delivered_to(head: bytes) -> set[bytes]:
    """The addresses through which the message was forwarded before, in lower case."""
    end = header_block_end(head, 0, len(head))
    return {match[1].strip().lower() for match in _DELIVERED_TO.finditer(head, 0, end)}


def _has_long_field(head: bytes, end: int, longest: int) -> bool:
    start = at = 0
    while at < end:
        line_end = head.find(b"\n", at, end)
        line_end = end if line_end < 0 else line_end + 1
        if head[at] not in b" \t":
            start = at
        if line_end - start > longest:
            return True
        at = line_end
    return False
