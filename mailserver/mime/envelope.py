"""ENVELOPE (RFC 9051 §7.5.2) from a header block.

Of a text field that is there twice the last one counts, of address fields all: one reading, the same as Dovecot's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mailserver.mime.addresses import Address, parse_addresses, render_addresses
from mailserver.mime.headers import field_value, fields, unfold
from mailserver.mime.quote import human, nstring

__all__ = ["EnvelopeFields", "envelope", "envelope_of", "read_fields"]

_TEXTS = frozenset((b"date", b"subject", b"in-reply-to", b"message-id", b"references"))
_LISTS = frozenset((b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"))


class EnvelopeFields(NamedTuple):
    """The fields that say what a message is, by lower-case name: raw values, still folded, and address lists."""

    texts: Mapping[bytes, bytes]
    lists: Mapping[bytes, Sequence[Address]]


def read_fields(buf: bytes, found: Iterable[tuple[bytes, int, int]]) -> EnvelopeFields:
    """Of the fields that `headers.fields` has found in `buf`. References are among the texts."""
    texts: dict[bytes, bytes] = {}
    lists: dict[bytes, list[Address]] = {}
    for name, start, end in found:
        if name in _LISTS:
            lists.setdefault(name, []).extend(parse_addresses(field_value(buf, start, end)))
        elif name in _TEXTS:
            texts[name] = field_value(buf, start, end)
    return EnvelopeFields(texts, lists)


def envelope(header: bytes) -> bytes:
    """The ENVELOPE of the header block that `header` begins with, with its parentheses."""
    return envelope_of(read_fields(header, fields(header)))


def envelope_of(found: EnvelopeFields) -> bytes:
    """The same from fields that were read."""
    texts = found.texts
    shown = {name: render_addresses(addresses) for name, addresses in found.lists.items() if addresses}
    # RFC 9051 §7.5.2: a message without Sender or Reply-To has the value of From there.
    author = shown.get(b"from", b"NIL")
    subject = texts.get(b"subject")
    parts = (
        _line(texts.get(b"date")),
        b"NIL" if subject is None else human(subject),
        author,
        shown.get(b"sender", author),
        shown.get(b"reply-to", author),
        shown.get(b"to", b"NIL"),
        shown.get(b"cc", b"NIL"),
        shown.get(b"bcc", b"NIL"),
        _line(texts.get(b"in-reply-to")),
        _line(texts.get(b"message-id")),
    )
    return b"(%b)" % b" ".join(parts)


def _line(raw: bytes | None) -> bytes:
    return nstring(None if raw is None else unfold(raw))
