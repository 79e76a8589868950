"""Address lists (RFC 5322 §3.4, obsolete forms of §4.4) as ENVELOPE shows them (RFC 9051 §7.5.2).

A mailbox that cannot be read is shown as `MISSING_MAILBOX` or `MISSING_DOMAIN`, as clients know it from Dovecot: in
ENVELOPE a NIL host means a group, and a display name that looks like an address must never become the address (ATTACKS
D08). Reading ends where the list makes no sense any more. At most `MAX_ADDRESSES` entries are read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from mailserver.mime.quote import human, nstring
from mailserver.mime.tokens import ATEXT, Broken, Cursor

__all__ = [
    "MAX_ADDRESSES", "MISSING_DOMAIN", "MISSING_MAILBOX", "Address", "parse_addresses", "read_addresses", "read_list",
    "render_addresses",
]  # fmt: skip

MAX_ADDRESSES = 1000

#: What stands for a part that is not there.
MISSING_MAILBOX, MISSING_DOMAIN = b"MISSING_MAILBOX", b"MISSING_DOMAIN"
_SYNTAX_ERROR = b"SYNTAX_ERROR"
_INVALID_ROUTE = b"INVALID_ROUTE"
_AT, _COMMA, _COLON, _SEMICOLON, _LESS, _GREATER, _QUOTE = b'@,:;<>"'

_ATOMS = b"[" + ATEXT + b"]++(?:\\.[" + ATEXT + b"]++)*+"
_WORDS = b"[" + ATEXT + b".]++(?: [" + ATEXT + b".]++)*+"
# Nearly every address is one of these; all others go through the cursor.
_SIMPLE = re.compile(
    rb'[ \t\r\n]*+(?:(?:"([^"\\\r\n]*+)"|(?!\.)(' + _WORDS + rb"))?[ ]?<(" + _ATOMS + rb")@(" + _ATOMS + rb")>|"
    rb"(" + _ATOMS + rb")@(" + _ATOMS + rb"))[ \t\r\n]*+(?:,[ \t\r\n]*+(?=[^ \t\r\n(])|\Z)"
)


class Address(NamedTuple):
    """One entry. A group begins with one that has a mailbox only (its name), and ends with one that has nothing."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    domain: bytes | None
    valid: bool = True

    @property
    def is_mailbox(self) -> bool:
        """A readable address, not a part of group syntax."""
        return self.valid and self.mailbox is not None and self.domain is not None


_GROUP_END = Address(None, None, None, None)


def parse_addresses(value: bytes) -> list[Address]:
    """The entries of an address list; never raises."""
    return read_addresses(value)[0]


def read_addresses(value: bytes) -> tuple[list[Address], bool]:
    """The entries of an address list, and whether that is the whole list and each of them is sound.

    Who decides by these addresses must know that no other program finds further ones in the field.
    """
    found, whole = read_list(value)
    return found, whole and all(entry.valid for entry in found)


def read_list(value: bytes) -> tuple[list[Address], bool]:
    """The entries of an address list, sound or not, and whether that is the whole list."""
    found: list[Address] = []
    pos, end = 0, len(value)
    closed = True
    while pos < end and len(found) < MAX_ADDRESSES:
        match = _SIMPLE.match(value, pos)
        if match is None:
            parser = _Parser(value, pos, found)
            pos, closed = parser.read(), parser.closed
            break
        quoted, words, mailbox, domain, bare_mailbox, bare_domain = match.groups()
        if bare_mailbox is not None:
            found.append(Address(None, None, bare_mailbox, bare_domain))
        else:
            found.append(Address(words or quoted or None, None, mailbox, domain))
        pos = match.end()
    return found[:MAX_ADDRESSES], pos == end and closed and len(found) <= MAX_ADDRESSES


def render_addresses(found: Sequence[Address]) -> bytes:
    """The parenthesised list of ENVELOPE, or NIL for no addresses."""
    if not found:
        return b"NIL"
    out = [b"("]
    for name, route, mailbox, domain, _ in found:
        shown = b"NIL" if name is None else human(name)
        out.append(b"(%b %b %b %b)" % (shown, nstring(route), nstring(mailbox), nstring(domain)))
    out.append(b")")
    return b"".join(out)


class _Parser:
    """Reads the rest of a list from `pos` on, entry by entry."""

    def __init__(self, value: bytes, pos: int, found: list[Address]) -> None:
        self._cursor = Cursor(value)
        self._cursor.pos = pos
        self._found = found
        #: Every group had its semicolon.
        self.closed = True

    def read(self) -> int:
        """Until the end, or the first place where neither an address nor a comma stands; that place."""
        cursor = self._cursor
        try:
            cursor.skip()
        except Broken:
            return 0
        while cursor.pos < cursor.end and len(self._found) < MAX_ADDRESSES:
            if not self._group():
                self._mailbox()
            if cursor.peek() != _COMMA:
                break
            cursor.pos += 1
            try:
                cursor.skip()
            except Broken:
                self._add(None, None, None, None)
        return cursor.pos

    def _add(
        self,
        name: bytes | None,
        route: bytes | None,
        mailbox: bytes | None,
        domain: bytes | None,
        valid: bool = True,
    ) -> None:
        # A domain that ends in a dot is only shown (as Dovecot does): with more behind it, it would read differently.
        complete = mailbox is not None and bool(domain) and not (domain or b"").endswith(b".")
        mailbox = MISSING_MAILBOX if mailbox is None else mailbox
        self._found.append(Address(name, route, mailbox, domain or MISSING_DOMAIN, valid and complete))

    def _group(self) -> bool:
        """display-name ":" [mailbox-list] ";" (RFC 5322 §3.4). False: not a group, and nothing was read."""
        cursor = self._cursor
        start = cursor.pos
        try:
            name = cursor.phrase()
        except Broken:
            cursor.pos = start
            return False
        if cursor.peek() != _COLON:
            cursor.pos = start
            return False
        cursor.pos += 1
        self._found.append(Address(None, None, name, None))
        try:
            cursor.skip()
            while cursor.peek() not in (-1, _SEMICOLON) and len(self._found) < MAX_ADDRESSES:
                self._mailbox()
                if cursor.peek() != _COMMA:
                    break
                cursor.pos += 1
                cursor.skip()
            if cursor.peek() != _SEMICOLON:
                raise Broken
            cursor.pos += 1
            cursor.skip()
        except Broken:
            self.closed = False
        self._found.append(_GROUP_END)
        return True

    def _mailbox(self) -> None:
        """name-addr or addr-spec; always adds one entry."""
        cursor = self._cursor
        start = cursor.pos
        try:
            name = cursor.phrase()
        except Broken:
            name = b""
        if cursor.peek() == _LESS:
            self._angle(name or None)
        else:
            cursor.pos = start
            self._addr_spec()

    def _angle(self, name: bytes | None) -> None:
        """ "<" [route ":"] [local-part "@" domain] ">"."""
        cursor = self._cursor
        route = mailbox = domain = None
        try:
            cursor.pos += 1
            cursor.skip()
            if cursor.peek() == _AT:
                route = _INVALID_ROUTE
                route = self._route()
            if cursor.peek() != _GREATER:
                mailbox = self._local_part()
                if cursor.peek() == _AT:
                    domain = cursor.domain()
            if cursor.peek() != _GREATER:
                raise Broken
            cursor.pos += 1
            cursor.skip()
        except Broken:
            self._add(name, route, mailbox, _SYNTAX_ERROR, valid=False)
            return
        self._add(name, route, mailbox, domain)

    def _route(self) -> bytes:
        """Source route (RFC 5322 §4.4 obs-route), with its colon."""
        cursor = self._cursor
        hops = []
        while cursor.peek() == _AT:
            hops.append(b"@" + cursor.domain())
            while cursor.peek() == _COMMA:
                cursor.pos += 1
                cursor.skip()
        if cursor.peek() != _COLON:
            raise Broken
        cursor.pos += 1
        cursor.skip()
        return b",".join(hops)

    def _local_part(self) -> bytes:
        return self._cursor.quoted() if self._cursor.peek() == _QUOTE else self._cursor.dot_atom()

    def _addr_spec(self) -> None:
        """local-part "@" domain, with a comment as the name; or a display name that has no address."""
        cursor = self._cursor
        cursor.comment = b""
        mailbox = domain = None
        sound, quoted = True, cursor.peek() == _QUOTE
        try:
            mailbox = self._local_part()
        except Broken:
            sound = False
        if cursor.peek() == _AT:
            try:
                domain = cursor.domain()
            except Broken:
                sound = False
            self._add(cursor.comment or None, None, mailbox, domain, valid=sound)
        elif cursor.comment:
            self._add(cursor.comment, None, mailbox, None, valid=False)
        else:
            self._display_name(mailbox, quoted=quoted)

    def _display_name(self, first: bytes | None, *, quoted: bool) -> None:
        """A word without a domain is a mailbox of some machine (`root`), several words or a quoted one are a name."""
        words = [] if first is None else [first]
        if first is not None and self._cursor.pos < self._cursor.end:
            with suppress(Broken):
                self._cursor.phrase(words)
        name = b" ".join(filter(None, words))
        if first is not None and (quoted or name != first):
            self._add(name, None, None, None, valid=False)
        else:
            self._add(None, None, first, None, valid=False)
