"""The parser of SEARCH (RFC 9051 §6.4.4, RFC 4731, RFC 5182, RFC 7162 §3.1.5, RFC 8474 §6, RFC 8514 §4.3, RFC 9394,
RFC 5032, RFC 6203, RFC 5465 §7, RFC 9738 §3.2).

Character sets: US-ASCII and UTF-8. The strings of either are UTF-8, so both are read as that; what does not decode is
an error. A new key is a row in `_SIMPLE` or `_WITH_ARGUMENT`, a new result option one in SearchReturn.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from mailserver.model.errors import InvalidInput
from mailserver.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from mailserver.model.numset import MAX_NUMBER, NumSet
from mailserver.wire.imap.commands import Search, SearchReturn
from mailserver.wire.imap.dates import parse_date
from mailserver.wire.imap.fetch_items import FetchItem
from mailserver.wire.imap.lexer import MAX_NESTING, Lexer, ParseError
from mailserver.wire.imap.parse.fetch import fetch_items
from mailserver.wire.imap.search_keys import (
    All,
    And,
    BodyText,
    DateField,
    DateKey,
    DateRelation,
    Filter,
    Fuzzy,
    HasFlag,
    Header,
    Larger,
    ModSeq,
    Not,
    ObjectId,
    ObjectKind,
    Or,
    Recent,
    SearchKey,
    Sequence,
    Smaller,
    Text,
    Uids,
    Within,
)
from mailserver.wire.imap.sequence_set import PartialRange, SequenceSet

__all__ = ["MAX_KEYS", "Criteria", "Options", "criteria", "result_options", "search", "search_program", "uid_search"]

MAX_KEYS: Final = 2_000
_FILTER: Final = re.compile(rb"[ (]FILTER ", re.IGNORECASE)
_CHARSETS: Final = (b"US-ASCII", b"UTF-8")
_OBJECT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
_RETURNS: Final = {option.value: option for option in SearchReturn}


class Options(NamedTuple):
    """What stands behind RETURN, as in Search."""

    returns: frozenset[SearchReturn] | None = None
    partial: PartialRange | None = None
    fetch: tuple[FetchItem, ...] = ()


def search(lexer: Lexer) -> Search:
    """SEARCH."""
    return _search(lexer, uid=False)


def uid_search(lexer: Lexer) -> Search:
    """UID SEARCH."""
    return _search(lexer, uid=True)


def _search(lexer: Lexer, *, uid: bool) -> Search:
    lexer.space()
    return search_program(lexer, result_options(lexer), uid=uid, charset=False)


def result_options(lexer: Lexer) -> Options:
    """`RETURN (…)` with the space behind it; None when there is none."""
    if lexer.peek_word() != b"RETURN":
        return Options()
    lexer.at += 6
    lexer.space()
    found: list[SearchReturn] = []
    partial: PartialRange | None = None
    fetch: tuple[FetchItem, ...] = ()

    def option() -> None:
        nonlocal partial, fetch
        known = _RETURNS.get(lexer.word("a result option"))
        if known is None:
            raise ParseError(f"there are the result options {', '.join(one.name for one in SearchReturn)}")
        if known is SearchReturn.PARTIAL:
            lexer.space()
            if partial is not None:
                raise ParseError("PARTIAL is given once")
            partial = lexer.partial_range()
        if known is SearchReturn.UPDATE and lexer.data.startswith((b"(", b" ("), lexer.at):
            # RFC 5465 §8 modifier-update: without a space by the grammar, and with one by the example.
            lexer.skip(b" ")
            fetch = fetch_items(lexer)
        found.append(known)

    lexer.items_or_none(option, 20)
    lexer.space()
    if SearchReturn.PARTIAL in found and SearchReturn.ALL in found:
        # RFC 9394 §3.1
        raise ParseError("either PARTIAL or ALL can be returned, not both")
    # RFC 4731 §3.1: no option at all means ALL.
    return Options(frozenset(found) or frozenset({SearchReturn.ALL}), partial, fetch)


def search_program(
    lexer: Lexer, options: Options, *, uid: bool, charset: bool, relevancy: bool = False
) -> Search:
    """The rest of a command: a charset and keys. With `charset` it must be there, and without the word CHARSET.

    With `relevancy`, or when that is to be returned, one of the keys must be FUZZY (RFC 6203 §4, §6).
    """
    returns, partial, fetch = options
    relevancy = relevancy or (returns is not None and SearchReturn.RELEVANCY in returns)
    if charset or lexer.peek_word() == b"CHARSET":
        if not charset:
            lexer.at += 7
            lexer.space()
        # RFC 6855 §3 would have a CHARSET refused after UTF8=ACCEPT; IMAP4rev2 allows it, and UTF-8 leaves no conflict.
        known = lexer.astring().upper() in _CHARSETS
        lexer.space()
        if not known:
            if _FILTER.search(lexer.data, lexer.at - 1) is not None:
                # RFC 5466 §3.1
                raise ParseError("FILTER is for searches in UTF-8", code="BADCHARSET (US-ASCII UTF-8)")
            lexer.at = len(lexer.data)
            return Search(key=All(), returns=returns, partial=partial, uid=uid, bad_charset=True)
    keys = _Keys(lexer)
    found = [keys.key(1)]
    while lexer.skip(b" "):
        found.append(keys.key(1))
    if relevancy and not keys.fuzzy:
        raise ParseError("RELEVANCY is possible with FUZZY keys only")
    return Search(
        key=_all_of(found), returns=returns, partial=partial, fetch=fetch, uid=uid, fuzzy=keys.fuzzy,
        filters=keys.filters,
    )  # fmt: skip


class Criteria(NamedTuple):
    """Search keys that were kept: joined, how many they are, and whether there is a FUZZY key."""

    key: SearchKey
    keys: int
    fuzzy: bool


def criteria(value: bytes) -> Criteria:
    """The search-criteria that a filter holds (RFC 5466 §3.2), in UTF-8. Raises ParseError."""
    lexer = Lexer(value)
    keys = _Keys(lexer)
    found = [keys.key(1)]
    while lexer.skip(b" "):
        found.append(keys.key(1))
    lexer.end()
    return Criteria(_all_of(found), keys.count, keys.fuzzy)


def _all_of(keys: list[SearchKey]) -> SearchKey:
    return keys[0] if len(keys) == 1 else And(tuple(keys))


class _Keys:
    """Recursion over one search program, bounded in depth and in number."""

    __slots__ = ("count", "filters", "fuzzy", "lexer")

    def __init__(self, lexer: Lexer) -> None:
        self.lexer = lexer
        self.count = 0
        #: Whether there is a FUZZY key, and a FILTER.
        self.fuzzy = self.filters = False

    def key(self, depth: int) -> SearchKey:
        self.count += 1
        if depth > MAX_NESTING:
            raise ParseError(f"a search is nested at most {MAX_NESTING} deep")
        if self.count > MAX_KEYS:
            raise ParseError(f"a search has at most {MAX_KEYS} keys")
        lexer = self.lexer
        first = lexer.data[lexer.at : lexer.at + 1]
        if first == b"(":
            return _all_of(lexer.items(lambda: self.key(depth + 1), MAX_KEYS))
        if first in _SET_STARTS:
            return Sequence(lexer.message_set())
        word = lexer.word("a search key")
        simple = _SIMPLE.get(word)
        if simple is not None:
            return simple
        if word == b"NOT":
            lexer.space()
            return Not(self.key(depth + 1))
        if word == b"FUZZY":
            lexer.space()
            self.fuzzy = True
            return Fuzzy(self.key(depth + 1))
        if word == b"FILTER":
            lexer.space()
            self.filters = True
            return _filter(lexer)
        if word == b"OR":
            lexer.space()
            left = self.key(depth + 1)
            lexer.space()
            return Or(left, self.key(depth + 1))
        with_argument = _WITH_ARGUMENT.get(word)
        if with_argument is None:
            raise ParseError("this search key is not known here")
        lexer.space()
        return with_argument(lexer)


_SET_STARTS: Final = frozenset((b"*", b"$", *(b"%d" % digit for digit in range(10))))

_SIMPLE: Final[dict[bytes, SearchKey]] = {
    b"ALL": All(),
    b"ANSWERED": HasFlag(ANSWERED),
    b"DELETED": HasFlag(DELETED),
    b"DRAFT": HasFlag(DRAFT),
    b"FLAGGED": HasFlag(FLAGGED),
    b"SEEN": HasFlag(SEEN),
    b"UNANSWERED": Not(HasFlag(ANSWERED)),
    b"UNDELETED": Not(HasFlag(DELETED)),
    b"UNDRAFT": Not(HasFlag(DRAFT)),
    b"UNFLAGGED": Not(HasFlag(FLAGGED)),
    b"UNSEEN": Not(HasFlag(SEEN)),
    # RFC 3501 §6.4.4 only
    b"NEW": And((Recent(), Not(HasFlag(SEEN)))),
    b"OLD": Not(Recent()),
    b"RECENT": Recent(),
    # RFC 8514 §4.3: every mailbox here has save dates.
    b"SAVEDATESUPPORTED": All(),
}


def _filter(lexer: Lexer) -> Filter:
    name = lexer.atom()
    if "/" in name:
        # RFC 5466 §4
        raise ParseError("the name of a filter has no /")
    return Filter(name)


def _field(name: str) -> Callable[[Lexer], SearchKey]:
    return lambda lexer: Header(name, lexer.text())


def _header(lexer: Lexer) -> SearchKey:
    name = lexer.text().lower()
    lexer.space()
    return Header(name, lexer.text())


def _date(field: DateField, relation: DateRelation) -> Callable[[Lexer], SearchKey]:
    def parse(lexer: Lexer) -> SearchKey:
        quoted = lexer.data.startswith(b'"', lexer.at)
        try:
            return DateKey(field, relation, parse_date(lexer.quoted() if quoted else lexer.word("a date")))
        except InvalidInput as error:
            raise ParseError(error.text) from None

    return parse


def _object_id(kind: ObjectKind) -> Callable[[Lexer], SearchKey]:
    def parse(lexer: Lexer) -> SearchKey:
        # RFC 8474 §7; an id of other characters is none, and would find nothing.
        value = lexer.atom()
        if _OBJECT_ID.fullmatch(value) is None:
            raise ParseError("an object id has 1 to 255 letters, digits, _ and -")
        return ObjectId(kind, value)

    return parse


def _modseq(lexer: Lexer) -> SearchKey:
    if lexer.data.startswith(b'"', lexer.at):
        lexer.quoted()
        lexer.space()
        if lexer.word("priv, shared or all") not in (b"PRIV", b"SHARED", b"ALL"):
            raise ParseError("the entry type of MODSEQ is priv, shared or all")
        lexer.space()
    return ModSeq(lexer.number64())


def _uids(low: int, high: int) -> SearchKey:
    return Uids(SequenceSet(NumSet(((low, high),) if low <= high else ())))


_WITH_ARGUMENT: Final[dict[bytes, Callable[[Lexer], SearchKey]]] = {
    **{name.upper().encode(): _field(name) for name in ("bcc", "cc", "from", "subject", "to")},
    **{relation.value.encode(): _date(DateField.INTERNAL, relation) for relation in DateRelation},
    **{b"SAVED" + relation.value.encode(): _date(DateField.SAVED, relation) for relation in DateRelation},
    **{b"SENT" + relation.value.encode(): _date(DateField.SENT, relation) for relation in DateRelation},
    **{kind.value.encode(): _object_id(kind) for kind in ObjectKind},
    b"BODY": lambda lexer: BodyText(lexer.text()),
    b"HEADER": _header,
    b"KEYWORD": lambda lexer: HasFlag(lexer.atom()),
    b"LARGER": lambda lexer: Larger(lexer.number64()),
    b"MODSEQ": _modseq,
    b"OLDER": lambda lexer: Within(lexer.number(1), older=True),
    b"YOUNGER": lambda lexer: Within(lexer.number(1), older=False),
    b"SMALLER": lambda lexer: Smaller(lexer.number64()),
    b"TEXT": lambda lexer: Text(lexer.text()),
    b"UID": lambda lexer: Uids(lexer.message_set()),
    b"UIDAFTER": lambda lexer: _uids(lexer.number(1) + 1, MAX_NUMBER),
    b"UIDBEFORE": lambda lexer: _uids(1, lexer.number(1) - 1),
    b"UNKEYWORD": lambda lexer: Not(HasFlag(lexer.atom())),
}
