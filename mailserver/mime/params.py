"""Content-Type, Content-Disposition and their parameters (RFC 2045 §5.1, RFC 2183, RFC 2231; ATTACKS D07).

Parameters are kept as IMAP shows them: pieces of RFC 2231 §3 joined in their order, values still encoded, names as they
were written. `decoded` gives the text that they mean. At most `MAX_PARAMS` are used.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from mailserver.mime.tokens import TOKEN, Broken, Cursor
from mailserver.mime.words import decode_octets, decode_words

__all__ = [
    "MAX_PARAMS", "Parameters", "Typed", "decoded", "parse_atoms", "parse_disposition", "parse_token", "parse_type",
]  # fmt: skip

MAX_PARAMS = 64
_FREQUENT = 60

Parameters = tuple[tuple[bytes, bytes], ...]

_SLASH, _SEMICOLON, _EQUALS, _QUOTE, _COMMA = b'/;=",'
_T = b"[" + TOKEN + b"]"
# What nearly every field is; all others go through the cursor.
_SIMPLE_TYPE = re.compile(b"(" + _T + b"++)/(" + _T + rb"++)[ \t\r\n]*+(?=;|\Z)")
_SIMPLE_PARAM = re.compile(
    rb";[ \t\r\n]*+(" + _T + rb'++)=(?:"([^"\\\r\n]*+)"|(' + _T + rb"++))[ \t\r\n]*+(?=;|\Z)"
)
_ONE_TOKEN = re.compile(_T + b"++")
_PIECE = re.compile(rb"([^*]*+)\*(?:(\d{1,9})(\*?)|())")
_BROKEN_VALUE = re.compile(rb"[^; \t\r\n]*+")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")


class Typed(NamedTuple):
    """A media type as it was written."""

    type: bytes
    subtype: bytes
    params: Parameters


def parse_type(raw: bytes) -> Typed | None:
    """Content-Type; None when it has no type and subtype: then the default holds (RFC 2045 §5.2)."""
    # Nearly all parts have one of a few types; a boundary is another one each time.
    return _parse_frequent_type(raw) if len(raw) <= _FREQUENT and b"oundary" not in raw else _parse_type(raw)


def _parse_type(raw: bytes) -> Typed | None:
    match = _SIMPLE_TYPE.match(raw)
    if match is not None:
        return Typed(match[1], match[2], _parameters(raw, match.end()))
    cursor = Cursor(raw)
    try:
        cursor.skip()
        main = cursor.token()
        if not main or cursor.peek() != _SLASH:
            return None
        cursor.pos += 1
        cursor.skip()
        subtype = cursor.token()
    except Broken:
        return None
    return Typed(main, subtype, _parameters(raw, cursor.pos)) if subtype else None


_parse_frequent_type = lru_cache(maxsize=500)(_parse_type)


def parse_disposition(raw: bytes) -> tuple[bytes, Parameters] | None:
    """Content-Disposition: its value and parameters; None when it makes no sense."""
    cursor = Cursor(raw)
    try:
        cursor.skip()
        return cursor.token(), _parameters(raw, cursor.pos)
    except Broken:
        return None


def parse_token(raw: bytes) -> bytes | None:
    """A field that is one token (Content-Transfer-Encoding), None when it is anything else."""
    if _ONE_TOKEN.fullmatch(raw):
        return raw
    cursor = Cursor(raw)
    try:
        cursor.skip()
        token = cursor.token()
    except Broken:
        return None
    return token if token and cursor.pos == cursor.end else None


def parse_atoms(raw: bytes) -> list[bytes]:
    """A list of atoms with commas between them (Content-Language, RFC 3282 §2), as far as it is one."""
    cursor = Cursor(raw)
    found: list[bytes] = []
    try:
        cursor.skip()
        while len(found) < MAX_PARAMS:
            found.append(cursor.atom())
            if cursor.peek() != _COMMA:
                break
            cursor.pos += 1
            cursor.skip()
    except Broken:
        pass
    return found


def decoded(params: Parameters, name: bytes) -> str | None:
    """The text of a parameter: RFC 2231 encoding first, else encoded words (which RFC 2047 §5 forbids there and mail
    programs write all the same). `name` is in lower case."""
    plain = None
    for key, raw in params:
        key = key.lower()
        if key == name + b"*":
            charset, quote, rest = raw.partition(b"'")
            if quote:
                _, _, raw = rest.partition(b"'")
            octets = _PERCENT.sub(lambda match: bytes.fromhex(match[1].decode("ascii")), raw)
            return decode_octets(octets, charset if quote else b"us-ascii")
        if key == name and plain is None:
            plain = decode_words(raw)
    return plain


def _parameters(raw: bytes, pos: int) -> Parameters:
    found: list[tuple[bytes, bytes]] = []
    end = len(raw)
    while pos < end and len(found) < MAX_PARAMS:
        match = _SIMPLE_PARAM.match(raw, pos)
        if match is None:
            _odd_parameters(raw, pos, found)
            break
        quoted = match[2]
        found.append((match[1], match[3] if quoted is None else quoted))
        pos = match.end()
    if any(b"*" in name for name, _ in found):
        return _joined(found)
    return tuple(found)


def _odd_parameters(raw: bytes, pos: int, found: list[tuple[bytes, bytes]]) -> None:
    cursor = Cursor(raw)
    cursor.pos = pos
    while cursor.pos < cursor.end and len(found) < MAX_PARAMS:
        start = cursor.pos
        if raw[start] != _SEMICOLON:
            # Whatever this is, the next semicolon may begin a good parameter.
            cursor.pos = raw.find(b";", start)
            if cursor.pos < 0:
                return
        name = None
        try:
            cursor.pos += 1
            cursor.skip()
            name = cursor.token()
            if cursor.peek() != _EQUALS:
                continue
            cursor.pos += 1
            cursor.skip()
            found.append((name, _odd_value(cursor)))
        except Broken:
            continue


def _odd_value(cursor: Cursor) -> bytes:
    if cursor.peek() == _QUOTE:
        return cursor.quoted()
    if cursor.peek() == _EQUALS:
        # `name==?utf-8?b?...?=`: an encoded word that nobody quoted.
        match = _BROKEN_VALUE.match(cursor.data, cursor.pos)
        if match is not None:
            cursor.pos = match.end()
            return match[0]
    return cursor.token()


def _joined(found: list[tuple[bytes, bytes]]) -> Parameters:
    """RFC 2231 §3: `name*0`, `name*1*` … become `name` or `name*`, behind the parameters that have no number.

    Pieces with a gap stay as they are.
    """
    out: list[tuple[bytes, bytes]] = []
    pieces: dict[bytes, list[tuple[int, bool, bytes, bytes]]] = {}
    for name, text in found:
        match = _PIECE.fullmatch(name)
        if match is None:
            out.append((name, text))
        else:
            number, extended = int(match[2] or b"0"), match[3] == b"*" or match[2] is None
            pieces.setdefault(match[1].lower(), []).append((number, extended, match[1], text))
    for _, group in sorted(pieces.items()):
        group.sort(key=lambda piece: piece[0])
        if [number for number, *_ in group] != list(range(len(group))):
            out += [(b"%b*%d%b" % (name, number, b"*" * extended), text) for number, extended, name, text in group]
            continue
        encoded = any(extended for _, extended, _, _ in group)
        texts = [text if extended or not encoded else text.replace(b"%", b"%25") for _, extended, _, text in group]
        if encoded and not group[0][1]:
            texts.insert(0, b"''")
        out.append((group[0][2] + b"*" * encoded, b"".join(texts)))
    return tuple(out)
