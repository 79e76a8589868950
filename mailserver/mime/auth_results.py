"""Authentication-Results (RFC 8601): our own field, and fields of others that claim to be ours.

Whoever reads our field believes it, so nothing that a peer chose may end a value in the eyes of any reader, careless
ones included (ATTACKS A13, L01): what is no plain word, domain or address stands in quotes and loses the characters
that have a meaning somewhere. Local parts that would need quotes are left out, as §2.2 allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mailserver.mime.headers import header_block_end, unfold
from mailserver.mime.tokens import Broken, Cursor
from mailserver.model.findings import AuthResult

__all__ = ["ClaimRemoval", "authentication_results"]

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

_NAME = re.compile(rb"authentication-results(?=[ \t\r\n:])", re.IGNORECASE)
# Also with white space and line ends before the colon, which some reader takes for the field (ATTACKS L01 a10, a11).
_FIELD = re.compile(rb"[^:\s]++[ \t]*+(?:\r?\n[ \t]++)*+:(.*)", re.DOTALL)
_COMMENT_OR_SPACE = re.compile(rb'\([^()]*+\)|[\s"\\]++')
_MOST_NESTING = 10
#: Octets of one message's fields: to look into some takes two microseconds each, and no honest message has so many.
_MOST_READ = 32 << 10
_QUOTE, _ZERO, _NINE, _SEMICOLON = b'"09;'


def authentication_results(authserv_id: str, results: Iterable[AuthResult]) -> bytes:
    """The field with its line end; b"" when there are no results. Results and properties whose names are none are left
    out."""
    parts = [part for result in list(results)[:_MOST_RESULTS] if (part := _result(result))]
    if not parts:
        return b""
    return (f"Authentication-Results: {authserv_id};\r\n\t" + ";\r\n\t".join(parts) + "\r\n").encode("ascii", "replace")


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
    """ASCII only: readers from before RFC 6532 stop at anything else."""
    clean = "".join(c if " " <= c <= "~" else "?" for c in text[:_LONGEST_VALUE].translate(_MEANINGS))
    return f'"{clean}"'


class ClaimRemoval:
    """Takes the fields that claim to be of this server (§5) out of a message while it comes; all other octets stay as
    they are. Not more than one line is held back, and such a field.

    A field that cannot be read is taken out, too, when our name stands anywhere in it: some reader may see it there;
    and so is all that comes behind 32 KiB of such fields.
    """

    def __init__(self, authserv_id: str, longest: int) -> None:
        """A field of more than `longest` octets is let through: the message will not be taken."""
        self._ours = authserv_id.lower().encode()
        self._longest = longest
        self._line = bytearray()
        self._field: list[bytes] = []
        self._size = 0
        self._read = 0
        self._in_header = True

    def feed(self, piece: bytes) -> bytes:
        """What of the message so far may go on, when this is its next piece."""
        if not self._in_header:
            return piece
        if not self._line and not self._field:
            # Nearly every message: its header comes at once, and has no such field.
            stop = header_block_end(piece)
            if stop < len(piece) and b"authentication-results" not in piece[:stop].lower():
                self._in_header = False
                return piece
        searched = len(self._line)
        self._line += piece
        out: list[bytes] = []
        start, end, going = 0, self._line.find(b"\n", searched) + 1, True
        while end and going:
            going = self._take(bytes(self._line[start:end]), out)
            start, end = end, self._line.find(b"\n", end) + 1
        if not going:
            self._in_header = False
            out.append(bytes(self._line[start:]))
            start = len(self._line)
        del self._line[:start]
        return b"".join(out)

    def finish(self) -> bytes:
        """The rest, when there is no more."""
        out: list[bytes] = []
        if self._line:
            self._take(bytes(self._line), out)
            self._line.clear()
        self._end_field(out)
        return b"".join(out)

    def _take(self, line: bytes, out: list[bytes]) -> bool:
        """Does the header go on behind this line?"""
        if self._field and line.startswith((b" ", b"\t")):
            self._field.append(line)
            self._size += len(line)
            if self._size > self._longest:
                out += self._field
                self._field.clear()
            return True
        self._end_field(out)
        if _NAME.match(line):
            self._field.append(line)
            self._size = len(line)
            return True
        out.append(line)
        return line not in (b"\r\n", b"\n")

    def _end_field(self, out: list[bytes]) -> None:
        if self._field:
            field = b"".join(self._field)
            self._field.clear()
            self._read += len(field)
            if self._read > _MOST_READ:
                return
            match = _FIELD.match(field)
            if match is None or not _claims(unfold(match[1].removesuffix(b"\n")), self._ours):
                out.append(field)


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
    # Some reader takes off what is white space of Unicode, or a mark of the octets' order.
    return name.lower().rstrip(b".") == ours or (not name.isascii() and ours in name.lower())


def _squeezed(value: bytes) -> bytes:
    """Without comments, white space and quotes, wherever they stand."""
    for _ in range(_MOST_NESTING):
        shorter = _COMMENT_OR_SPACE.sub(b"", value)
        if shorter == value:
            break
        value = shorter
    return value.lower()
