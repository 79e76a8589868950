"""What SEARCH finds by a comparator that the client selected (RFC 5255 §4.6): in decoded and converted text.

Nothing that was prepared for the usual comparator helps here, save where texts are and what is nothing but ASCII.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailserver.mime.comparators import Comparator
from mailserver.mime.search import Place, codec_at, is_ascii, is_header, octets_at, places_in, unfolded

__all__ = ["SelectedNeedle"]


class SelectedNeedle:
    """A text that is looked for."""

    __slots__ = ("_comparator", "_key", "_octets")

    def __init__(self, text: str, comparator: Comparator) -> None:
        self._comparator = comparator
        self._key = comparator.key(text)
        self._octets = text.encode("utf-8", "surrogatepass")

    def where(self, piece: bytes, *, headers: bool) -> list[Place]:
        """As `Needle.where`."""
        ascii_only = self._key.isascii()
        return [
            place
            for place in places_in(piece)
            if (headers or not is_header(place)) and (ascii_only or not is_ascii(place))
        ]

    def is_in(self, message: bytes, places: Iterable[Place], piece: bytes) -> bool:
        """As `Needle.is_in`."""
        for place in places:
            _, _, start, end = place
            octets = message[start:end]
            if is_header(place):
                if self.in_header(octets):
                    return True
            elif self._is_in(self._comparator.text(octets_at(octets, place), codec_at(place, piece))):
                return True
        return False

    def in_header(self, block: bytes) -> bool:
        """In a field or a header block, which may be folded and have encoded words; each field is a text."""
        lines = unfolded(block).split(b"\n")
        return any(self._is_in(self._comparator.words(line.removesuffix(b"\r"))) for line in lines)

    def _is_in(self, text: str | bytes) -> bool:
        return self._comparator.is_in(self._key, text) if isinstance(text, str) else self._octets in text
