"""Header fields, found by position (RFC 5322 §2.2, §3.6; ATTACKS D01, D13).

Lines end with CRLF or bare LF and with nothing else: VT, FF, NEL and U+2028 are text. One pass of compiled patterns, no
recursion, no exception for any input, at most `MAX_HEADER` octets and `MAX_FIELDS` fields; what is beyond is not read.
"""

from __future__ import annotations

import re

__all__ = ["LISTED_FIELDS", "MAX_FIELDS", "MAX_HEADER", "fields", "header_block_end", "listed_lines", "unfold", "value"]

MAX_HEADER = 1 << 20
MAX_FIELDS = 2000

#: The fields that clients ask for in their message lists, in lower case.
LISTED_FIELDS = frozenset(
    b"date subject from sender to cc bcc message-id references in-reply-to reply-to "
    b"content-type content-transfer-encoding content-disposition mime-version "
    b"list-id list-post list-unsubscribe list-unsubscribe-post list-archive list-help list-owner mailing-list "
    b"x-priority priority importance precedence auto-submitted delivered-to return-path newsgroups "
    b"resent-from resent-to resent-date authentication-results disposition-notification-to "
    b"x-spam-flag x-spam-score x-spam-status x-mailer user-agent autocrypt x-label x-keywords keywords".split()
)

# A field's name and the white space that obsolete syntax allows before its colon (RFC 5322 §4.5); its value with all
# continuation lines. Each repetition starts with something the one before it cannot match: linear.
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:((?:[^\n]*\n)(?:[ \t][^\n]*(?:\n|\Z))*|[^\n]*\Z)", re.MULTILINE)
_FOLD = re.compile(rb"\r?\n(?=[ \t]|\Z)")


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


def fields(buf: bytes, start: int = 0, end: int | None = None) -> list[tuple[bytes, int, int]]:
    """The fields of a header block: name in lower case, start of the value, end of the value (behind its line end).

    Lines that are no field are passed over. `start` must be the start of a line.
    """
    stop = min(header_block_end(buf, start, end), start + MAX_HEADER)
    found = []
    for match in _FIELD.finditer(buf, start, stop):
        found.append((match[1].lower(), match.start(2), match.end(2)))
        if len(found) == MAX_FIELDS:
            break
    return found


def unfold(raw: bytes) -> bytes:
    """A field's value as one line without outer white space (RFC 5322 §2.2.3)."""
    return (_FOLD.sub(b"", raw) if b"\n" in raw else raw).strip(b" \t\r\n")


def value(buf: bytes, name: bytes) -> bytes | None:
    """The unfolded value of the first field of this (lower-case) name."""
    for found, start, end in fields(buf):
        if found == name:
            return unfold(buf[start:end])
    return None


def listed_lines(buf: bytes) -> bytes:
    """The raw lines of `LISTED_FIELDS`, in message order."""
    stop = min(header_block_end(buf), MAX_HEADER)
    return b"".join(
        match[0] for match in _FIELD.finditer(buf, 0, stop) if match[1].lower() in LISTED_FIELDS
    )
