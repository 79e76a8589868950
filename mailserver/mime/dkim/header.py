"""The header of a message as signatures read it: fields picked by name, from the bottom up (RFC 6376 §5.4.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mailserver.mime.dkim.canonical import relaxed_field
from mailserver.mime.dkim.tags import without_value
from mailserver.mime.headers import Field, fields

__all__ = ["SignedHeader"]


class SignedHeader:
    """Fields are known by their number, counted from the top; each is put into its form once for all signatures."""

    def __init__(self, head: bytes, found: Sequence[Field] | None = None) -> None:
        """`head` is the beginning of the message; what follows the header block does not matter. `found` are the
        fields, if they are known."""
        self._head = head
        self._fields = fields(head) if found is None else found
        self._numbers: dict[bytes, list[int]] = {}
        for number, (name, _, _) in enumerate(self._fields):
            self._numbers.setdefault(name, []).append(number)
        self._relaxed: dict[int, bytes] = {}

    def numbers(self, name: bytes) -> list[int]:
        """Of all fields of this (lower-case) name, from the top down."""
        return self._numbers.get(name, [])

    def raw_value(self, number: int) -> bytes:
        """What follows the colon of a field, without the line end."""
        _, start, end = self._fields[number]
        return self._head[self._head.index(b":", start) + 1 : end].removesuffix(b"\n").removesuffix(b"\r")

    def covered(self, names: Iterable[bytes], own: int, *, relaxed: bool) -> list[bytes]:
        """The fields that a signature covers, with their line ends; `own` is the number of its own field, which it
        cannot name. Names for which no field is left cover nothing."""
        used: dict[bytes, int] = {}
        found: list[bytes] = []
        for name in names:
            numbers = self._numbers.get(name, ())
            place = used.get(name, 0) + 1
            if place <= len(numbers) and numbers[-place] == own:
                place += 1
            used[name] = place
            if place <= len(numbers):
                found.append(self.field(numbers[-place], relaxed=relaxed))
        return found

    def field(self, number: int, *, relaxed: bool) -> bytes:
        """A field in its form, with its line end."""
        name, start, end = self._fields[number]
        if not relaxed:
            # The last line of a header without a body may have no end of its own.
            return self._head[start:end].removesuffix(b"\n").removesuffix(b"\r") + b"\r\n"
        if number not in self._relaxed:
            self._relaxed[number] = relaxed_field(name, self.raw_value(number)) + b"\r\n"
        return self._relaxed[number]

    def unsigned(self, number: int, *, relaxed: bool) -> bytes:
        """The field of a signature as it covers itself: b= is empty, and there is no line end (RFC 6376 §3.7)."""
        name, start, _ = self._fields[number]
        value = without_value(self.raw_value(number), b"b")
        if relaxed:
            return relaxed_field(name, value)
        return self._head[start : self._head.index(b":", start) + 1] + value
