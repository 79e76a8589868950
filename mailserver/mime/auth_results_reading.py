"""What Authentication-Results of somebody else say (RFC 8601 §2.2). Linear, bounded, never raising.

Only for fields whose author is known: anybody can write them.
"""

from __future__ import annotations

import re

from mailserver.mime.tokens import Broken, Cursor
from mailserver.model.findings import AuthResult

__all__ = ["read_results"]

_MOST_RESULTS, _MOST_PROPERTIES, _LONGEST = 100, 20, 320
_NAME = re.compile(rb"[A-Za-z0-9_.-]*+")
_WORD = re.compile(rb'[^ \t\r\n;"()]*+')
_QUOTE, _EQUALS, _SEMICOLON, _SLASH = b'"=;/'


def read_results(value: bytes) -> tuple[AuthResult, ...]:
    """The results of an unfolded value, which begins with the authserv-id; those before what cannot be read."""
    cursor = Cursor(value)
    found: list[AuthResult] = []
    try:
        cursor.skip()
        _word(cursor)
        while cursor.peek() not in (_SEMICOLON, -1):
            _word(cursor)
        while cursor.peek() == _SEMICOLON and len(found) < _MOST_RESULTS:
            cursor.pos += 1
            cursor.skip()
            if cursor.peek() not in (_SEMICOLON, -1):
                result = _result(cursor)
                if result is not None:
                    found.append(result)
    except Broken:
        pass
    return tuple(found)


def _result(cursor: Cursor) -> AuthResult | None:
    """None for `none`: there were no results."""
    method = _name(cursor)
    if cursor.peek() == _SLASH:
        cursor.pos += 1
        cursor.skip()
        _name(cursor)
    if method == "none" and cursor.peek() in (_SEMICOLON, -1):
        return None
    _expect_equals(cursor)
    result = _name(cursor)
    properties: list[tuple[str, str]] = []
    reason = ""
    while cursor.peek() not in (_SEMICOLON, -1):
        name = _name(cursor)
        _expect_equals(cursor)
        text = _word(cursor)
        if name == "reason":
            reason = text
        elif len(properties) < _MOST_PROPERTIES:
            properties.append((name, text))
    return AuthResult(method=method, result=result, reason=reason, properties=tuple(properties))


def _name(cursor: Cursor) -> str:
    match = _NAME.match(cursor.data, cursor.pos)
    if match is None or not match[0]:
        raise Broken
    cursor.pos = match.end()
    cursor.skip()
    return match[0][:_LONGEST].decode("ascii").lower()


def _expect_equals(cursor: Cursor) -> None:
    if cursor.peek() != _EQUALS:
        raise Broken
    cursor.pos += 1
    cursor.skip()


def _word(cursor: Cursor) -> str:
    """A quoted string, or all up to white space, a comment or a semicolon."""
    if cursor.peek() == _QUOTE:
        return cursor.quoted()[:_LONGEST].decode("utf-8", "replace")
    match = _WORD.match(cursor.data, cursor.pos)
    if match is None or not match[0]:
        raise Broken
    cursor.pos = match.end()
    cursor.skip()
    return match[0][:_LONGEST].decode("utf-8", "replace")
