"""The capabilities that a command's arguments belong to; where one of them is not offered, the command is refused.

The capability that brings a whole command stands in its CommandSpec. A new kind of argument is a line here. Asked only
for sessions from which something was taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mailserver.wire.imap import commands
from mailserver.wire.imap.commands import ListReturn, ListSelect, Notify, SearchReturn, SortKey, StatusItem
from mailserver.wire.imap.events import AppendMessage, AppendStarted
from mailserver.wire.imap.fetch_items import BinarySection, BinarySize, FetchAttribute, FetchItem
from mailserver.wire.imap.search_keys import (
    And,
    DateField,
    DateKey,
    Filter,
    Fuzzy,
    ModSeq,
    Not,
    ObjectId,
    Or,
    SearchKey,
    Within,
)
from mailserver.wire.imap.sequence_set import SavedResult

__all__ = ["needed", "needed_by", "needed_by_message"]

_FETCH: Mapping[FetchAttribute | type[FetchItem], str] = {
    FetchAttribute.MODSEQ: "CONDSTORE",
    FetchAttribute.EMAILID: "OBJECTID",
    FetchAttribute.THREADID: "OBJECTID",
    FetchAttribute.SAVEDATE: "SAVEDATE",
    FetchAttribute.PREVIEW: "PREVIEW",
    FetchAttribute.PREVIEW_LAZY: "PREVIEW",
    BinarySection: "BINARY",
    BinarySize: "BINARY",
}
_CONTEXT = frozenset((SearchReturn.CONTEXT, SearchReturn.UPDATE))
_SEARCH: Mapping[type[SearchKey], str] = {
    ModSeq: "CONDSTORE",
    ObjectId: "OBJECTID",
    Within: "WITHIN",
    Filter: "FILTERS",
    Fuzzy: "SEARCH=FUZZY",
}
_SEARCH_RETURNS = {
    SearchReturn.SAVE: "SEARCHRES",
    SearchReturn.PARTIAL: "PARTIAL",
    SearchReturn.RELEVANCY: "SEARCH=FUZZY",
}
_SORT = {SortKey.DISPLAYFROM: "SORT=DISPLAY", SortKey.DISPLAYTO: "SORT=DISPLAY", SortKey.RELEVANCY: "SEARCH=FUZZY"}
_STATUS = {
    StatusItem.SIZE: "STATUS=SIZE",
    StatusItem.HIGHESTMODSEQ: "CONDSTORE",
    StatusItem.MAILBOXID: "OBJECTID",
    StatusItem.APPENDLIMIT: "APPENDLIMIT",
    StatusItem.DELETED_STORAGE: "QUOTA=RES-STORAGE",
}
_LIST_SELECTS = {ListSelect.SPECIAL_USE: "SPECIAL-USE"}
_LIST_RETURNS = {
    ListReturn.SPECIAL_USE: "SPECIAL-USE",
    ListReturn.CHILDREN: "CHILDREN",
    ListReturn.MYRIGHTS: "LIST-MYRIGHTS",
}


def needed(command: object) -> Iterator[str]:
    """The capabilities, in capitals, perhaps more than once."""
    if isinstance(getattr(command, "messages", None), SavedResult):
        yield "SEARCHRES"
    look = _NEEDS.get(type(command))
    if look is not None:
        yield from look(command)


def _among(table: Mapping[Any, str], asked: Iterable[object]) -> Iterator[str]:
    return (table[one] for one in asked if one in table)


def _fetched(items: Iterable[FetchItem]) -> Iterator[str]:
    return _among(_FETCH, (item if isinstance(item, FetchAttribute) else type(item) for item in items))


def _append(command: AppendStarted) -> Iterator[str]:
    return needed_by_message(command.message)


def needed_by_message(message: AppendMessage) -> Iterator[str]:
    """The capabilities that one message of an APPEND belongs to."""
    if message.catenate:
        yield "CATENATE"
    if message.binary:
        yield "BINARY"
    if message.utf8:
        yield "UTF8=ACCEPT"


def _authenticate(command: commands.Authenticate) -> Iterator[str]:
    yield f"AUTH={command.mechanism}"
    if command.initial_response is not None:
        yield "SASL-IR"


def _create(command: commands.Create) -> Iterator[str]:
    if command.special_use:
        yield "CREATE-SPECIAL-USE"


def _fetch(command: commands.Fetch) -> Iterator[str]:
    yield from _fetched(command.items)
    if command.vanished:
        yield "QRESYNC"
    if command.partial is not None:
        yield "PARTIAL"


def _list(command: commands.List) -> Iterator[str]:
    if command.extended:
        yield "LIST-EXTENDED"
    if command.status:
        yield "LIST-STATUS"
    if command.metadata:
        yield "LIST-METADATA"
    yield from _among(_LIST_SELECTS, command.select)
    yield from _among(_LIST_RETURNS, command.returns)
    yield from _among(_STATUS, command.status)


def _notify(command: Notify) -> Iterator[str]:
    for group in command.groups:
        yield from _fetched(group.fetch)


def _updates(command: commands.Search) -> Iterator[str]:
    if command.fetch:
        yield "NOTIFY"
        yield from _fetched(command.fetch)


def _search(command: commands.Search) -> Iterator[str]:
    yield from _updates(command)
    if command.returns is not None:
        yield "ESEARCH"
        yield from _among(_SEARCH_RETURNS, command.returns)
        if command.returns & _CONTEXT:
            yield "CONTEXT=SEARCH"
    yield from needed_by(command.key)


def needed_by(asked: SearchKey) -> Iterator[str]:
    """The capabilities that search keys belong to."""
    keys = [asked]
    while keys:
        key = keys.pop()
        if isinstance(key, DateKey) and key.field is DateField.SAVED:
            yield "SAVEDATE"
        if type(key) in _SEARCH:
            yield _SEARCH[type(key)]
        if isinstance(getattr(key, "messages", None), SavedResult):
            yield "SEARCHRES"
        match key:
            case And():
                keys.extend(key.keys)
            case Or():
                keys.extend((key.left, key.right))
            case Not() | Fuzzy():
                keys.append(key.key)


def _set_quota(command: commands.SetQuota) -> Iterator[str]:
    yield "QUOTASET"
    for resource, _ in command.limits:
        yield f"QUOTA=RES-{resource}"


def _sort(command: commands.Sort) -> Iterator[str]:
    yield from _updates(command.search)
    if command.search.returns is not None:
        yield "ESORT"
        yield from _among(_SEARCH_RETURNS, command.search.returns)
        if command.search.returns & _CONTEXT:
            yield "CONTEXT=SORT"
    yield from _among(_SORT, (criterion.key for criterion in command.criteria))
    yield from needed_by(command.search.key)


def _multi_search(command: commands.MultiSearch) -> Iterator[str]:
    return _search(command.search)


def _thread(command: commands.Thread) -> Iterator[str]:
    yield f"THREAD={command.algorithm.name}"
    yield from needed_by(command.search.key)


def _select(command: commands.Select) -> Iterator[str]:
    if command.condstore:
        yield "CONDSTORE"
    if command.qresync is not None:
        yield "QRESYNC"


def _status(command: commands.Status) -> Iterator[str]:
    return _among(_STATUS, command.items)


def _store(command: commands.Store) -> Iterator[str]:
    if command.unchanged_since is not None:
        yield "CONDSTORE"


_NEEDS: Mapping[type, Callable[[Any], Iterator[str]]] = {
    AppendStarted: _append,
    commands.Authenticate: _authenticate,
    commands.Create: _create,
    commands.Fetch: _fetch,
    Notify: _notify,
    commands.List: _list,
    commands.MultiSearch: _multi_search,
    commands.Search: _search,
    commands.Select: _select,
    commands.SetQuota: _set_quota,
    commands.Sort: _sort,
    commands.Status: _status,
    commands.Store: _store,
    commands.Thread: _thread,
}
