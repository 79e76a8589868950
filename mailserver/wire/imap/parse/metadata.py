"""The parsers of GETMETADATA and SETMETADATA (RFC 5464 §5), and of the entries of LIST (RFC 9590 §5)."""

from __future__ import annotations

from typing import Final

from mailserver.model.errors import InvalidInput
from mailserver.model.metadata import entry_name
from mailserver.wire.imap.commands import EVERY_DEPTH, GetMetadata, SetMetadata
from mailserver.wire.imap.lexer import Lexer, ParseError

__all__ = ["entries", "get_metadata", "set_metadata"]

_MAX_ENTRIES: Final = 100
_DEPTHS: Final = {b"0": 0, b"1": 1, b"INFINITY": EVERY_DEPTH}


def get_metadata(lexer: Lexer) -> GetMetadata:
    """RFC 5464 §4.2. The options come before the mailbox by the grammar, and behind it by the examples."""
    options: dict[bytes, int] = {}
    lexer.space()
    if lexer.data.startswith(b"(", lexer.at):
        _options(lexer, options)
        lexer.space()
    mailbox = lexer.mailbox()
    lexer.space()
    if not options and _has_options(lexer):
        _options(lexer, options)
        lexer.space()
    asked = entries(lexer) if lexer.data.startswith(b"(", lexer.at) else (_entry(lexer),)
    return GetMetadata(
        mailbox=mailbox, entries=asked, max_size=options.get(b"MAXSIZE"), depth=options.get(b"DEPTH", 0)
    )


def _has_options(lexer: Lexer) -> bool:
    """Whether the list that begins here is one of options: entries begin with a slash."""
    return lexer.data.startswith(b"(", lexer.at) and lexer.data[lexer.at + 1 : lexer.at + 2].isalpha()


def _options(lexer: Lexer, options: dict[bytes, int]) -> None:
    def option() -> None:
        word = lexer.word("MAXSIZE or DEPTH")
        lexer.space()
        if word == b"MAXSIZE" and word not in options:
            options[word] = lexer.number()
        elif word == b"DEPTH" and word not in options:
            depth = _DEPTHS.get(lexer.word("0, 1 or infinity"))
            if depth is None:
                raise ParseError("DEPTH is 0, 1 or infinity")
            options[word] = depth
        else:
            raise ParseError("GETMETADATA takes the options MAXSIZE and DEPTH, each once")

    lexer.items(option, 2)


def entries(lexer: Lexer) -> tuple[str, ...]:
    """`(entry …)`, each once."""
    named = {name.lower(): name for name in lexer.items(lambda: _entry(lexer), _MAX_ENTRIES)}
    return tuple(named.values())


def _entry(lexer: Lexer) -> str:
    name = lexer.text()
    _check(name, whole=False)
    return name


def _check(name: str, *, whole: bool) -> str:
    try:
        return entry_name(name, whole=whole)
    except InvalidInput as error:
        raise ParseError(error.text) from None


def set_metadata(lexer: Lexer) -> SetMetadata:
    """RFC 5464 §4.3."""
    values: dict[str, bytes | None] = {}

    def entry_value() -> None:
        name = _check(lexer.text(), whole=True)
        lexer.space()
        values[name] = lexer.octets()

    lexer.space()
    mailbox = lexer.mailbox()
    lexer.space()
    lexer.items(entry_value, _MAX_ENTRIES)
    return SetMetadata(mailbox, values)
