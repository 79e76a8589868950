"""The tokens of a message: words, marks, and pairs of neighbouring words, as numbers that nobody can read back.

A number is a keyed hash, so that the counts alone show no words, and nobody can write a word that passes for another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise

from mailserver import api

__all__ = ["Hasher", "Tokens"]

_MASK = (1 << 63) - 1
#: Odd, so that the order of two words matters and nothing of them is lost.
_FACTOR = 0x9E37_79B9_7F4A_7C15
#: Words whose number is remembered, some 10 MB.
_MOST_KNOWN = 40_000
#: Before a mark, so that no word is one.
MARK = "\0"


@dataclass(slots=True)
class Tokens:
    """Each token once. `words`: words and marks by their numbers. `pairs`: the numbers of two neighbours by theirs."""

    words: dict[int, str] = field(default_factory=dict)
    pairs: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.words) + len(self.pairs)

    def __iter__(self) -> Iterator[int]:
        yield from self.words
        yield from self.pairs


class Hasher:
    """Makes the numbers under a key (16 to 64 octets). May be used by several threads."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, int] = {}

    def tokens(self, found: api.MailFeatures) -> Tokens:
        """The tokens of a message, at most some 8,000."""
        tokens = Tokens()
        for place, words in found.texts:
            names = [f"{place}:{word}" for word in words] if place else words
            numbers = self._numbers(names)
            tokens.words.update(zip(numbers, names, strict=True))
            for one, other in pairwise(numbers):
                tokens.pairs[(one * _FACTOR + other) & _MASK] = (one, other)
        marks = [MARK + mark for mark in found.marks]
        tokens.words.update(zip(self._numbers(marks), marks, strict=True))
        return tokens

    def _numbers(self, names: list[str]) -> list[int]:
        known = self._known
        if len(known) > _MOST_KNOWN:
            self._known = known = {}
        out = []
        for name in names:
            number = known.get(name)
            if number is None:
                digest = blake2b(name.encode("utf-8", "replace"), digest_size=8, key=self._key).digest()
                known[name] = number = int.from_bytes(digest, "big") & _MASK
            out.append(number)
        return out
