"""SEARCH and what grew from it (RFC 9051 §6.4.4, RFC 5256, RFC 5267, RFC 7377), as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mailserver.wire.imap.fetch_items import FetchItem
from mailserver.wire.imap.search_keys import SearchKey
from mailserver.wire.imap.sequence_set import PartialRange

__all__ = [
    "CancelUpdate", "MultiSearch", "Search", "SearchReturn", "Sort", "SortCriterion", "SortKey", "Source",
    "SourceKind", "Thread", "ThreadAlgorithm",
]  # fmt: skip


class SearchReturn(Enum):
    """Result options of SEARCH (RFC 9051 §6.4.4); the value is the word in ESEARCH."""

    MIN = b"MIN"
    MAX = b"MAX"
    ALL = b"ALL"
    COUNT = b"COUNT"
    SAVE = b"SAVE"
    #: RFC 6203 §4; only with a FUZZY key.
    RELEVANCY = b"RELEVANCY"
    #: RFC 9394 §3.1; which part is `Search.partial`.
    PARTIAL = b"PARTIAL"
    #: RFC 5267 §4.2–4.3: the client will ask again, or wants to hear of changes.
    CONTEXT = b"CONTEXT"
    UPDATE = b"UPDATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """RFC 9051 §6.4.4. `returns` is None without RETURN; `RETURN ()` is {ALL} (RFC 4731 §3.1).

    PARTIAL and ALL are never both in it (RFC 9394 §3.1); with PARTIAL there is a `partial`.

    IMAP4rev2 answers with ESEARCH in either case. All text is decoded; `key` joins the client's keys by And. With
    `bad_charset` the keys could not be read: the answer is NO, and what was saved is lost (§6.4.4.1).
    """

    key: SearchKey
    returns: frozenset[SearchReturn] | None = None
    partial: PartialRange | None = None
    #: With UPDATE: what is to be fetched of new messages that match (RFC 5465 §7).
    fetch: tuple[FetchItem, ...] = ()
    uid: bool = False
    #: Whether there is a FUZZY key (RFC 6203 §3).
    fuzzy: bool = False
    filters: bool = False
    bad_charset: bool = False


class SortKey(Enum):
    """What messages are sorted by (RFC 5256 §3 SORT, RFC 5957 §4)."""

    ARRIVAL = b"ARRIVAL"
    CC = b"CC"
    DATE = b"DATE"
    DISPLAYFROM = b"DISPLAYFROM"
    DISPLAYTO = b"DISPLAYTO"
    FROM = b"FROM"
    #: RFC 6203 §6; only with a FUZZY key.
    RELEVANCY = b"RELEVANCY"
    SIZE = b"SIZE"
    SUBJECT = b"SUBJECT"
    TO = b"TO"


@dataclass(frozen=True, slots=True)
class SortCriterion:
    """One of the things to sort by; `reverse` is descending."""

    key: SortKey
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Sort:
    """RFC 5256 §3 SORT; `search` says what is sorted, and by which numbers it is named."""

    criteria: tuple[SortCriterion, ...]
    search: Search


class ThreadAlgorithm(Enum):
    """RFC 5256 §3 THREAD."""

    ORDEREDSUBJECT = b"ORDEREDSUBJECT"
    REFERENCES = b"REFERENCES"


@dataclass(frozen=True, slots=True)
class Thread:
    """RFC 5256 §3 THREAD; `search` has no `returns`."""

    algorithm: ThreadAlgorithm
    search: Search


@dataclass(frozen=True, slots=True)
class CancelUpdate:
    """RFC 5267 §4.3.5; `tags` of searches with UPDATE."""

    tags: tuple[bytes, ...]


class SourceKind(Enum):
    """Which mailboxes are searched (RFC 7377 §2.2, RFC 5465 §6)."""

    SELECTED = b"SELECTED"
    INBOXES = b"INBOXES"
    PERSONAL = b"PERSONAL"
    SUBSCRIBED = b"SUBSCRIBED"
    SUBTREE = b"SUBTREE"
    SUBTREE_ONE = b"SUBTREE-ONE"
    MAILBOXES = b"MAILBOXES"


@dataclass(frozen=True, slots=True)
class Source:
    """`names` are for SUBTREE, SUBTREE-ONE and MAILBOXES."""

    kind: SourceKind
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MultiSearch:
    """ESEARCH (RFC 7377 §2). `search` always has result options, and answers with UIDs."""

    sources: tuple[Source, ...]
    search: Search
