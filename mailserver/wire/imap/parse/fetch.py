"""The parser of FETCH (RFC 9051 §6.4.5, RFC 3516, RFC 7162 §3.1.4, RFC 8970 §6, RFC 9394 §3.3).

A new item is a member of FetchAttribute, or a row in `_SECTIONS` if it has a section.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from mailserver.wire.imap.commands import Fetch
from mailserver.wire.imap.fetch_items import (
    BinarySection,
    BinarySize,
    BodySection,
    FetchAttribute,
    FetchItem,
    SectionText,
)
from mailserver.wire.imap.lexer import MAX_NESTING, Lexer, ParseError
from mailserver.wire.imap.responses import astring
from mailserver.wire.imap.sequence_set import PartialRange

__all__ = ["body_section", "fetch", "fetch_items", "uid_fetch"]

_MAX_ITEMS: Final = 250
_FIELD_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]{1,200}")

# RFC 8970 §6; other modifiers there are none, and what else stands in parentheses here is FETCH's own.
_LAZY = re.compile(rb" \(LAZY(?: LAZY){0,10}\)", re.IGNORECASE)

_FAST: Final = (FetchAttribute.FLAGS, FetchAttribute.INTERNALDATE, FetchAttribute.RFC822_SIZE)
_MACROS: Final[dict[bytes, tuple[FetchItem, ...]]] = {
    b"FAST": _FAST,
    b"ALL": (*_FAST, FetchAttribute.ENVELOPE),
    b"FULL": (*_FAST, FetchAttribute.ENVELOPE, FetchAttribute.BODY),
}
_ATTRIBUTES: Final[dict[bytes, FetchItem]] = {
    **{attribute.value: attribute for attribute in FetchAttribute},
    # RFC 3501 §6.4.5: these are sections under another name.
    b"RFC822": BodySection(peek=False, name=b"RFC822"),
    b"RFC822.HEADER": BodySection(text=SectionText.HEADER, peek=True, name=b"RFC822.HEADER"),
    b"RFC822.TEXT": BodySection(text=SectionText.TEXT, peek=False, name=b"RFC822.TEXT"),
}
_SECTION_TEXTS: Final = {text.value: text for text in SectionText}


def fetch(lexer: Lexer) -> Fetch:
    """FETCH."""
    return _fetch(lexer, uid=False)


def uid_fetch(lexer: Lexer) -> Fetch:
    """UID FETCH."""
    return _fetch(lexer, uid=True)


def _fetch(lexer: Lexer, *, uid: bool) -> Fetch:
    lexer.space()
    messages = lexer.message_set()
    lexer.space()
    # Clients ask for the same few lists over and over.
    rest = lexer.data[lexer.at :]
    remembered = _remembered(rest) if len(rest) <= 500 else None
    if remembered is not None:
        items = remembered
        lexer.at = len(lexer.data)
    else:
        items = _items(lexer)
    changed_since, vanished, partial = _Modifiers() if lexer.at_end else _modifiers(lexer)
    if vanished and not uid:
        raise ParseError("VANISHED is a modifier of UID FETCH only")
    if uid and FetchAttribute.UID not in items:
        items = (FetchAttribute.UID, *items)
    if changed_since is not None and FetchAttribute.MODSEQ not in items:
        items = (*items, FetchAttribute.MODSEQ)
    return Fetch(
        messages=messages, items=items, uid=uid, changed_since=changed_since, vanished=vanished, partial=partial
    )


@lru_cache(maxsize=256)
def _remembered(rest: bytes) -> tuple[FetchItem, ...] | None:
    """The items, or None when there are modifiers or an error behind them (which is told where it stands)."""
    lexer = Lexer(rest)
    try:
        items = _items(lexer)
    except ParseError:
        return None
    return items if lexer.at_end else None


def fetch_items(lexer: Lexer) -> tuple[FetchItem, ...]:
    """`(item …)`, each once."""
    return tuple(dict.fromkeys(lexer.items(lambda: _item(lexer), _MAX_ITEMS)))


def _items(lexer: Lexer) -> tuple[FetchItem, ...]:
    if lexer.data.startswith(b"(", lexer.at):
        return fetch_items(lexer)
    macro = _MACROS.get(lexer.peek_word())
    if macro is not None:
        lexer.word()
        return macro
    return (_item(lexer),)


def _item(lexer: Lexer) -> FetchItem:
    word = lexer.word("a FETCH item")
    if lexer.data.startswith(b"[", lexer.at):
        section = _SECTIONS.get(word)
        if section is not None:
            lexer.at += 1
            return section(lexer)
    if word == b"PREVIEW" and (lazy := _LAZY.match(lexer.data, lexer.at)) is not None:
        lexer.at = lazy.end()
        return FetchAttribute.PREVIEW_LAZY
    known = _ATTRIBUTES.get(word)
    if known is None:
        raise ParseError("this FETCH item is not known here")
    return known


def _body(peek: bool) -> Callable[[Lexer], FetchItem]:
    def parse(lexer: Lexer) -> FetchItem:
        start = lexer.at
        part = _part(lexer)
        text, names = _section_text(lexer, part)
        spec = lexer.data[start : lexer.at].upper()
        if text in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT):
            head = spec[: spec.index(b" ")]
            spec = b"%b (%b)" % (head, b" ".join(astring(name) for name in names))
        lexer.expect(b"]")
        partial = _partial(lexer)
        return BodySection(
            part=part,
            text=text,
            fields=tuple(dict.fromkeys(name.decode("ascii").lower() for name in names)),
            peek=peek,
            partial=partial,
            name=_response_name(b"BODY", spec, partial),
        )

    return parse


def body_section(text: bytes) -> BodySection:
    """A section as it stands between the brackets of BODY. Raises ParseError."""
    lexer = Lexer(text + b"]")
    found = _body(peek=True)(lexer)
    if not lexer.at_end or not isinstance(found, BodySection):
        lexer.fail("the end of the section")
    return found


def _binary(peek: bool) -> Callable[[Lexer], FetchItem]:
    def parse(lexer: Lexer) -> FetchItem:
        start = lexer.at
        part = _part(lexer)
        spec = lexer.data[start : lexer.at]
        lexer.expect(b"]")
        partial = _partial(lexer)
        return BinarySection(part=part, peek=peek, partial=partial, name=_response_name(b"BINARY", spec, partial))

    return parse


def _binary_size(lexer: Lexer) -> FetchItem:
    start = lexer.at
    part = _part(lexer)
    spec = lexer.data[start : lexer.at]
    lexer.expect(b"]")
    return BinarySize(part=part, name=_response_name(b"BINARY.SIZE", spec, None))


_SECTIONS: Final[dict[bytes, Callable[[Lexer], FetchItem]]] = {
    b"BODY": _body(peek=False),
    b"BODY.PEEK": _body(peek=True),
    b"BINARY": _binary(peek=False),
    b"BINARY.PEEK": _binary(peek=True),
    b"BINARY.SIZE": _binary_size,
}


def _response_name(item: bytes, spec: bytes, partial: tuple[int, int] | None) -> bytes:
    # RFC 9051 §7.5.2: only the origin octet is told, not how many were asked for.
    return b"%b[%b]<%d>" % (item, spec, partial[0]) if partial else b"%b[%b]" % (item, spec)


def _part(lexer: Lexer) -> tuple[int, ...]:
    """`1.2.3`; stops before the dot that leads to a word."""
    numbers: list[int] = []
    data = lexer.data
    while data[lexer.at : lexer.at + 1].isdigit():
        if len(numbers) == MAX_NESTING:
            raise ParseError(f"parts are nested at most {MAX_NESTING} deep")
        numbers.append(lexer.number(1))
        if not data[lexer.at + 1 : lexer.at + 2].isdigit() or not lexer.skip(b"."):
            break
    return tuple(numbers)


def _section_text(lexer: Lexer, part: tuple[int, ...]) -> tuple[SectionText | None, list[bytes]]:
    if lexer.data.startswith(b"]", lexer.at):
        return None, []
    if part:
        lexer.expect(b".")
    text = _SECTION_TEXTS.get(lexer.word("a section"))
    if text is None or (text is SectionText.MIME and not part):
        raise ParseError("a section is a part number, HEADER, HEADER.FIELDS (...), TEXT, or MIME of a part")
    if text not in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT):
        return text, []
    lexer.space()
    return text, lexer.items(lambda: _field_name(lexer))


def _field_name(lexer: Lexer) -> bytes:
    name = lexer.astring()
    # RFC 5322 §2.2; no other name can be in a message, and this one is repeated in the response.
    if not _FIELD_NAME.fullmatch(name):
        raise ParseError("a header field name is printable ASCII without a colon")
    return name


def _partial(lexer: Lexer) -> tuple[int, int] | None:
    if not lexer.skip(b"<"):
        return None
    first = lexer.number64()
    lexer.expect(b".")
    count = lexer.number64(1)
    lexer.expect(b">")
    return first, count


class _Modifiers(NamedTuple):
    changed_since: int | None = None
    vanished: bool = False
    partial: PartialRange | None = None


def _modifiers(lexer: Lexer) -> _Modifiers:
    found = _Modifiers()

    def modifier() -> None:
        nonlocal found
        word = lexer.word("a FETCH modifier")
        if word == b"CHANGEDSINCE":
            lexer.space()
            found = found._replace(changed_since=lexer.number64())
        elif word == b"PARTIAL":
            lexer.space()
            found = found._replace(partial=lexer.partial_range())
        elif word == b"VANISHED":
            found = found._replace(vanished=True)
        else:
            raise ParseError("FETCH knows the modifiers CHANGEDSINCE, PARTIAL and VANISHED")

    lexer.space()
    lexer.items(modifier, 10)
    if found.vanished and found.changed_since is None:
        # RFC 7162 §3.2.6
        raise ParseError("VANISHED needs CHANGEDSINCE beside it")
    return found
