"""RESETKEY, GENURLAUTH and URLFETCH (RFC 4467 §9): values and parsers. URLs stay as they are written (§6)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from mailserver.wire.imap.lexer import Lexer, ParseError
from mailserver.wire.imap.parse_catenate import MAX_URL

__all__ = ["GenUrlAuth", "ResetKey", "UrlFetch", "gen_url_auth", "reset_key", "url_fetch"]

_MAX_URLS: Final = 100
_MECHANISM = re.compile(r"[A-Z0-9.-]{1,64}")


@dataclass(frozen=True, slots=True)
class ResetKey:
    """Of one mailbox, or (None) of all. Mechanisms in capitals."""

    mailbox: str | None = None
    mechanisms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenUrlAuth:
    """Pairs of a URL and a mechanism in capitals."""

    urls: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class UrlFetch:
    """Who has such a URL can read what it names."""

    urls: tuple[str, ...] = field(repr=False)


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
