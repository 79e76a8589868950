"""What SEARCH looks for (RFC 9051 §6.4.4), as a small tree. Words that mean the same are one kind of key.

`UNSEEN` is `Not(HasFlag("\\\\Seen"))`, `NEW` is `And((Recent(), Not(HasFlag("\\\\Seen"))))`, and `FROM x` is
`Header("from", x)`.
The tree is at most 50 levels deep, so it may be walked by recursion.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import Enum

from mailserver.wire.imap.sequence_set import SavedResult, SequenceSet

__all__ = [
    "All", "And", "BodyText", "DateField", "DateKey", "DateRelation", "Filter", "Fuzzy", "HasFlag", "Header", "Larger",
    "ModSeq", "Not", "ObjectId", "ObjectKind", "Or", "Recent", "SearchKey", "Sequence", "Smaller", "Text", "Uids",
    "Within",
]  # fmt: skip


class DateField(Enum):
    """Which date of a message is compared."""

    INTERNAL = "INTERNALDATE"
    #: The Date header field, its day as written there, without regard to zone (RFC 9051 §6.4.4).
    SENT = "Date"
    #: When the message came into this mailbox (RFC 8514 §4.3).
    SAVED = "SAVEDATE"


class DateRelation(Enum):
    """How it is compared: whole days."""

    BEFORE = "BEFORE"
    ON = "ON"
    #: That day or later.
    SINCE = "SINCE"


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class And:
    """All of the keys (at least two)."""

    keys: tuple[SearchKey, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Either key."""

    left: SearchKey
    right: SearchKey


@dataclass(frozen=True, slots=True)
class Not:
    """Not the key."""

    key: SearchKey


@dataclass(frozen=True, slots=True)
class HasFlag:
    """The flag is set; a system flag in its usual spelling or a keyword as it was typed."""

    flag: str


@dataclass(frozen=True, slots=True)
class Recent:
    r"""RFC 3501's \Recent; IMAP4rev2 has none, and no message of a server that does not keep it is recent."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """Messages by sequence number, or `$`."""

    messages: SequenceSet | SavedResult


@dataclass(frozen=True, slots=True)
class Uids:
    """Messages by UID, or `UID $`."""

    uids: SequenceSet | SavedResult


@dataclass(frozen=True, slots=True)
class Header:
    """A header field holds the text; `name` is in lower case, an empty `text` asks that the field is there at all."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class BodyText:
    """BODY: the text is in the body."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """TEXT: the text is in the header or the body."""

    text: str


@dataclass(frozen=True, slots=True)
class DateKey:
    """BEFORE, ON, SINCE, SENTBEFORE, SENTON, SENTSINCE, SAVEDBEFORE, SAVEDON, SAVEDSINCE."""

    field: DateField
    relation: DateRelation
    day: datetime.date


@dataclass(frozen=True, slots=True)
class Larger:
    """More octets than this."""

    octets: int


@dataclass(frozen=True, slots=True)
class Smaller:
    """Fewer octets than this."""

    octets: int


@dataclass(frozen=True, slots=True)
class ModSeq:
    """A mod-sequence of at least this (RFC 7162 §3.1.5).

    An entry name that the client gave is checked and dropped: a server with one mod-sequence per message uses that one.
    """

    at_least: int


class ObjectKind(Enum):
    """What an object id names (RFC 8474 §5)."""

    EMAIL = "EMAILID"
    THREAD = "THREADID"


@dataclass(frozen=True, slots=True)
class ObjectId:
    """EMAILID and THREADID (RFC 8474 §6): exactly this id."""

    kind: ObjectKind
    value: str


@dataclass(frozen=True, slots=True)
class Within:
    """OLDER and YOUNGER (RFC 5032): INTERNALDATE is at least, or at most, so many seconds ago."""

    seconds: int
    older: bool


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """FUZZY (RFC 6203 §3): as the key, or similar."""

    key: SearchKey


@dataclass(frozen=True, slots=True)
class Filter:
    """FILTER (RFC 5466 §3.1): the keys that are kept under this name, which the session knows."""

    name: str


SearchKey = (
    All | And | Or | Not | HasFlag | Recent | Sequence | Uids | Header | BodyText | Text | DateKey | Filter | Fuzzy
    | Larger | Smaller | ModSeq | ObjectId | Within
)
