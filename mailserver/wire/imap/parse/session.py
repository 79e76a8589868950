"""Parsers of the commands about the connection and the account: ID, LOGIN, AUTHENTICATE, ENABLE, quotas."""

from __future__ import annotations

import re

from mailserver.wire.imap.commands import (
    Authenticate,
    Comparator,
    Compress,
    Enable,
    GetQuota,
    GetQuotaRoot,
    Id,
    Language,
    Login,
    SetQuota,
)
from mailserver.wire.imap.lexer import Lexer, ParseError
from mailserver.wire.sasl import SaslError, decode_initial

__all__ = [
    "authenticate", "comparator", "compress", "enable", "get_quota", "get_quota_root", "identification", "language",
    "login", "set_quota",
]  # fmt: skip

# RFC 2971 §3.3
_MAX_ID_FIELDS, _MAX_ID_NAME, _MAX_ID_VALUE = 30, 30, 1024
# RFC 4422 §3.1 sasl-mech
_MECHANISM = re.compile(r"[A-Z0-9_-]{1,20}")
# RFC 4790 §3.2, §3.3 collation-order
_COLLATION = re.compile(r"(?=.{1,254}\Z)[+-]?(?:\*|[A-Za-z]\*?)(?:[A-Za-z0-9;=.-]\*?)*")


def identification(lexer: Lexer) -> Id:
    """`ID NIL` or `ID ("name" "value" …)` (RFC 2971 §3.1)."""
    lexer.space()
    if lexer.peek_word() == b"NIL":
        lexer.at += 3
        return Id(None)
    fields = lexer.items_or_none(lexer.nstring, 2 * _MAX_ID_FIELDS)
    pairs: list[tuple[str, str | None]] = []
    for name, value in zip(fields[::2], fields[1::2], strict=False):
        if name is None or len(name) > _MAX_ID_NAME or len(value or b"") > _MAX_ID_VALUE:
            raise ParseError("an ID field has a name of at most 30 octets and a value of at most 1024")
        pairs.append((lexer.decode(name), None if value is None else lexer.decode(value)))
    if len(fields) % 2:
        raise ParseError("ID takes pairs of names and values")
    return Id(tuple(pairs))


def login(lexer: Lexer) -> Login:
    """RFC 9051 §6.2.3."""
    lexer.space()
    user = lexer.text()
    lexer.space()
    return Login(user, lexer.text())


def authenticate(lexer: Lexer) -> Authenticate:
    """RFC 9051 §6.2.2 with the initial response of RFC 4959."""
    lexer.space()
    mechanism = lexer.atom().upper()
    if not _MECHANISM.fullmatch(mechanism):
        raise ParseError("that cannot be the name of a SASL mechanism")
    if lexer.at_end:
        return Authenticate(mechanism)
    lexer.space()
    response = lexer.data[lexer.at :]
    lexer.at = len(lexer.data)
    try:
        if response:
            return Authenticate(mechanism, decode_initial(response))
    except SaslError:
        pass
    raise ParseError("the initial response is not base64 (= for an empty one)")


def compress(lexer: Lexer) -> Compress:
    """RFC 4978 §5."""
    lexer.space()
    if lexer.word("DEFLATE") != b"DEFLATE":
        raise ParseError("COMPRESS knows the mechanism DEFLATE")
    return Compress()


def language(lexer: Lexer) -> Language:
    """RFC 5255 §3.5."""
    ranges: list[str] = []
    while lexer.skip(b" "):
        ranges.append(lexer.text())
        if len(ranges) > 100:
            raise ParseError("LANGUAGE takes at most 100 languages")
    return Language(tuple(ranges))


def comparator(lexer: Lexer) -> Comparator:
    """RFC 5255 §4.10."""
    orders: list[str] = []
    while lexer.skip(b" "):
        order = lexer.text()
        if not _COLLATION.fullmatch(order):
            raise ParseError('a comparator is named like i;unicode-casemap, or by a pattern like "i;*"')
        orders.append(order)
        if len(orders) > 100:
            raise ParseError("COMPARATOR takes at most 100 comparators")
    return Comparator(tuple(orders))


def enable(lexer: Lexer) -> Enable:
    """RFC 9051 §6.3.1."""
    names: list[str] = []
    while not names or not lexer.at_end:
        lexer.space()
        names.append(lexer.atom().upper())
    return Enable(tuple(names))


def get_quota(lexer: Lexer) -> GetQuota:
    """RFC 9208 §4.1.1."""
    lexer.space()
    return GetQuota(lexer.text())


def get_quota_root(lexer: Lexer) -> GetQuotaRoot:
    """RFC 9208 §4.1.2."""
    lexer.space()
    return GetQuotaRoot(lexer.mailbox())


def set_quota(lexer: Lexer) -> SetQuota:
    """RFC 9208 §4.1.3."""

    def limit() -> tuple[str, int]:
        name = lexer.atom().upper()
        lexer.space()
        return name, lexer.number64()

    lexer.space()
    root = lexer.text()
    lexer.space()
    return SetQuota(root, tuple(lexer.items_or_none(limit, 20)))
