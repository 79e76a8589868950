"""Text keys of SEARCH on the octets of messages: decoded, then compared without regard to case (RFC 9051 §6.4.4).

Encoded words, transfer encodings and charsets are undone first. Text in ASCII, which most of it is, is compared as
octets and never decoded. Everything here is linear in the message and runs in a worker thread.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from functools import partial

from mailserver.mime.headers import LISTED_FIELDS, header_block_end
from mailserver.mime.structure import Part, parse
from mailserver.mime.text import decode_transfer
from mailserver.mime.words import decode_octets, decode_words
from mailserver.wire.imap.search_keys import BodyText, DateKey, DateRelation, Header, Text

__all__ = ["TextTest", "is_listed", "listed_test", "octets_test"]

#: Says whether a header block or message matches.
TextTest = Callable[[bytes], bool]

_LISTED = frozenset(name.decode("ascii") for name in LISTED_FIELDS)
# Becomes one space: nobody who looks for the words around it knows that a field was folded with a tab there.
_FOLD = re.compile(rb"\r?\n[ \t]")
_DATE = re.compile(
    rb"^Date[ \t]*:(?:[^0-9\n]|\n[ \t])*+([0-9]{1,2})\s+([A-Za-z]{3})[A-Za-z]*\s+([0-9]{2,4})", re.M | re.I
)
_MONTHS = {m: n for n, m in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
#: Charsets in which an octet of ASCII is that character and nothing else, as their names begin.
_ASCII_BASED = (b"utf-8", b"us-ascii", b"ascii", b"iso-8859-", b"windows-125", b"koi8-")
#: In a message in lower case: a charset that may be another one.
_OTHER_CHARSET = re.compile(rb'charset(?!"?=(?:3d)?"?(?:%b))' % b"|".join(_ASCII_BASED))


def is_listed(key: Header) -> bool:
    """Whether the index keeps this header field."""
    return key.name in _LISTED


def listed_test(key: Header | DateKey) -> TextTest:
    """A test of the index's LISTED_HEADERS."""
    return _header_test(key) if isinstance(key, Header) else partial(_sent, key)


def octets_test(key: Header | BodyText | Text | DateKey) -> TextTest:
    """A test of a whole message, or of its header block when the key is a Header."""
    if isinstance(key, Header | DateKey):
        return listed_test(key)
    return partial(_in_body if isinstance(key, BodyText) else _in_message, _Needle(key.text))


class _Needle:
    """What is looked for: folded text, and its octets when it is ASCII."""

    __slots__ = ("folded", "octets")

    def __init__(self, text: str) -> None:
        self.folded = text.casefold()
        self.octets = text.lower().encode("ascii") if text.isascii() else None

    def in_header(self, block: bytes) -> bool:
        """In a field or a header block, which may be folded and have encoded words."""
        if b"\n" in block:
            block = _FOLD.sub(b" ", block)
        if self.octets is not None:
            if self.octets in block.lower():
                return True
            if b"=?" not in block:
                return False
        return self.folded in decode_words(block).casefold()

    def in_text(self, octets: bytes, charset: bytes) -> bool:
        """In text of a charset."""
        if self.octets is not None and charset.lower().startswith(_ASCII_BASED):
            return self.octets in octets.lower()
        return self.folded in decode_octets(octets, charset).casefold()

    def may_be_in(self, message: bytes) -> bool:
        """False when no way of reading any text of the message can have it: then its structure need not be looked for.

        Sound, not complete: text that is no more than ASCII stands there as it is, or in quoted-printable; where
        base64 or other charsets occur, anything may.
        """
        if self.octets is None:
            return True
        lowered = message.lower()
        if self.octets in lowered or b"base64" in lowered or _OTHER_CHARSET.search(lowered):
            return True
        return b"quoted-printable" in lowered and self.octets in decode_transfer(message, b"quoted-printable").lower()

    def may_be_in_headers(self, body: bytes) -> bool:
        """As `may_be_in`, for the headers of parts, which may have encoded words and folds (each of them a space)."""
        if b"=?" in body or self.octets is None:
            return True
        return b" " in self.octets and self.octets in _FOLD.sub(b" ", body).lower()


def _header_test(key: Header) -> TextTest:
    name = re.escape(key.name.encode("utf-8", "replace"))
    pattern = re.compile(rb"^%b[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)" % name, re.MULTILINE | re.IGNORECASE)
    if not key.text:
        return lambda block: pattern.search(block) is not None
    needle = _Needle(key.text)
    return lambda block: any(needle.in_header(match[1]) for match in pattern.finditer(block))


def _in_body(needle: _Needle, message: bytes) -> bool:
    """BODY: in what is text, and in no header field."""
    return needle.may_be_in(message) and any(_in_leaf(needle, message, part) for part in parse(message).walk())


def _in_message(needle: _Needle, message: bytes) -> bool:
    """TEXT: also in the header of the message, of its parts and of messages within it."""
    body = header_block_end(message)
    if needle.in_header(message[:body]):
        return True
    if not (needle.may_be_in(message) or needle.may_be_in_headers(message[body:])):
        return False
    return any(
        needle.in_header(message[part.start : part.body]) or _in_leaf(needle, message, part)
        for part in parse(message).walk()
    )


def _in_leaf(needle: _Needle, message: bytes, part: Part) -> bool:
    if part.is_message or part.is_multipart or not part.media_type.startswith("text/"):
        return False
    return needle.in_text(decode_transfer(message[part.body : part.end], part.encoding), part.charset)


def _sent(key: DateKey, block: bytes) -> bool:
    found = _DATE.search(block)
    if found is None:
        return False
    year = int(found[3])
    if len(found[3]) < 4:
        # RFC 5322 §4.3 obs-year.
        year += 1900 if len(found[3]) == 3 or year >= 50 else 2000
    try:
        day = datetime.date(year, _MONTHS.get(found[2].lower(), 0), int(found[1]))
    except ValueError:
        return False
    if key.relation is DateRelation.BEFORE:
        return day < key.day
    return day == key.day if key.relation is DateRelation.ON else day >= key.day
