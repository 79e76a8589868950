"""Whom a message names as its author, or in another field of addresses, as people read it."""

from __future__ import annotations

from typing import NamedTuple

from mailserver.mime.addresses import parse_addresses
from mailserver.mime.headers import value
from mailserver.mime.words import decode_words
from mailserver.model.address import EmailAddress
from mailserver.model.errors import InvalidInput

__all__ = ["Author", "named_in", "people"]

#: A field that is longer is cut: no program shows so many people.
_LONGEST = 8192
_MOST = 20


class Author(NamedTuple):
    """One entry of the field. `name` is decoded, "" for none; `address` is None when it cannot be read."""

    name: str
    address: EmailAddress | None


def named_in(
    head: bytes, field: bytes = b"from", *, most: int = _MOST, longest: int = _LONGEST
) -> tuple[Author, ...]:
    """The entries of the first field of this (lower-case) name, at most `most`, which stand in its first `longest`
    octets. Nothing about them is proved."""
    return people(value(head, field) or b"", most=most, longest=longest)


def people(text: bytes, *, most: int = _MOST, longest: int = _LONGEST) -> tuple[Author, ...]:
    """The entries of a field of addresses, of which this is the value on one line."""
    return tuple(
        Author(decode_words(entry.name or b""), _address(entry.mailbox, entry.domain) if entry.is_mailbox else None)
        for entry in parse_addresses(text[:longest])[:most]
        if entry.is_mailbox or entry.name
    )


def _address(mailbox: bytes | None, domain: bytes | None) -> EmailAddress | None:
    try:
        # Written anew, since the local part comes without the quotes that it needs.
        return EmailAddress.parse(str(EmailAddress((mailbox or b"").decode(), (domain or b"").decode())))
    except (InvalidInput, UnicodeDecodeError):
        return None
