"""Message-IDs in Message-ID, In-Reply-To and References (RFC 5322 §3.6.4), in one spelling (RFC 5256 §3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mailserver.mime.headers import header_block_end, value

__all__ = ["MessageIds", "first_message_id", "message_ids", "own_message_id", "read_ids", "sound_message_id"]

# A backslash outside of quotes ends the try: else `<\"` over and over would be read to the end each time.
_ID = re.compile(rb'<((?:"(?:[^"\\]|\\.)*+"|[^<>"\\])*+)>', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]+")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)"@', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_NAMED = b"\nmessage-id"
#: Fields whose names only begin like it.
_MOST_TRIED = 20
_FIELD_END = re.compile(rb"\n(?![ \t])")
#: What can be named in a line of text without being mistaken for anything else.
_SOUND = re.compile(rb"[\x21-\x3b\x3d\x3f-\x7e]{3,250}")

#: A message's own Message-ID, and those that it refers to.
MessageIds = tuple[bytes | None, list[bytes]]


def message_ids(value: bytes) -> Iterator[bytes]:
    """The valid Message-IDs of a field's value, without `<>`, in order; quoting that need not be is undone."""
    for match in _ID.finditer(value):
        text = match[1]
        if b" " in text or b"\n" in text or b"\t" in text:
            text = _SPACE.sub(b"", text)
        quoted = _QUOTED.match(text) if text.startswith(b'"') else None
        if quoted is not None:
            text = _ESCAPE.sub(rb"\1", quoted[1]) + text[quoted.end() - 1 :]
        left, at, right = text.rpartition(b"@")
        if left and at and right:
            yield text


def read_ids(texts: Mapping[bytes, bytes]) -> MessageIds:
    """From the values of the message's fields, by lower-case name (`EnvelopeFields.texts`)."""
    own = first_message_id(texts.get(b"message-id", b""))
    named = list(message_ids(texts.get(b"references", b"")))
    if not named:
        # RFC 5256 §3 THREAD: only then, and only the first of them.
        parent = first_message_id(texts.get(b"in-reply-to", b""))
        named = [] if parent is None else [parent]
    return own, named


def first_message_id(value: bytes) -> bytes | None:
    """The first valid Message-ID of a field's value."""
    return next(message_ids(value), None)


def sound_message_id(raw: bytes) -> str:
    """The first Message-ID of a field's value; "" for one that cannot stand in a line of text."""
    found = first_message_id(raw)
    return found.decode("ascii") if found is not None and _SOUND.fullmatch(found) else ""


def own_message_id(head: bytes) -> str:
    """The Message-ID of a message that begins with `head`, without `<>`; "" when there is none that can be named."""
    # With a line end before it, the first field begins like every other.
    lower = b"\n" + head[: header_block_end(head)].lower()
    at = lower.find(_NAMED)
    tried = 0
    while at >= 0 and tried < _MOST_TRIED:
        end = _FIELD_END.search(lower, at + 1)
        raw = value(head[at : end.start() if end else len(lower)], b"message-id")
        if raw is not None:
            return sound_message_id(raw)
        # Another name that begins like it.
        at = lower.find(_NAMED, at + 1)
        tried += 1
    return ""
