"""Parsers of RESETKEY, GENURLAUTH and URLFETCH (RFC 4467 §9)."""

from __future__ import annotations

import re
from typing import Final

from mailserver.wire.imap.commands import GenUrlAuth, ResetKey, UrlFetch
from mailserver.wire.imap.lexer import Lexer, ParseError
from mailserver.wire.imap.parse.catenate import MAX_URL

__all__ = ["gen_url_auth", "reset_key", "url_fetch"]

_MAX_URLS: Final = 100
_MECHANISM = re.compile(r"[A-Z0-9.-]{1,64}")


def reset_key(lexer: Lexer) -> ResetKey:
    """RFC 4467 §7."""
    if lexer.at_end:
        return ResetKey()
    lexer.space()
    mailbox = lexer.mailbox()
    mechanisms: list[str] = []
    while not lexer.at_end and len(mechanisms) < _MAX_URLS:
        lexer.space()
        mechanisms.append(_mechanism(lexer))
    return ResetKey(mailbox, tuple(mechanisms))


def gen_url_auth(lexer: Lexer) -> GenUrlAuth:
    """RFC 4467 §7."""
    pairs: list[tuple[str, str]] = []
    while not pairs or not lexer.at_end:
        url = _url(lexer, len(pairs))
        lexer.space()
        pairs.append((url, _mechanism(lexer)))
    return GenUrlAuth(tuple(pairs))


def url_fetch(lexer: Lexer) -> UrlFetch:
    """RFC 4467 §7."""
    urls: list[str] = []
    while not urls or not lexer.at_end:
        urls.append(_url(lexer, len(urls)))
    return UrlFetch(tuple(urls))


def _url(lexer: Lexer, count: int) -> str:
    if count >= _MAX_URLS:
        raise ParseError(f"a command has at most {_MAX_URLS} URLs; send several")
    lexer.space()
    octets = lexer.astring()
    if len(octets) > MAX_URL or not octets.isascii():
        raise ParseError(f"a URL has at most {MAX_URL} octets, all of them ASCII")
    return octets.decode("ascii")


def _mechanism(lexer: Lexer) -> str:
    name = lexer.atom().upper()
    if not _MECHANISM.fullmatch(name):
        raise ParseError("that cannot be the name of a mechanism; there is INTERNAL")
    return name
