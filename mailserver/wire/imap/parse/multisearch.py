"""The parser of ESEARCH, the SEARCH of several mailboxes (RFC 7377 §4)."""

from __future__ import annotations

from typing import Final

from mailserver.wire.imap.commands import MultiSearch, SearchReturn, Source, SourceKind
from mailserver.wire.imap.lexer import Lexer, ParseError
from mailserver.wire.imap.parse.search import Options, result_options, search_program

__all__ = ["esearch"]

_MAX_SOURCES: Final = 100
_MAX_NAMES: Final = 1_000
_KINDS: Final = {kind.value: kind for kind in SourceKind}
_NAMED: Final = (SourceKind.MAILBOXES, SourceKind.SUBTREE, SourceKind.SUBTREE_ONE)
_SELECTED: Final[tuple[Source, ...]] = (Source(SourceKind.SELECTED),)


def esearch(lexer: Lexer) -> MultiSearch:
    """`[IN (sources)] [RETURN (…)] [CHARSET …] keys`."""
    lexer.space()
    sources = _SELECTED
    if lexer.peek_word() == b"IN":
        lexer.at += 2
        lexer.space()
        sources = tuple(lexer.items(lambda: _source(lexer), _MAX_SOURCES))
        lexer.space()
    returns, partial, fetch = result_options(lexer)
    # RFC 7377 §2.1: no result option means ALL.
    returns = returns or frozenset({SearchReturn.ALL})
    if SearchReturn.SAVE in returns and sources != _SELECTED:
        # RFC 7377 §2.2
        raise ParseError("SAVE is for the selected mailbox alone")
    if SearchReturn.UPDATE in returns and not any(source.kind is SourceKind.SELECTED for source in sources):
        raise ParseError("UPDATE is for the selected mailbox")
    return MultiSearch(sources, search_program(lexer, Options(returns, partial, fetch), uid=True, charset=False))


def _source(lexer: Lexer) -> Source:
    if lexer.data.startswith(b"(", lexer.at):
        # RFC 7377 §4 scope-options: there are none yet.
        raise ParseError("ESEARCH knows no scope options")
    kind = _KINDS.get(lexer.word("which mailboxes"))
    if kind is None:
        raise ParseError(f"ESEARCH searches in {', '.join(one.decode('ascii') for one in _KINDS)}")
    if kind not in _NAMED:
        return Source(kind)
    lexer.space()
    several = lexer.data.startswith(b"(", lexer.at)
    return Source(kind, tuple(lexer.items(lexer.mailbox, _MAX_NAMES) if several else [lexer.mailbox()]))
