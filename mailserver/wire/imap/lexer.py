"""The tokens of IMAP's grammar (RFC 9051 §9), read from one complete command.

A command is one bytes object: its lines with the held literals in their places, each still behind its `{n}` CRLF. Stage
one has already found these boundaries, so a literal is read by its count, and no CRLF can occur outside one. Every
method reads one token at `at` or raises ParseError; none looks at an octet twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

from mailserver.model.errors import InvalidInput
from mailserver.model.flags import normalize_flag
from mailserver.model.mailbox import INBOX, is_inbox
from mailserver.model.numset import MAX_NUMBER, NumSet
from mailserver.wire.imap import utf7
from mailserver.wire.imap.sequence_set import SAVED_RESULT, PartialRange, SavedResult, SequenceSet

__all__ = ["MAX_NESTING", "Lexer", "ParseError"]

#: How deep parentheses, NOT, OR and section parts may go (ATTACKS I05, I08).
MAX_NESTING = 50
_MAX_63 = 0x7FFF_FFFF_FFFF_FFFF

_T = TypeVar("_T")

_ATOM = re.compile(rb"[!#$&'+,./0-9:;<=>?@A-Z\[^_`a-z|}~-]+")
_ASTRING_ATOM = re.compile(rb"[!#$&'+,./0-9:;<=>?@A-Z\[\]^_`a-z|}~-]+")
_LIST_ATOM = re.compile(rb"[!#$%&'*+,./0-9:;<=>?@A-Z\[\]^_`a-z|}~-]+")
# Inside a section `]` ends the word.
_WORD = re.compile(rb"[A-Za-z0-9.$+_-]+")
_QUOTED = re.compile(rb'"([^"\\\r\n\0]*)"')
_QUOTED_ESCAPED = re.compile(rb'"((?:[^"\\\r\n\0]|\\["\\])*+)"')
_ESCAPE = re.compile(rb'\\(["\\])')
_LITERAL = re.compile(rb"(~?)\{([0-9]{1,20})\+?\}\r\n")
_NUMBER = re.compile(rb"[0-9]+")
_SEQUENCE_SET = re.compile(rb"[0-9*:,]+|\$")
_FLAG = re.compile(rb"\\?[!#$&'+,./0-9:;<=>?@A-Z\[^_`a-z|}~-]+")


class ParseError(Exception):
    """A command that means nothing, or nothing that we do. The text says what is wrong and what to do."""

    def __init__(self, text: str, *, status: str = "BAD", code: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.code = code


class Lexer:
    """A cursor over one command. `utf8` as in responses.py: how mailbox names are spelled."""

    __slots__ = ("at", "data", "utf8")

    def __init__(self, data: bytes, at: int = 0, *, utf8: bool = False) -> None:
        self.data = data
        self.at = at
        self.utf8 = utf8

    # Structure

    def fail(self, expected: str) -> NoReturn:
        """Raise a ParseError that says what was expected and what stands there instead."""
        found = self.data[self.at : self.at + 20]
        # Never the octets themselves: this may be a password that was quoted wrongly.
        where = f"at octet {self.at + 1}" if found else "at the end of the command"
        raise ParseError(f"expected {expected} {where}")

    def space(self) -> None:
        """Exactly one space (RFC 9051 §9 note 2)."""
        if self.data[self.at : self.at + 1] != b" ":
            self.fail("a space")
        self.at += 1

    def end(self) -> None:
        """Nothing more."""
        if self.at != len(self.data):
            self.fail("the end of the command")

    @property
    def at_end(self) -> bool:
        """Whether the command ends here."""
        return self.at == len(self.data)

    def skip(self, expected: bytes) -> bool:
        """Step over these octets if they are here."""
        if self.data.startswith(expected, self.at):
            self.at += len(expected)
            return True
        return False

    def expect(self, octets: bytes) -> None:
        """Step over these octets, which must be here."""
        if not self.skip(octets):
            self.fail(octets.decode("ascii"))

    def items(self, item: Callable[[], _T], most: int = 1000) -> list[_T]:
        """`(item SP item …)`, at least one, at most `most`."""
        self.expect(b"(")
        found = [item()]
        while self.skip(b" "):
            if len(found) >= most:
                raise ParseError(f"a list here has at most {most} members; send several commands")
            found.append(item())
        self.expect(b")")
        return found

    def items_or_none(self, item: Callable[[], _T], most: int = 1000) -> list[_T]:
        """As `items`, and `()` is an empty list."""
        return [] if self.skip(b"()") else self.items(item, most)

    # Words and numbers

    def _match(self, pattern: re.Pattern[bytes], expected: str) -> bytes:
        found = pattern.match(self.data, self.at)
        if found is None:
            self.fail(expected)
        self.at = found.end()
        return found[0]

    def atom(self) -> str:
        """An atom, as typed."""
        return self._match(_ATOM, "an atom").decode("ascii")

    def word(self, expected: str = "a word") -> bytes:
        """Letters, digits and `. $ + - _`, in capitals: the names of commands, items and options."""
        return self._match(_WORD, expected).upper()

    def peek_word(self) -> bytes:
        """The word that stands here, in capitals, without stepping over it; b"" when none does."""
        found = _WORD.match(self.data, self.at)
        return found[0].upper() if found else b""

    def number(self, lowest: int = 0, highest: int = MAX_NUMBER) -> int:
        """A decimal number; only ASCII digits, so none of the other spellings that int() would take."""
        digits = self._match(_NUMBER, "a number")
        # Bounded before int(), whose time is quadratic and which raises above 4,300 digits.
        value = int(digits) if len(digits) <= 20 else highest + 1
        if not lowest <= value <= highest:
            raise ParseError(f"a number here is from {lowest} to {highest}")
        return value

    def number64(self, lowest: int = 0) -> int:
        """A number of at most 63 bits: sizes, mod-sequences."""
        return self.number(lowest, _MAX_63)

    # Strings

    def astring(self) -> bytes:
        """An atom (with `]`), a quoted string or a literal: its octets."""
        found = _ASTRING_ATOM.match(self.data, self.at)
        if found is not None:
            self.at = found.end()
            return found[0]
        return self.string("an atom, a quoted string or a literal")

    def list_mailbox(self) -> bytes:
        """As `astring`, with wildcards allowed in the atom."""
        found = _LIST_ATOM.match(self.data, self.at)
        if found is not None:
            self.at = found.end()
            return found[0]
        return self.string("a pattern")

    def string(self, expected: str = "a quoted string or a literal") -> bytes:
        """A quoted string or a literal: its octets, none of them NUL."""
        first = self.data[self.at : self.at + 1]
        if first == b'"':
            return self._quoted()
        if first != b"{":
            self.fail(expected)
        return self._literal()

    def quoted(self) -> bytes:
        """A quoted string."""
        if self.data[self.at : self.at + 1] != b'"':
            self.fail("a quoted string")
        return self._quoted()

    def _quoted(self) -> bytes:
        found = _QUOTED.match(self.data, self.at)
        if found is not None:
            self.at = found.end()
            return found[1]
        found = _QUOTED_ESCAPED.match(self.data, self.at)
        if found is None:
            raise ParseError(
                r'a quoted string ends with " in the same line, and its only escapes are \" and \\; '
                "send other text as a literal"
            )
        self.at = found.end()
        return _ESCAPE.sub(rb"\1", found[1])

    def _literal(self) -> bytes:
        found = _LITERAL.match(self.data, self.at)
        if found is None:
            self.fail("a literal, {count} at the end of the line")
        start = found.end()
        self.at = start + int(found[2])
        value = self.data[start : self.at]
        if b"\0" in value:
            raise ParseError("a literal here holds no NUL octets")
        return value

    def nstring(self) -> bytes | None:
        """A string, or NIL."""
        if self.peek_word() == b"NIL":
            self.at += 3
            return None
        return self.string("a quoted string, a literal or NIL")

    def octets(self) -> bytes | None:
        """As `nstring`; a literal8 (RFC 3516 §4) may also hold NUL octets."""
        if not self.data.startswith(b"~{", self.at):
            return self.nstring()
        found = self._match(_LITERAL, "a literal8, ~{count} at the end of the line")
        start = self.at
        self.at += int(found[2 : found.index(b"}")].rstrip(b"+"))
        return self.data[start : self.at]

    def text(self) -> str:
        """An astring that is UTF-8."""
        return self.decode(self.astring())

    @staticmethod
    def decode(octets: bytes) -> str:
        """Octets as text."""
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            raise ParseError("the text is not valid UTF-8") from None

    # Mailboxes, flags, sets

    def mailbox(self) -> str:
        """A mailbox name, decoded; INBOX in capitals (RFC 9051 §5.1)."""
        name = self.mailbox_name(self.astring())
        return INBOX if is_inbox(name) else name

    def mailbox_name(self, octets: bytes) -> str:
        """A name or a pattern, decoded."""
        if self.utf8:
            return self.decode(octets)
        try:
            return utf7.decode(octets)
        except InvalidInput as error:
            raise ParseError(error.text, status="NO", code="CANNOT") from None

    def flag(self) -> str:
        r"""A flag that a client may set, normalized."""
        name = self._match(_FLAG, r"a flag, like \Seen or a keyword").decode("ascii")
        try:
            return normalize_flag(name)
        except InvalidInput as error:
            raise ParseError(error.text) from None

    def flags(self) -> frozenset[str]:
        """`(flag …)`, perhaps empty."""
        return frozenset(self.items_or_none(self.flag))

    def message_set(self) -> SequenceSet | SavedResult:
        """A sequence-set or `$`."""
        text = self._match(_SEQUENCE_SET, "a sequence set like 1,3:5,9:* or $")
        return SAVED_RESULT if text == b"$" else parse_sequence_set(text)

    def partial_range(self) -> PartialRange:
        """`1:100` or `-1:-100` (RFC 9394 §4)."""
        sign = -1 if self.skip(b"-") else 1
        first = self.number(1)
        self.expect(b":" if sign > 0 else b":-")
        return PartialRange(sign * first, sign * self.number(1))

    def number_set(self) -> NumSet:
        """A sequence-set without `*`."""
        found = self.message_set()
        if found is SAVED_RESULT or not isinstance(found, SequenceSet) or found.star_from is not None:
            raise ParseError("a set here has numbers only, no * and no $")
        return found.numbers


def parse_sequence_set(text: bytes) -> SequenceSet:
    """A sequence-set from its octets (digits, `*`, `:`, `,`). O(n log n) for n ranges, whatever they span."""
    ranges: list[tuple[int, int]] = []
    star_from: int | None = None
    for part in text.split(b","):
        low, colon, high = part.partition(b":")
        first = _seq_number(low)
        last = _seq_number(high) if colon else first
        if first and last:
            ranges.append((first, last))
        else:
            # RFC 9051 §9 seq-range: the order does not matter; a lone `*` is `4294967295:*`.
            start = first or last or MAX_NUMBER
            star_from = start if star_from is None else min(star_from, start)
    return SequenceSet(NumSet.from_ranges(ranges), star_from)


def _seq_number(text: bytes) -> int:
    """A number from 1 to 4294967295, or 0 for `*`."""
    if text == b"*":
        return 0
    # Digits, `:` and `*` are all that can be here; a second `:` or a stray `*` makes isdigit() false.
    value = int(text) if text.isdigit() and len(text) <= 10 else 0
    if not 0 < value <= MAX_NUMBER or text[0] == 0x30:
        raise ParseError("a sequence set is like 1,3:5,9:*, with numbers from 1 to 4294967295")
    return value
