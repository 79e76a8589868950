"""A header with fields put in, given new values, or taken away, and every other octet as it was."""

from __future__ import annotations

from collections.abc import Iterable

from mailserver.mime.headers import fields, header_block_end
from mailserver.model.verdict import HeaderChange

__all__ = ["changed_header"]

_Piece = tuple[bytes, bytes]


def changed_header(header: bytes, changes: Iterable[HeaderChange]) -> bytes:
    """The header block after these changes, in their order.

    Args:
        header: with the empty line at its end, if it has one. Of a header that is not all here, only what is here is
            changed.
        changes: see HeaderChange for where each of them takes effect.
    """
    pieces, end = _pieces(header)
    for change in changes:
        name = change.name.lower().encode("ascii")
        places = [number for number, (found, _) in enumerate(pieces) if found == name]
        if 0 < change.occurrence <= len(places):
            place = places[change.occurrence - 1]
            pieces[place : place + 1] = [] if change.value is None else [(name, _written(change))]
        elif change.value is not None:
            pieces.insert(_place(pieces, change), (name, _written(change)))
    return b"".join(octets for _, octets in pieces) + end


def _pieces(header: bytes) -> tuple[list[_Piece], bytes]:
    """The fields with their names in lower case, what stands between them without one, and the empty line."""
    end = b""
    if header_block_end(header) == len(header):
        for empty in (b"\r\n", b"\n"):
            if header == empty or header.endswith(b"\n" + empty):
                header, end = header[: -len(empty)], empty
                break
    pieces: list[_Piece] = []
    at = 0
    for name, start, stop in fields(header):
        if start > at:
            pieces.append((b"", header[at:start]))
        pieces.append((name, header[start:stop]))
        at = stop
    if at < len(header):
        pieces.append((b"", header[at:]))
    if pieces and not pieces[-1][1].endswith(b"\n"):
        pieces[-1] = (pieces[-1][0], pieces[-1][1] + b"\r\n")
    return pieces, end


def _place(pieces: list[_Piece], change: HeaderChange) -> int:
    if change.occurrence or change.position is None:
        return len(pieces)
    left = change.position
    for number, (name, _) in enumerate(pieces):
        if left == 0:
            return number
        left -= bool(name)
    return len(pieces)


def _written(change: HeaderChange) -> bytes:
    value = change.value or ""
    # What is there already is the milter's or the plugin's own way to begin a value.
    space = "" if value[:1] in (" ", "\t") else " "
    return f"{change.name}:{space}{value}\r\n".encode("utf-8", "surrogateescape")
