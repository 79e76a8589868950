"""What FETCH can ask for (RFC 9051 §6.4.5), as values. Macros and the RFC822 forms are gone once they are parsed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["BinarySection", "BinarySize", "BodySection", "FetchAttribute", "FetchItem", "SectionText"]


class FetchAttribute(Enum):
    """Items without a section; the value is the item's name, in the response too (save that LAZY is not repeated)."""

    FLAGS = b"FLAGS"
    INTERNALDATE = b"INTERNALDATE"
    RFC822_SIZE = b"RFC822.SIZE"
    ENVELOPE = b"ENVELOPE"
    BODYSTRUCTURE = b"BODYSTRUCTURE"
    #: BODY without a section: the structure without extension data.
    BODY = b"BODY"
    UID = b"UID"
    #: RFC 7162 §3.1.4.2; asking for it enables CONDSTORE.
    MODSEQ = b"MODSEQ"
    #: RFC 8474 §5.3
    EMAILID = b"EMAILID"
    THREADID = b"THREADID"
    #: RFC 8514 §4.2
    SAVEDATE = b"SAVEDATE"
    #: RFC 8970 §3; LAZY (§4.1) takes NIL for one that is still to be made.
    PREVIEW = b"PREVIEW"
    PREVIEW_LAZY = b"PREVIEW (LAZY)"

    # Enum's own hash is Python code, and FETCH looks items up per message.
    __hash__ = object.__hash__


class SectionText(Enum):
    """The word at the end of a section (RFC 9051 §9 section-text)."""

    HEADER = b"HEADER"
    HEADER_FIELDS = b"HEADER.FIELDS"
    HEADER_FIELDS_NOT = b"HEADER.FIELDS.NOT"
    TEXT = b"TEXT"
    MIME = b"MIME"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class BodySection:
    """`BODY[…]`, `BODY.PEEK[…]`, RFC822, RFC822.HEADER and RFC822.TEXT.

    `part` is the path of part numbers, () for the whole message; `text` None means the part's whole content. `fields`
    are header field names in lower case (only with HEADER_FIELDS and HEADER_FIELDS_NOT). `partial` is (first octet,
    number of octets), the second at least 1. Without `peek` the fetch sets \\Seen. `name` is the item's name in the
    response, origin octet included: `BODY[1.MIME]<0>`.
    """

    part: tuple[int, ...] = ()
    text: SectionText | None = None
    fields: tuple[str, ...] = ()
    peek: bool
    partial: tuple[int, int] | None = None
    name: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BinarySection:
    """`BINARY[…]` and `BINARY.PEEK[…]` (RFC 3516, RFC 9051 §6.4.5): a part with its transfer encoding removed.

    The fields are those of BodySection; `partial` counts decoded octets.
    """

    part: tuple[int, ...] = ()
    peek: bool
    partial: tuple[int, int] | None = None
    name: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BinarySize:
    """`BINARY.SIZE[…]`: how many octets BINARY[…] would give."""

    part: tuple[int, ...] = ()
    name: bytes


FetchItem = FetchAttribute | BodySection | BinarySection | BinarySize
