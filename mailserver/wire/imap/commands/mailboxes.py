"""The commands about mailboxes: which there are, and which one is selected."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mailserver.model.mailbox import SpecialUse
from mailserver.model.numset import NumSet

__all__ = [
    "Check", "Close", "Create", "Delete", "List", "ListReturn", "ListSelect", "Lsub", "QResync", "Rename", "Select",
    "Status", "StatusItem", "Subscribe", "Unselect", "Unsubscribe",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class QResync:
    """The parameter of SELECT (RFC 7162 §3.2.5): what the client knew. `*` does not occur in these sets.

    `match` pairs known sequence numbers with the UIDs they had, both ascending and of equal count.
    """

    uid_validity: int
    modseq: int
    known_uids: NumSet | None = None
    match: tuple[NumSet, NumSet] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """SELECT and, with `read_only`, EXAMINE (RFC 9051 §6.3.2–6.3.3)."""

    mailbox: str
    read_only: bool = False
    condstore: bool = False
    qresync: QResync | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """RFC 9051 §6.3.4; `special_use` as RFC 6154 §3."""

    mailbox: str
    special_use: frozenset[SpecialUse] = frozenset()


@dataclass(frozen=True, slots=True)
class Delete:
    """RFC 9051 §6.3.5."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    """RFC 9051 §6.3.6."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """RFC 9051 §6.3.7."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """RFC 9051 §6.3.8."""

    mailbox: str


class ListSelect(Enum):
    """LIST selection options (RFC 9051 §6.3.9.1, RFC 6154 §2)."""

    SUBSCRIBED = b"SUBSCRIBED"
    REMOTE = b"REMOTE"
    RECURSIVEMATCH = b"RECURSIVEMATCH"
    SPECIAL_USE = b"SPECIAL-USE"


class ListReturn(Enum):
    """LIST return options without arguments (RFC 9051 §6.3.9.2, RFC 6154 §2, RFC 8440 §3)."""

    SUBSCRIBED = b"SUBSCRIBED"
    CHILDREN = b"CHILDREN"
    SPECIAL_USE = b"SPECIAL-USE"
    MYRIGHTS = b"MYRIGHTS"


@dataclass(frozen=True, slots=True, kw_only=True)
class List:
    """RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 9590.

    `status` holds the items of RETURN (STATUS (…)), empty without; `metadata` the entries of METADATA. `extended` is
    True when the command had selection options, RETURN, or a list of patterns: then the one empty pattern does not ask
    for the separator.
    """

    reference: str
    patterns: tuple[str, ...]
    select: frozenset[ListSelect] = frozenset()
    returns: frozenset[ListReturn] = frozenset()
    status: tuple[StatusItem, ...] = ()
    metadata: tuple[str, ...] = ()
    extended: bool = False


@dataclass(frozen=True, slots=True)
class Lsub:
    """RFC 3501 §6.3.9."""

    reference: str
    pattern: str


class StatusItem(Enum):
    """What STATUS can tell; the value is its name in the response."""

    MESSAGES = b"MESSAGES"
    RECENT = b"RECENT"  # RFC 3501 only
    UIDNEXT = b"UIDNEXT"
    UIDVALIDITY = b"UIDVALIDITY"
    UNSEEN = b"UNSEEN"
    DELETED = b"DELETED"
    SIZE = b"SIZE"
    HIGHESTMODSEQ = b"HIGHESTMODSEQ"
    #: RFC 7889 §3.1
    APPENDLIMIT = b"APPENDLIMIT"
    #: RFC 8474 §4.3
    MAILBOXID = b"MAILBOXID"
    #: RFC 9208 §4.1.4: what EXPUNGE would free.
    DELETED_STORAGE = b"DELETED-STORAGE"


@dataclass(frozen=True, slots=True)
class Status:
    """RFC 9051 §6.3.11. Each item once, in the order of asking."""

    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """RFC 3501 §6.4.1."""


@dataclass(frozen=True, slots=True)
class Close:
    """RFC 9051 §6.4.1."""


@dataclass(frozen=True, slots=True)
class Unselect:
    """RFC 9051 §6.4.2."""
