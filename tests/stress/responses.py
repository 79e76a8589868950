"""Octets → IMAP responses, strictly: whatever RFC 9051 §9 does not allow is a Fault, not a guess."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

__all__ = ["Continuation", "Fault", "Tagged", "Untagged", "complete_length", "numbers", "parse"]

_LITERAL_END = re.compile(rb"~?\{([0-9]+)\}\r\n")
_ATOM = re.compile(rb"\\?[^\x00-\x20\x7f-\xff(){%*\"\\\]]+|\\\*")
_ITEM = re.compile(rb"[A-Z][A-Z0-9.]*(?:\[[^\]\r\n]*\](?:<[0-9]+>)?)?")
_STATUS = re.compile(rb"(OK|NO|BAD|BYE|PREAUTH) (?:\[([A-Z-]+)(?: ([^\]]+))?\] )?([^\r\n\x00]+)")
_NUMBERED = re.compile(rb"([1-9][0-9]*|0) (EXISTS|RECENT|EXPUNGE|FETCH)(?: (.*))?", re.DOTALL)
_SET = re.compile(r"[1-9][0-9]*(?::[1-9][0-9]*)?(?:,[1-9][0-9]*(?::[1-9][0-9]*)?)*")


class Fault(AssertionError):
    """The server did something that it must not do."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """The end of a command; `code` is "" without a response code."""

    tag: str
    status: str
    code: str
    argument: str
    text: str


@dataclass(frozen=True, slots=True)
class Continuation:
    """`+ text`."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Untagged:
    """`* …`. `data` by kind: FETCH a dict, status responses a Tagged, else a list; numbers are octets still."""

    kind: str
    number: int = 0
    data: Any = None


def complete_length(buffer: bytes | bytearray) -> int:
    """How many octets of the buffer are its first response with CRLF; 0 when it is not whole yet."""
    at = 0
    while (end := buffer.find(b"\r\n", at)) >= 0:
        match = re.search(rb"\{([0-9]+)\}\Z", buffer[at:end])
        if match is None:
            return end + 2
        at = end + 2 + int(match[1])
        if len(buffer) < at:
            return 0
    return 0


def parse(data: bytes) -> Tagged | Continuation | Untagged:
    """One response without its CRLF. Raises Fault."""
    if data.startswith(b"+ "):
        return Continuation(data[2:])
    start, _, rest = data.partition(b" ")
    if start != b"*":
        if not re.fullmatch(rb"[a-z0-9]+", start):
            raise Fault(f"no response: {data[:200]!r}")
        return _status(start.decode(), rest)
    if _STATUS.match(rest):
        status = _status("*", rest)
        return Untagged(status.status, data=status)
    if match := _NUMBERED.fullmatch(rest):
        kind = match[2].decode()
        if (kind == "FETCH") != (match[3] is not None):
            raise Fault(f"arguments: {data[:200]!r}")
        return Untagged(kind, int(match[1]), _Values(match[3]).fetch() if match[3] is not None else None)
    kind, _, arguments = rest.partition(b" ")
    if not re.fullmatch(rb"[A-Z]+", kind):
        raise Fault(f"no response: {data[:200]!r}")
    return Untagged(kind.decode(), data=_Values(arguments).all() if arguments else [])


def _status(tag: str, rest: bytes) -> Tagged:
    match = _STATUS.fullmatch(rest)
    if match is None:
        raise Fault(f"no status response: {rest[:200]!r}")
    return Tagged(tag, match[1].decode(), (match[2] or b"").decode(), (match[3] or b"").decode(), match[4].decode())


def numbers(text: str | bytes) -> list[int]:
    """A sequence set without `*`, in its order. Raises Fault."""
    words = text.decode() if isinstance(text, bytes) else text
    if not _SET.fullmatch(words):
        raise Fault(f"no set of numbers: {words[:200]!r}")
    out: list[int] = []
    for part in words.split(","):
        low, _, high = part.partition(":")
        first, last = int(low), int(high or low)
        out += range(first, last + 1) if first <= last else range(first, last - 1, -1)
    return out


class _Values:
    """Values one after the other: lists are lists, strings and atoms bytes, NIL None."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _fault(self) -> Fault:
        return Fault(f"at {self._at}: {self._data[max(0, self._at - 100) : self._at + 100]!r}")

    def _take(self, octets: bytes) -> None:
        if not self._data.startswith(octets, self._at):
            raise self._fault()
        self._at += len(octets)

    def all(self) -> list[Any]:
        """All there is, separated by single spaces."""
        out = [self.value()]
        while self._at < len(self._data):
            self._take(b" ")
            out.append(self.value())
        return out

    def fetch(self) -> dict[str, Any]:
        """msg-att of RFC 9051 §9; each item once."""
        out: dict[str, Any] = {}
        self._take(b"(")
        while True:
            match = _ITEM.match(self._data, self._at)
            if match is None or match[0].decode() in out:
                raise self._fault()
            self._at = match.end()
            self._take(b" ")
            out[match[0].decode()] = self.value()
            if self._data.startswith(b")", self._at):
                break
            self._take(b" ")
        self._take(b")")
        if self._at != len(self._data):
            raise self._fault()
        return out

    def value(self) -> Any:
        """The next value."""
        first = self._data[self._at : self._at + 1]
        if first == b"(":
            return self._list()
        if first == b'"':
            return self._quoted()
        if match := _LITERAL_END.match(self._data, self._at):
            self._at = match.end() + int(match[1])
            return self._data[match.end() : self._at]
        match = _ATOM.match(self._data, self._at)
        if match is None:
            raise self._fault()
        self._at = match.end()
        return None if match[0] == b"NIL" else match[0]

    def _list(self) -> list[Any]:
        self._take(b"(")
        out: list[Any] = []
        while not self._data.startswith(b")", self._at):
            if out and not (isinstance(out[-1], list) and self._data.startswith(b"(", self._at)):
                self._take(b" ")
            out.append(self.value())
        self._take(b")")
        return out

    def _quoted(self) -> bytes:
        match = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"').match(self._data, self._at)
        if match is None:
            raise self._fault()
        self._at = match.end()
        return re.sub(rb"\\(.)", rb"\1", match[1])
