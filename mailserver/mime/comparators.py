"""Comparators: in which sense texts are equal, in each other, and in order (RFC 4790, RFC 5255 §4).

Each gives keys of texts: a text is in another if its `key` is in the other's, and `order` sorts them, octet by octet,
with equal ones for texts with equal keys (RFC 4790 §4.2). What is not in the charset that it says stays octets, which
are compared as they are and come after all texts (RFC 5255 §4.6 c).

Our own, CASEFOLD, is what SEARCH means where nobody says otherwise: text without regard to case, where `ß` is `ss`, and
a letter with a mark is one thing however it is written. It takes octets of any kind: those that are none of a charset
are U+FFFD to it. It is in no registry, so its name is of the form that is left to vendors, with the top-level domain
that nobody owns (RFC 2606 §2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mailserver.mime.casemap import casemap
from mailserver.mime.normal import pieces
from mailserver.mime.text import fold
from mailserver.mime.words import decode_words, read_words

__all__ = [
    "ASCII_CASEMAP", "CASEFOLD", "COMPARATORS", "OCTET", "UNICODE_CASEMAP", "USUAL", "Collation", "Comparator",
    "matching",
]  # fmt: skip

#: Characters of which the key is made at a time: it may be ten times as long as the text.
_PIECE = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparator:
    """One of them.

    Attributes:
        name: its collation identifier (RFC 4790 §3.1).
        key: of a text; equality and substrings of texts are those of keys.
        order: of a text, as octets none of which is 255.
        total: damaged text is text to it.
    """

    name: str
    key: Callable[[str], bytes]
    order: Callable[[str], bytes]
    total: bool = False

    def words(self, raw: bytes) -> str | bytes:
        """A field body as this compares it: text, or octets that are none."""
        return decode_words(raw) if self.total else read_words(raw)

    def text(self, octets: bytes, codec: str = "utf-8") -> str | bytes:
        """The same of octets that ought to be in a charset."""
        try:
            return octets.decode(codec, "replace" if self.total else "strict")
        except UnicodeError:
            return octets

    def is_in(self, key: bytes, text: str) -> bool:
        """Whether the text with this key is in this one."""
        if len(text) <= _PIECE:
            return key in self.key(text)
        last = b""
        for piece in pieces(text, _PIECE):
            last += self.key(piece)
            if key in last:
                return True
            last = last[max(0, len(last) - len(key) + 1) :]
        return False

    def order_of(self, text: str | bytes) -> bytes:
        """The place among others; octets come last."""
        return self.order(text) if isinstance(text, str) else b"\xff" + text


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _folded(text: str) -> bytes:
    return _utf8(fold(text))


def _order_of_folded(text: str) -> bytes:
    """Letters with marks stand where those without do, though they are others."""
    folded = fold(text)
    if folded.isascii():
        return folded.upper().encode("ascii")
    return casemap(folded) + b"\0" + _utf8(folded)


def _ascii_upper(text: str) -> bytes:
    return _utf8(text).upper()


CASEFOLD = Comparator(name="vnd-mailserver.invalid;casefold", key=_folded, order=_order_of_folded, total=True)
#: RFC 5051.
UNICODE_CASEMAP = Comparator(name="i;unicode-casemap", key=casemap, order=casemap)
#: RFC 4790 §9.2.
ASCII_CASEMAP = Comparator(name="i;ascii-casemap", key=_ascii_upper, order=_ascii_upper)
#: RFC 4790 §9.3, of text as UTF-8.
OCTET = Comparator(name="i;octet", key=_utf8, order=_utf8)

#: All, the more useful ones first (RFC 4790 §3.2).
COMPARATORS = (CASEFOLD, UNICODE_CASEMAP, ASCII_CASEMAP, OCTET)


@dataclass(frozen=True, slots=True)
class Collation:
    """A comparator in one of two directions, as a client selects it (RFC 4790 §3.3)."""

    comparator: Comparator
    descending: bool = False

    @property
    def selected(self) -> str:
        """As a client is told of it."""
        return f"-{self.comparator.name}" if self.descending else self.comparator.name


#: What SEARCH, SORT and THREAD go by where nothing else is selected.
USUAL = Collation(CASEFOLD)


def matching(pattern: str, default: Comparator) -> Iterable[Comparator]:
    """Those whose names a pattern matches, which has no sign in front; `default` is the one of that name."""
    wanted = pattern.lower()
    if wanted == "default":
        return (default,)
    return (one for one in COMPARATORS if _matches(wanted, one.name))


def _matches(pattern: str, name: str) -> bool:
    """`*` is any text. Linear, whatever the pattern."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    if not name.startswith(first):
        return False
    at, last = len(first), rest.pop()
    for part in rest:
        at = name.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(name) - at >= len(last) and name.endswith(last)
