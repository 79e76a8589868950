"""Chosen header fields of many messages at once, out of the fields that the index keeps of each (BODY[HEADER.FIELDS]).

The fields of a batch are put together, with a mark between messages, and what was not asked for is cut out: one pass of
one pattern, where a call for each message and an object for each field cost more than the matching itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache

from mailserver.imap.fetch.sections import MANY_FIELDS, field_filter

__all__ = ["listed_literals"]

#: Stands on a line of its own behind the fields of a message. Where a message has it too, each is looked at alone.
_MARK = b"\0"
#: Names from which on that is worth it: of few names, most of a message would be cut out.
_WORTH = 8
#: Messages that are put together: as much as the processor holds in its nearest memory.
_TOGETHER = 100
#: Words of field names that are usually not just capitalized.
_SPECIAL = {"id": "ID", "mime": "MIME"}


@lru_cache(maxsize=64)
def listed_literals(names: tuple[str, ...]) -> Callable[[Sequence[bytes]], list[bytes]]:
    """A function from the listed fields of messages (Rendered.LISTED_HEADERS) to literals with those of these (listed,
    lower-case) names, and the empty line behind them."""
    alone = field_filter(names)

    def one_by_one(pieces: Sequence[bytes]) -> list[bytes]:
        headers = [alone(piece) for piece in pieces]
        return [b"{%d}\r\n%b" % (len(header), _shown(header)) for header in headers]

    if not _WORTH <= len(names) <= MANY_FIELDS:
        return one_by_one
    cut_out = _others(names).sub

    def together(pieces: Sequence[bytes]) -> list[bytes]:
        everything = b"\n" + b"\0\n".join([*pieces, b""])
        headers = cut_out(b"", everything).split(_MARK)
        if everything.count(_MARK) != len(pieces) or len(headers) != len(pieces) + 1:
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


def _others(names: Collection[str]) -> re.Pattern[bytes]:
    """Every field but these, from the line end before it up to its own."""
    usual = _any_of({_usually(name) + ":" for name in names})
    in_any_case = "|".join(re.escape(name) for name in sorted(names))
    # Most fields are spelled as usual, which costs least to see; most others begin with other letters.
    first, second = (_set({case for name in names for case in (name[at].lower(), name[at].upper())}) for at in (0, 1))
    wanted = f"{usual}|(?={first}{second})(?i:{in_any_case})[ \\t]*+:"
    return re.compile(rf"\n(?!{wanted}|[ \t\0])[^\n]++(?:\n[ \t][^\n]*+)*+".encode("ascii"))


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


def _set(letters: Collection[str]) -> str:
    return f"[{''.join(re.escape(letter) for letter in sorted(letters))}]"
