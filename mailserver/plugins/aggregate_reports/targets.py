"""Where reports go, as the domain's record says it in URIs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from mailserver import api

__all__ = ["Target", "Unwanted", "escaped", "first_targets", "mail_address"]

#: Places that a report goes to, of those that a record names.
MOST_TARGETS = 4


class Unwanted(Exception):
    """A place gets no report, now or later; in words."""


@dataclass(frozen=True, slots=True)
class Target:
    """By mail to `address`, or (None) by HTTPS to `uri`, which is what the record says. `most`: octets that a message
    may have there; 0: no limit is given."""

    uri: str
    address: api.EmailAddress | None = None
    most: int = 0


def first_targets(found: Iterable[Target | None]) -> tuple[Target, ...]:
    """Those that can be reached, each once, and not too many."""
    return tuple(dict.fromkeys(target for target in found if target is not None))[:MOST_TARGETS]


def mail_address(rest: str) -> api.EmailAddress | None:
    """Of what follows `mailto:` (RFC 6068 §2); None where no report can go."""
    try:
        # What follows "?" are header fields, which a report has no use for.
        address = api.EmailAddress.parse(unquote(rest.partition("?")[0], errors="strict"))
    except (api.InvalidInput, UnicodeDecodeError):
        return None
    # An address beyond ASCII would make a report undeliverable at most places.
    return address if address.local.isascii() else None


def escaped(address: str) -> str:
    """An address as it can stand behind `mailto:` in a record, where these would end it."""
    for character in "%,;!?":
        address = address.replace(character, f"%{ord(character):02X}")
    return address
