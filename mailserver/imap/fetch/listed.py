"""Chosen header fields of many messages at once, out of the fields that the index keeps of each (BODY[HEADER.FIELDS]).

The fields of a batch are put together, with a mark between messages. Then one pass of one pattern takes out what was
asked for, or, if that is much, cuts out what was not: a call for each message costs more than the matching itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache

from mailserver.imap.fetch.sections import MANY_FIELDS, field_filter

__all__ = ["listed_literals"]

#: Stands on a line of its own behind the fields of a message. Where a message has it too, each is looked at alone.
_MARK = b"\0"
#: Names from which on there is less to be cut out than to be taken out.
_MUCH = 6
#: Messages that are put together: as much as the processor holds in its nearest memory.
_TOGETHER = 100
#: Words of field names that are usually not just capitalized.
_SPECIAL = {"id": "ID", "mime": "MIME"}


@lru_cache(maxsize=64)
def listed_literals(names: tuple[str, ...]) -> Callable[[Sequence[bytes]], list[bytes]]:
    """A function from the listed fields of messages (Rendered.LISTED_HEADERS) to literals with those of these (listed,
    lower-case) names, and the empty line behind them."""

    def one_by_one(pieces: Sequence[bytes]) -> list[bytes]:
        headers = list(map(field_filter(names), pieces))
        return [b"{%d}\r\n%b" % (len(header), _shown(header)) for header in headers]

    if len(names) > MANY_FIELDS:
        return one_by_one
    choose = _without_others(names) if len(names) >= _MUCH else _taken_out(names)

    def together(pieces: Sequence[bytes]) -> list[bytes]:
        if _MARK in b"".join(pieces):
            return one_by_one(pieces)
        headers = choose(b"\n" + b"\0\n".join([*pieces, b""])).split(_MARK)
        if len(headers) != len(pieces) + 1:
            # The last line of a message may have no end, and then the mark goes with it.
            return one_by_one(pieces)
        headers.pop()
        # Each begins with the end of the line before it.
        return [b"{%d}\r%b\r\n" % (len(header) + 1, header) for header in headers]

    return lambda pieces: [
        literal for at in range(0, len(pieces), _TOGETHER) for literal in together(pieces[at : at + _TOGETHER])
    ]


def _shown(octets: bytes) -> bytes:
    """RFC 9051 §4.3.1: NUL has no place in a literal; with another octet in its place all sizes stay true."""
    return octets.replace(b"\0", b"\x80") if b"\0" in octets else octets


def _taken_out(names: Collection[str]) -> Callable[[bytes], bytes]:
    """A function from fields and marks to the marks and the fields of these names, each with the line end before it."""
    usual, in_any_case = _spellings(names)
    field = rf"(?:{usual}|(?i:{in_any_case})[ \t]*+:)[^\n]*+(?:\n[ \t][^\n]*+)*+"
    # Most lines are seen by their first letter to be none of these.
    find = re.compile(rf"\n((?=[\0{_letters(names, 0)}])(?:\0|{field}))".encode("ascii")).findall
    return lambda everything: b"\n".join([b"", *find(everything)])


def _without_others(names: Collection[str]) -> Callable[[bytes], bytes]:
    """The same by cutting out every field but these, from the line end before it up to its own."""
    usual, in_any_case = _spellings(names)
    # Most fields are spelled as usual, which costs least to see; most others begin with other letters.
    wanted = f"{usual}|(?=[{_letters(names, 0)}][{_letters(names, 1)}])(?i:{in_any_case})[ \\t]*+:"
    cut = re.compile(rf"\n(?!{wanted}|[ \t\0])[^\n]++(?:\n[ \t][^\n]*+)*+".encode("ascii")).sub
    return lambda everything: cut(b"", everything)


def _spellings(names: Collection[str]) -> tuple[str, str]:
    """Patterns of these names as they are usually spelled, with the colon, and in any case."""
    return _any_of({_usually(name) + ":" for name in names}), "|".join(re.escape(name) for name in sorted(names))


def _usually(name: str) -> str:
    return "-".join(_SPECIAL.get(word, word.capitalize()) for word in name.split("-"))


def _any_of(words: Collection[str]) -> str:
    """A pattern of these words (none begins with another) that decides by one letter after the other."""
    rest: dict[str, list[str]] = {}
    for word in sorted(words):
        rest.setdefault(word[0], []).append(word[1:])
    return "|".join(
        re.escape(letter + ends[0]) if len(ends) == 1 else f"{re.escape(letter)}(?:{_any_of(ends)})"
        for letter, ends in rest.items()
    )


def _letters(names: Collection[str], at: int) -> str:
    """The letters at this place of the names, in both cases, for a set of a pattern."""
    return re.escape("".join(sorted({case for name in names for case in (name[at], name[at].upper())})))
