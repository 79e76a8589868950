"""Authentication-Results (RFC 8601): our own field, and fields of others that claim to be ours.

Whoever reads our field believes it, so nothing that a peer chose may end a value in the eyes of any reader, careless
ones included (ATTACKS A13, L01): what is no plain word, domain or address stands in quotes and loses the characters
that have a meaning somewhere. Local parts that would need quotes are left out, as §2.2 allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mailserver.mime.headers import unfold
from mailserver.mime.tokens import Broken, Cursor
from mailserver.model.findings import AuthResult

__all__ = ["authentication_results", "without_claims"]

_KEYWORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_PROPERTY = re.compile(r"[A-Za-z0-9-]+\.[A-Za-z0-9-]+")
# RFC 2045 §5.1 token without what some reader takes for a quote.
_WORD = re.compile(r"[A-Za-z0-9!#$%&*+.^_`{|}~-]+")
_DOMAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*")
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_MEANINGS = str.maketrans({";": ",", "(": "[", ")": "]", '"': "'", "\\": "/"})
_LONGEST_VALUE = 320
_LONGEST_LINE = 78
_MOST_RESULTS = 100

# Also with white space and line ends before the colon, which some reader takes for the field (ATTACKS L01 a10, a11).
_FIELD = re.compile(
    rb"^authentication-results[ \t]*+(?:\r?\n[ \t]++)*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)(?:\n|\Z)",
    re.IGNORECASE | re.MULTILINE,
)
_COMMENT_OR_SPACE = re.compile(rb'\([^()]*+\)|[\s"\\]++')
_MOST_NESTING = 10
_QUOTE, _ZERO, _NINE, _SEMICOLON = b'"09;'


def authentication_results(authserv_id: str, results: Iterable[AuthResult]) -> bytes:
    """The field with its line end; b"" when there are no results. Results and properties whose names are none are left
    out."""
    parts = [part for result in list(results)[:_MOST_RESULTS] if (part := _result(result))]
    if not parts:
        return b""
    field = f"Authentication-Results: {authserv_id};\r\n\t" + ";\r\n\t".join(parts) + "\r\n"
    return field.encode("utf-8", "replace")


def _result(result: AuthResult) -> str:
    """§2.2 resinfo, without its semicolon."""
    if not (_KEYWORD.fullmatch(result.method) and _KEYWORD.fullmatch(result.result)):
        return ""
    words = [f"{result.method}={result.result}"]
    if result.reason:
        words.append(f"reason={_quoted(result.reason)}")
    words += [f"{name}={_value(value)}" for name, value in result.properties if value and _PROPERTY.fullmatch(name)]
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) > _LONGEST_LINE - 8:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return "\r\n\t\t".join(lines)


def _value(text: str) -> str:
    """§2.2 pvalue."""
    if len(text) <= _LONGEST_VALUE:
        local, at, domain = text.rpartition("@")
        if at and _DOMAIN.fullmatch(domain):
            return text if not local or _LOCAL.fullmatch(local) else f"@{domain}"
        if _WORD.fullmatch(text):
            return text
    return _quoted(text)


def _quoted(text: str) -> str:
    clean = "".join(c if c.isprintable() else "?" for c in text[:_LONGEST_VALUE].translate(_MEANINGS))
    return f'"{clean.encode("utf-8", "replace")[: 2 * _LONGEST_VALUE].decode("utf-8", "ignore")}"'


def without_claims(header: bytes, authserv_id: str) -> bytes:
    """The header block without the fields that claim to be of this server (§5), all other octets as they are.

    A field that cannot be read is taken out, too, when our name stands anywhere in it: some reader may see it there.
    """
    ours = authserv_id.lower().encode()
    return _FIELD.sub(lambda field: b"" if _claims(unfold(field[1]), ours) else field[0], header)


def _claims(value: bytes, ours: bytes) -> bool:
    cursor = Cursor(value)
    try:
        cursor.skip()
        name = cursor.quoted() if cursor.peek() == _QUOTE else cursor.token()
        if _ZERO <= cursor.peek() <= _NINE:
            cursor.token()
        if not name or cursor.peek() != _SEMICOLON:
            raise Broken
    except Broken:
        return ours in value.lower() or ours in _squeezed(value)
    return name.lower().rstrip(b".") == ours


def _squeezed(value: bytes) -> bytes:
    """Without comments, white space and quotes, wherever they stand."""
    for _ in range(_MOST_NESTING):
        shorter = _COMMENT_OR_SPACE.sub(b"", value)
        if shorter == value:
            break
        value = shorter
    return value.lower()
