"""Header fields, found by position (RFC 5322 §2.2, §3.6; ATTACKS D01, D13).

Lines end with CRLF or bare LF and with nothing else: CR alone, VT, FF, NEL and U+2028 are text. One pass of possessive
patterns, no recursion, no exception for any input; at most `MAX_HEADER` octets and `MAX_FIELDS` fields are read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from operator import itemgetter

__all__ = [
    "LISTED_FIELDS", "MAX_FIELDS", "MAX_HEADER", "Field", "field_value", "fields", "header_block_end", "select",
    "unfold", "value",
]  # fmt: skip

#: A field of a header: its name in lower case, where it begins, and where it ends with its line ends.
Field = tuple[bytes, int, int]

MAX_HEADER = 1 << 20
MAX_FIELDS = 2000

#: The fields that clients ask for in their message lists, in lower case.
LISTED_FIELDS = frozenset(
    b"date subject from sender to cc bcc message-id references in-reply-to reply-to "
    b"content-type content-transfer-encoding content-disposition mime-version "
    b"list-id list-post list-unsubscribe list-unsubscribe-post list-archive list-help list-owner mailing-list "
    b"x-priority priority importance precedence auto-submitted delivered-to return-path newsgroups "
    b"resent-from resent-to resent-date authentication-results disposition-notification-to "
    b"x-spam-flag x-spam-score x-spam-status x-mailer user-agent autocrypt x-label x-keywords keywords "
    b"content-description lines list-subscribe x-original-to mail-followup-to mail-reply-to x-draft-info "
    b"x-uniform-type-identifier x-universally-unique-identifier bimi-indicator bimi-location x-bimi-indicator-hash "
    b"dkim-signature x-k9mail-identity".split()
)

# A field with all its continuation lines, or lines that are no field. Consecutive matches leave nothing out.
_FIELD = re.compile(rb"([^:\n]*+):[^\n]*+(?:\n[ \t][^\n]*+)*+\n?|[^\n]++(?:\n[ \t][^\n]*+)*+\n?|\n")
_NAME = itemgetter(1)
_FOLD = re.compile(rb"[\r\n](?![^ \t\r\n])")
_BREAK = re.compile(rb"[\r\n]")


def header_block_end(buf: bytes, start: int = 0, end: int | None = None) -> int:
    """Where the body begins: behind the first empty line, or `end` when there is none."""
    end = len(buf) if end is None else end
    if buf.startswith(b"\r\n", start, end):
        return start + 2
    if buf.startswith(b"\n", start, end):
        return start + 1
    crlf = buf.find(b"\n\r\n", start, end)
    lf = buf.find(b"\n\n", start, end if crlf < 0 else crlf)
    if lf >= 0:
        return lf + 2
    return crlf + 3 if crlf >= 0 else end


def fields(buf: bytes, start: int = 0, end: int | None = None) -> list[Field]:
    """The fields of the header block in `buf[start:end]`, in order: name in lower case, and where the field with its
    line ends begins and ends. Lines that are no field are passed over; `start` is the start of a line."""
    return [(match[1].rstrip(b" \t").lower(), *match.span()) for match in _named(buf, start, end)]


def _named(buf: bytes, start: int, end: int | None) -> Iterator[re.Match[bytes]]:
    stop = min(header_block_end(buf, start, end), start + MAX_HEADER)
    return islice(filter(_NAME, _FIELD.finditer(buf, start, stop)), MAX_FIELDS)


def field_value(buf: bytes, start: int, end: int) -> bytes:
    """The raw value of a field: still folded, without the white space before it and the line end behind it."""
    raw = buf[buf.index(b":", start) + 1 : end]
    if raw.endswith(b"\n"):
        raw = raw[:-2] if raw.endswith(b"\r\n") else raw[:-1]
    # A value that is nothing but white space loses one space only: Dovecot's reading, which clients have cached.
    return raw.lstrip(b" \t") or raw[1:]


def unfold(raw: bytes) -> bytes:
    """A raw value as one line: line ends go, the white space that follows them stays (RFC 5322 §2.2.3)."""
    if b"\n" not in raw and b"\r" not in raw:
        return raw
    return _BREAK.sub(b" ", _FOLD.sub(b"", raw))


def value(buf: bytes, name: bytes) -> bytes | None:
    """The value, on one line and without outer white space, of the first field of this (lower-case) name."""
    for match in _named(buf, 0, None):
        if match[1].rstrip(b" \t").lower() == name:
            return unfold(field_value(buf, *match.span())).strip(b" \t")
    return None


def select(buf: bytes, found: Iterable[tuple[bytes, int, int]], names: Collection[bytes]) -> bytes:
    """The raw lines of the fields with these (lower-case) names, each with its line end, in message order."""
    return b"".join([buf[start:end] for name, start, end in found if name in names])
