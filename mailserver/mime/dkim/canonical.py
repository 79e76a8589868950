"""Canonical forms of header fields and bodies (RFC 6376 §3.4). Linear; nothing of a body is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["BodyDigest", "BodyDigests", "BodyForm", "BodyHash", "relaxed_field"]

_NEWLINES = b"\r\n" * 4096


def relaxed_field(name: bytes, raw: bytes) -> bytes:
    """A header field in relaxed form, without its line end (RFC 6376 §3.4.2); `raw` is its value, folded or not."""
    return name.lower() + b":" + _single_spaces(raw.replace(b"\r\n", b"")).strip(b" ")


def _single_spaces(text: bytes) -> bytes:
    """Each run of spaces and tabs as one space. A run becomes half as long each time, so 20 times do for 1 MiB."""
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text


class BodyForm(NamedTuple):
    """How a signature reads the body: `relaxed` or simple, and up to how many octets of the canonical form (l=)."""

    relaxed: bool
    limit: int | None = None


class BodyDigest(NamedTuple):
    """SHA-256 of a body in one form, and how many octets the whole body has in it, whatever its limit."""

    octets: bytes
    length: int


class _Digest:
    """SHA-256 of the first `left` octets, or of all for None."""

    def __init__(self, left: int | None) -> None:
        self._hash = hashlib.sha256()
        self._left = left

    def update(self, octets: bytes) -> None:
        if self._left is None:
            self._hash.update(octets)
        elif self._left:
            some = octets[: self._left]
            self._hash.update(some)
            self._left -= len(some)

    def digest(self) -> bytes:
        return self._hash.digest()


class _CanonicalBody:
    """A body in one of the two forms (RFC 6376 §3.4.3, §3.4.4), fed in pieces of any size and written to digests."""

    def __init__(self, *, relaxed: bool, digests: Iterable[_Digest]) -> None:
        self._relaxed = relaxed
        self._digests = tuple(digests)
        #: Octets of the canonical form so far.
        self.length = 0
        #: Line ends that count only if something follows them.
        self.newlines = 0
        #: What the next piece may change: nothing, " ", "\\r" or " \\r".
        self._rest = b""

    def feed(self, octets: bytes) -> None:
        text = self._rest + octets
        if self._relaxed:
            text = _single_spaces(text).replace(b" \r\n", b"\r\n")
            held = next((len(end) for end in (b" \r", b"\r", b" ") if text.endswith(end)), 0)
        else:
            held = 1 if text.endswith(b"\r") else 0
        text, self._rest = (text[:-held], text[-held:]) if held else (text, b"")
        content = len(text.rstrip(b"\r\n"))
        newlines = text.count(b"\r\n", content)
        if content + 2 * newlines != len(text):
            # Bare CR or LF is content like any other: strangers may have it, and sign it.
            newlines = _trailing_newlines(text[content:])
            content = len(text) - 2 * newlines
        if content:
            self._write_newlines()
            self._write(text[:content])
        self.newlines += newlines

    def end(self) -> None:
        """To be called once."""
        if self._rest.strip(b" ") if self._relaxed else self._rest:
            self._write_newlines()
            self._write(self._rest)
        if self.length or not self._relaxed:
            self._write(b"\r\n")

    def _write_newlines(self) -> None:
        while self.newlines:
            some = min(self.newlines, len(_NEWLINES) // 2)
            self._write(_NEWLINES[: 2 * some])
            self.newlines -= some

    def _write(self, octets: bytes) -> None:
        self.length += len(octets)
        for digest in self._digests:
            digest.update(octets)


def _trailing_newlines(text: bytes) -> int:
    """How many CRLFs end `text`."""
    parts = text.split(b"\r\n")
    return next((number for number, part in enumerate(reversed(parts)) if part), len(parts) - 1)


class BodyDigests:
    """The digests of a body in several forms, from one pass over it."""

    def __init__(self, forms: Iterable[BodyForm]) -> None:
        self._forms = frozenset(forms)
        #: Those that are known: from others who looked at the body, or when it ended.
        self.found: dict[BodyForm, BodyDigest] = {}
        self._digests: dict[BodyForm, _Digest] = {}
        self._bodies: dict[bool, _CanonicalBody] = {}
        self._begin()

    def _begin(self) -> None:
        self._digests = {form: _Digest(form.limit) for form in self._forms if form not in self.found}
        self._bodies = {
            relaxed: _CanonicalBody(
                relaxed=relaxed, digests=[digest for form, digest in self._digests.items() if form.relaxed is relaxed]
            )
            for relaxed in {form.relaxed for form in self._digests}
        }

    def __bool__(self) -> bool:
        return bool(self._forms)

    def know(self, found: Mapping[BodyForm, BodyDigest]) -> bool:
        """Before anything is fed: what is known of this body already. False: then all is known, and it need not be."""
        self.found = {form: found[form] for form in self._forms if form in found}
        if self.found:
            self._begin()
        return bool(self._digests)

    def feed(self, octets: bytes) -> None:
        """The next piece."""
        for body in self._bodies.values():
            body.feed(octets)

    def end(self) -> None:
        """No more pieces; to be called once."""
        for body in self._bodies.values():
            body.end()
        for form, digest in self._digests.items():
            self.found[form] = BodyDigest(digest.digest(), self._bodies[form.relaxed].length)

    def digest(self, form: BodyForm) -> bytes:
        """SHA-256 of the body in this form, after `end`."""
        return self.found[form].octets

    def length(self, form: BodyForm) -> int:
        """Octets of the whole body in this form, whatever its limit, after `end`."""
        return self.found[form].length


class BodyHash:
    """SHA-256 of a body in relaxed form, fed in pieces of any size: the form of our own signatures."""

    def __init__(self) -> None:
        self._digest = _Digest(None)
        self._body = _CanonicalBody(relaxed=True, digests=[self._digest])

    def feed(self, octets: bytes) -> None:
        """The next piece."""
        self._body.feed(octets)

    def digest(self) -> bytes:
        """The hash of what was fed; to be called once."""
        self._body.end()
        return self._digest.digest()
