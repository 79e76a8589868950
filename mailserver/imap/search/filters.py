"""Searches by the name of a filter, which is an annotation of the account (RFC 5466).

`/private/filters/values/NAME` holds the keys. They stand for the one key FILTER NAME as if in parentheses, so that NOT
and OR before it mean all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mailserver.imap.capabilities.needs import needed_by
from mailserver.imap.replies import BadArguments, Refused, no
from mailserver.imap.session import Session
from mailserver.imap.uid_only import UID_REQUIRED, names_numbers
from mailserver.wire.imap.commands import Search
from mailserver.wire.imap.lexer import ParseError
from mailserver.wire.imap.parse.search import MAX_KEYS, criteria
from mailserver.wire.imap.search_keys import And, Filter, Fuzzy, Not, Or, SearchKey

__all__ = ["VALUES", "with_filters"]

VALUES = "/private/filters/values/"
#: Filters in filters in filters; RFC 5466 §3.1 wants three. So there are no loops, and no tree is too deep.
_PASSES = 3


async def with_filters(session: Session, search: Search) -> Search:
    """The search with the filters' own keys.

    Raises:
        Refused: there is no such filter, or what it holds is no search (RFC 5466 §3.1).
        BadArguments: what a filter asks for is not offered, or not with UIDONLY, or all filters together have too many
            keys.
    """
    if not search.filters:
        return search
    expansion = _Expansion(await session.folders.annotations(None))
    key = expansion.of(search.key, 0)
    for capability in needed_by(key):
        if not session.offers(capability):
            raise BadArguments(f"{capability} is not offered here")
    expanded = replace(search, key=key, filters=False, fuzzy=search.fuzzy or expansion.fuzzy)
    if session.uid_only and names_numbers(expanded):
        raise BadArguments(*UID_REQUIRED)
    return expanded


class _Expansion:
    """Of one search."""

    def __init__(self, kept: Mapping[str, bytes]) -> None:
        self._kept = kept
        self._left = MAX_KEYS
        self.fuzzy = False

    def of(self, key: SearchKey, passes: int) -> SearchKey:
        match key:
            case And():
                return And(tuple(self.of(one, passes) for one in key.keys))
            case Or():
                return Or(self.of(key.left, passes), self.of(key.right, passes))
            case Not():
                return Not(self.of(key.key, passes))
            case Fuzzy():
                return Fuzzy(self.of(key.key, passes))
            case Filter():
                return self._filter(key.name, passes)
        return key

    def _filter(self, name: str, passes: int) -> SearchKey:
        value = self._kept.get(VALUES + name.lower()) if passes < _PASSES else None
        if value is None:
            raise Refused(no("there is no such filter", f"UNDEFINED-FILTER {name}"))
        try:
            found = criteria(value)
        except ParseError as error:
            raise Refused(no(f"the filter holds no search: {error.text}", f"UNDEFINED-FILTER {name}")) from None
        self._left -= found.keys
        if self._left < 0:
            raise BadArguments(f"a search has at most {MAX_KEYS} keys, with those of its filters")
        self.fuzzy = self.fuzzy or found.fuzzy
        return self.of(found.key, passes + 1)
