"""Annotations of mailboxes and of accounts (RFC 5464 §3): names of entries, and how much there may be.

Names are kept in lower case: they are compared without regard to case (§3.2). `/private` is the owner's alone,
`/shared` belongs to everybody who may use the mailbox.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mailserver.model.errors import InvalidInput, LimitReached

__all__ = [
    "MAX_ENTRIES", "MAX_TOTAL", "MAX_VALUE", "SPECIAL_USE", "Annotations", "TooManyEntries", "changed_annotations",
    "entry_name", "is_private",
]  # fmt: skip

#: Octets of a value, entries of a mailbox or account, octets of all its values and names (ATTACKS I17; §4.1: at least
#: 1,024 octets and 10 entries).
MAX_VALUE = 32 << 10
MAX_ENTRIES = 100
MAX_TOTAL = 256 << 10
_MAX_NAME = 250
#: RFC 6154 §4: the special use of a mailbox, as LIST shows it.
SPECIAL_USE = "/private/specialuse"

# §3.2, and no control characters at all, which nobody could see.
_NAME = re.compile(r"/(?:private|shared)(?:/[^\x00-\x1f\x7f*%/]+)*")

Annotations = Mapping[str, bytes]


class TooManyEntries(LimitReached):
    """The mailbox or account has all the annotations that it may have."""


def entry_name(name: str, *, whole: bool) -> str:
    """An entry's name in its one spelling. `whole`: it can have a value, and does not only stand above others.

    Raises:
        InvalidInput: no entry can be called so.
    """
    name = name.lower() if name.isascii() else ""
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise InvalidInput("the name of an entry is like /private/comment or /shared/vendor/x/y: ASCII without * and %")
    parts = name.split("/")[1:]
    if whole and len(parts) < (4 if parts[1:2] == ["vendor"] else 2):
        raise InvalidInput("an entry has two parts at least, behind /private/vendor and /shared/vendor four")
    return name


def is_private(entry: str) -> bool:
    """Whether it is the owner's alone."""
    return entry.startswith("/private/") or entry == "/private"


def changed_annotations(old: Annotations, changes: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """With these values; None takes an entry away (RFC 5464 §4.3).

    Raises:
        TooManyEntries, LimitReached: it would be too much.
    """
    new = dict(old)
    for name, value in changes.items():
        if value is None:
            new.pop(name, None)
        elif len(value) > MAX_VALUE:
            raise LimitReached(f"the value of an entry has at most {MAX_VALUE} octets")
        else:
            new[name] = value
    if len(new) > max(MAX_ENTRIES, len(old)):
        raise TooManyEntries(f"at most {MAX_ENTRIES} annotations can be kept here")
    if _octets(new) > max(MAX_TOTAL, _octets(old)):
        raise LimitReached(f"annotations have at most {MAX_TOTAL} octets together")
    return new


def _octets(annotations: Annotations) -> int:
    return sum(len(name) + len(value) for name, value in annotations.items())
