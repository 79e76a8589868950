"""The parsers of SORT and THREAD (RFC 5256 §5, RFC 5957 §5), and of CANCELUPDATE (RFC 5267 §5)."""

from __future__ import annotations

from typing import Final

from mailserver.wire.imap.commands import CancelUpdate, Sort, SortCriterion, SortKey, Thread, ThreadAlgorithm
from mailserver.wire.imap.lexer import Lexer, ParseError
from mailserver.wire.imap.parse.search import Options, result_options, search_program

__all__ = ["cancel_update", "sort", "thread", "uid_sort", "uid_thread"]

_MAX_CRITERIA: Final = 30
_KEYS: Final = {key.value: key for key in SortKey}
_ALGORITHMS: Final = {algorithm.value: algorithm for algorithm in ThreadAlgorithm}


def sort(lexer: Lexer) -> Sort:
    """SORT."""
    return _sort(lexer, uid=False)


def uid_sort(lexer: Lexer) -> Sort:
    """UID SORT."""
    return _sort(lexer, uid=True)


def thread(lexer: Lexer) -> Thread:
    """THREAD."""
    return _thread(lexer, uid=False)


def uid_thread(lexer: Lexer) -> Thread:
    """UID THREAD."""
    return _thread(lexer, uid=True)


def cancel_update(lexer: Lexer) -> CancelUpdate:
    """CANCELUPDATE."""
    tags = []
    while not lexer.at_end:
        lexer.space()
        tags.append(lexer.quoted())
    if not tags:
        lexer.fail("the quoted tag of a search")
    return CancelUpdate(tuple(tags))


def _sort(lexer: Lexer, *, uid: bool) -> Sort:
    lexer.space()
    options = result_options(lexer)
    criteria = tuple(lexer.items(lambda: _criterion(lexer), _MAX_CRITERIA))
    lexer.space()
    relevancy = any(criterion.key is SortKey.RELEVANCY for criterion in criteria)
    return Sort(criteria, search_program(lexer, options, uid=uid, charset=True, relevancy=relevancy))


def _criterion(lexer: Lexer) -> SortCriterion:
    word = lexer.word("a sort criterion")
    reverse = word == b"REVERSE"
    if reverse:
        lexer.space()
        word = lexer.word("a sort criterion")
    key = _KEYS.get(word)
    if key is None:
        raise ParseError(f"SORT knows {', '.join(key.name for key in SortKey)}")
    return SortCriterion(key, reverse)


def _thread(lexer: Lexer, *, uid: bool) -> Thread:
    lexer.space()
    algorithm = _ALGORITHMS.get(lexer.word("a threading algorithm"))
    if algorithm is None:
        raise ParseError("THREAD knows ORDEREDSUBJECT and REFERENCES")
    lexer.space()
    return Thread(algorithm, search_program(lexer, Options(), uid=uid, charset=True))
