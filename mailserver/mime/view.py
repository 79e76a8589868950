"""A message as all who look at it share it: each part of it is read when somebody asks first, and only then.

It shows the beginning of the message, 1 MiB at most, which has the whole header. What it keeps is bounded by that: the
texts of parts, of which one may be asked for up to different limits, by `_MOST_TEXT` characters, others by the header.
To be used by one task (or thread) at a time, as hooks are called.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

from mailserver.mime.author import Author, people
from mailserver.mime.dkim.canonical import BodyDigest, BodyForm
from mailserver.mime.dkim.header import SignedHeader
from mailserver.mime.headers import Field, field_value, fields, header_block_end, unfold
from mailserver.mime.message_ids import sound_message_id
from mailserver.mime.sole_author import SoleAuthor, from_author, repeated_field
from mailserver.mime.structure import Message, Part, parse
from mailserver.mime.text import part_text
from mailserver.model.address import EmailAddress

__all__ = ["HasHead", "MessageView"]

#: Characters of text that are kept for the next one who asks.
_MOST_TEXT = 1 << 20


class HasHead(Protocol):
    """A message of which the beginning is at hand."""

    def head(self) -> bytes:
        """The first octets, at most 1 MiB."""
        ...


class _Octets:
    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def head(self) -> bytes:
        return self._octets


class MessageView:
    """`content` is the message that it shows, complete and not changed any more."""

    def __init__(self, content: HasHead) -> None:
        self.content = content
        #: Digests of the body that were made, for the next one who checks a signature.
        self.body_digests: dict[BodyForm, BodyDigest] = {}
        self._values: dict[bytes, bytes | None] = {}
        self._named: dict[bytes, tuple[Author, ...]] = {}
        self._texts: dict[tuple[Part, int], str] = {}
        self._room = _MOST_TEXT

    @classmethod
    def of(cls, octets: bytes) -> MessageView:
        """Of a message that is there as octets."""
        return cls(_Octets(octets))

    @cached_property
    def head(self) -> bytes:
        """The beginning of the message; positions below are positions in it."""
        return self.content.head()

    @cached_property
    def header_size(self) -> int:
        """Where the body begins."""
        return header_block_end(self.head)

    @cached_property
    def fields(self) -> list[Field]:
        """The fields of the header, in order: name in lower case, where it begins, where it ends with its line end."""
        return fields(self.head, 0, self.header_size)

    def value(self, name: bytes) -> bytes | None:
        """The value, on one line and without outer white space, of the first field of this (lower-case) name."""
        if name not in self._values:
            span = next(((start, end) for known, start, end in self.fields if known == name), None)
            self._values[name] = None if span is None else unfold(field_value(self.head, *span)).strip(b" \t")
        return self._values[name]

    def named_in(self, field: bytes) -> tuple[Author, ...]:
        """Whom the first field of this (lower-case) name names, 20 at most. Nothing about them is proved."""
        if field not in self._named:
            self._named[field] = people(self.value(field) or b"")
        return self._named[field]

    @property
    def authors(self) -> tuple[Author, ...]:
        """Whom From names, as people read it; `sole_author` is the one who can be proved."""
        return self.named_in(b"from")

    @property
    def author(self) -> EmailAddress | None:
        """The first address in From that can be read."""
        return next((one.address for one in self.authors if one.address is not None), None)

    @property
    def message_id(self) -> str:
        """Without `<>`; "" when there is none, or one that cannot stand in a line of text."""
        return sound_message_id(self.value(b"message-id") or b"")

    @cached_property
    def from_author(self) -> SoleAuthor:
        """The one domain of From, whatever stands in other fields."""
        return from_author(self.head, self.fields)

    @cached_property
    def repeated_field(self) -> str:
        """A field that may be there once, and is more often, so that one program shows the first, another the last."""
        return repeated_field(self.head, self.fields)

    @property
    def sole_author(self) -> SoleAuthor:
        """The one domain in whose name it is written; nobody where a field stands there twice."""
        author, twice = self.from_author, self.repeated_field
        return SoleAuthor("", f"it has more than one {twice} field") if twice and not author.fault else author

    @cached_property
    def structure(self) -> Message:
        """Its parts."""
        return parse(self.head, self.fields)

    def text(self, part: Part, limit: int) -> str:
        """The text of one text part of `structure`, from at most `limit` octets of its body."""
        key = (part, min(part.end, part.body + limit))
        text = self._texts.get(key)
        if text is None:
            text = part_text(self.head, part, limit)
            if len(text) <= self._room:
                self._room -= len(text)
                self._texts[key] = text
        return text

    @cached_property
    def signed_header(self) -> SignedHeader:
        """The header as signatures read it."""
        return SignedHeader(self.head, self.fields)
