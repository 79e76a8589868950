"""What a mailbox is made of, as values: the shared message table, what changed, what a command needs to know."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import compress

from mailserver.model.errors import InvalidInput
from mailserver.model.numset import NumSet
from mailserver.model.rights import Acl

__all__ = [
    "INBOX", "Changes", "CopyResult", "FlagResult", "MailboxInfo", "MailboxStatus", "MessageTable", "QuotaUsage",
    "Rendered", "SpecialUse", "Stored", "check_mailbox_name", "is_inbox", "parents_of",
]  # fmt: skip

INBOX = "INBOX"
SEPARATOR = "/"
MAX_DEPTH = 50


class SpecialUse(Enum):
    """RFC 6154 §2, as LIST shows it."""

    ALL = "\\All"
    ARCHIVE = "\\Archive"
    DRAFTS = "\\Drafts"
    FLAGGED = "\\Flagged"
    JUNK = "\\Junk"
    SENT = "\\Sent"
    TRASH = "\\Trash"


class Rendered(Enum):
    """Pieces of FETCH that the index keeps as the bytes that go out."""

    ENVELOPE = "envelope"
    BODYSTRUCTURE = "bodystructure"
    #: The body structure without extension data (BODY).
    BODY = "body"
    #: The fields that clients list: the raw header lines of `mime.headers.LISTED_FIELDS`, CRLF each, in message order.
    LISTED_HEADERS = "listed_headers"
    #: What SEARCH looks into: header fields as people read them, and where all other text is (mime/search.py).
    SEARCH_HEADERS = "search_headers"
    SEARCH_PLACES = "search_places"
    #: RFC 8474 §5, each with its parentheses.
    EMAILID = "emailid"
    THREADID = "threadid"
    #: What SORT and THREAD compare, as `mime.sorting` packs it. It never goes out.
    SORTING = "sorting"
    #: A string in UTF-8 (RFC 8970 §3.3).
    PREVIEW = "preview"


#: Copying a span of a column takes as long as copying so many single items.
_SPAN = 6
#: Finding one UID takes as long as passing so many.
_SEARCH = 12
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def parents_of(name: str) -> list[str]:
    """The names above a mailbox, from the top."""
    parts = name.split(SEPARATOR)
    return [SEPARATOR.join(parts[:count]) for count in range(1, len(parts))]


def is_inbox(name: str) -> bool:
    """INBOX in any case of its letters (RFC 9051 §5.1); not `\u0131nbox`, which has the same capitals (ATTACKS J03)."""
    return name.isascii() and name.upper() == INBOX


def check_mailbox_name(name: str) -> str:
    """A mailbox name in the one spelling that the store uses: `INBOX` in capitals, no doubled or outer separator.

    Raises:
        InvalidInput: the name cannot be a mailbox (RFC 9051 §5.1, RFC 5198; ATTACKS J01): empty parts, control
        characters,
            wildcards, `.`/`..` parts, deeper than 50.
    """
    if not name or _CONTROL.search(name) or "*" in name or "%" in name:
        raise InvalidInput("a mailbox name has no control characters and no wildcards")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidInput("a mailbox name is Unicode text without surrogates") from None
    parts = name.split(SEPARATOR)
    if len(parts) > MAX_DEPTH or any(part in ("", ".", "..") or part.strip() != part for part in parts):
        raise InvalidInput("a mailbox name has parts that are neither empty nor `.` nor `..`, without outer spaces")
    if is_inbox(parts[0]):
        parts[0] = INBOX
    if parts[0].startswith("~"):
        raise InvalidInput("a mailbox name does not start with `~`")
    return SEPARATOR.join(parts)


@dataclass(slots=True)
class MessageTable:
    """The visible messages of a mailbox in UID order, column by column; shared by every session that selected it.

    Columns grow by append only, so a session that remembers `n` keeps seeing its first n messages; flags and modseqs
    change in place (a FETCH always shows the present flags). EXPUNGE never shortens a table: it puts a new table in its
    place (`generation` + 1), and sessions that still look at the old one keep it alive until they have told their
    client.
    Written only on the event loop.
    """

    generation: int = 0
    uids: array[int] = field(default_factory=lambda: array("I"))
    #: Numbers of the mailbox's FlagTable.
    flags: array[int] = field(default_factory=lambda: array("I"))
    modseqs: array[int] = field(default_factory=lambda: array("Q"))
    #: Octets as presented (RFC822.SIZE, with CRLF).
    sizes: array[int] = field(default_factory=lambda: array("I"))
    #: INTERNALDATE, seconds since 1970 UTC.
    dates: array[int] = field(default_factory=lambda: array("q"))
    #: SAVEDATE, seconds since 1970 UTC (RFC 8514).
    saved: array[int] = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.uids)

    def append(self, uid: int, flags: int, modseq: int, size: int, date: int, saved: int) -> None:
        """Add a message; its UID is above all others."""
        self.uids.append(uid)
        self.flags.append(flags)
        self.modseqs.append(modseq)
        self.sizes.append(size)
        self.dates.append(date)
        self.saved.append(saved)

    def find(self, uid: int) -> int:
        """The position of a UID, or -1."""
        at = bisect_left(self.uids, uid)
        return at if at < len(self.uids) and self.uids[at] == uid else -1

    def positions(self, uids: Collection[int]) -> list[int]:
        """Where the messages with these UIDs are, ascending; those that are not in the table are left out."""
        if len(uids) * _SEARCH < len(self.uids):
            return sorted({at for uid in uids if (at := self.find(uid)) >= 0})
        wanted = set(uids)
        return [at for at, uid in enumerate(self.uids) if uid in wanted]

    def without(self, positions: Sequence[int]) -> MessageTable:
        """A new table of the next generation that lacks these (ascending) positions."""
        take = self._compressed if len(positions) * _SPAN > len(self.uids) else self._spliced
        return MessageTable(self.generation + 1, *take(positions))

    def _compressed(self, positions: Sequence[int]) -> list[array[int]]:
        """Item by item: for removals all over the table."""
        kept = bytearray(b"\1") * len(self.uids)
        for at in positions:
            kept[at] = 0
        return [array(column.typecode, compress(column, kept)) for column in self.columns()]

    def _spliced(self, positions: Sequence[int]) -> list[array[int]]:
        """What lies between is copied as it stands: a million messages are a few dozen megabytes."""
        spans = []
        start = 0
        for at in positions:
            if at > start:
                spans.append((start, at))
            start = at + 1
        spans.append((start, len(self.uids)))
        columns = []
        for column in self.columns():
            kept = array(column.typecode)
            for low, high in spans:
                kept += column[low:high]
            columns.append(kept)
        return columns

    def columns(self) -> tuple[array[int], ...]:
        """Its columns, in the order in which they are named here."""
        return (self.uids, self.flags, self.modseqs, self.sizes, self.dates, self.saved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Where a message was put."""

    account: str
    mailbox: str
    uid_validity: int
    uid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What happened after a MODSEQ. `vanished_complete` is False when tombstones do not reach back that far.

    Then `vanished` is empty and the caller takes every UID that it knew and that no longer exists (RFC 7162 §3.2.5.2).
    """

    changed: NumSet
    vanished: NumSet
    vanished_complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagResult:
    """`changed`: the messages whose flags are now what was asked; `modified`: those that UNCHANGEDSINCE kept from
    it."""

    changed: NumSet
    modified: NumSet


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyResult:
    """COPYUID (RFC 9051 §7.1): `source[i]` became `target[i]`, both ascending."""

    uid_validity: int
    source: tuple[int, ...]
    target: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxInfo:
    """A mailbox as LIST sees it. `selectable` is False for a name that only has children (`\\NonExistent` parents)."""

    name: str
    mailbox_id: str
    special_use: frozenset[SpecialUse] = frozenset()
    subscribed: bool = False
    selectable: bool = True
    acl: Acl = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxStatus:
    """STATUS without opening the mailbox (RFC 9051 §6.3.11, RFC 7162 §3.1.2.1). `size` is in octets as presented."""

    messages: int
    unseen: int
    deleted: int
    size: int
    uid_next: int
    uid_validity: int
    highest_modseq: int
    mailbox_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaUsage:
    """Octets and messages of an account; a limit of 0 means none."""

    octets: int
    messages: int
    octets_limit: int = 0
    messages_limit: int = 0
