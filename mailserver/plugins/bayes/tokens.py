"""The tokens of a message: words, marks, and pairs of neighbouring words, as numbers that nobody can read back.

A number is a keyed hash, so that the counts alone show no words, and nobody can write a word that passes for another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from mailserver import api

__all__ = ["MARK", "Hasher", "Tokens"]

_MASK = (1 << 63) - 1
#: Odd, so that the order of two words matters and nothing of them is lost.
_FACTOR = 0x9E37_79B9_7F4A_7C15
#: Words whose number is remembered, some 5 MB.
_MOST_KNOWN = 30_000
#: Before a mark, so that no word is one.
MARK = "\0"


@dataclass(slots=True)
class Tokens:
    """Each token once. `words`: words, and marks of what a message says, by their numbers. `style`: marks of how it is
    made. `pairs`: the numbers of two neighbours by theirs."""

    words: dict[int, str] = field(default_factory=dict)
    style: dict[int, str] = field(default_factory=dict)
    pairs: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.words) + len(self.style) + len(self.pairs)

    def __iter__(self) -> Iterator[int]:
        yield from self.words
        yield from self.style
        yield from self.pairs

    def text(self, number: int) -> tuple[str, ...]:
        """The words, or the mark, that a token is made of."""
        if number in self.pairs:
            return tuple([self.words[part] for part in self.pairs[number]])
        return (self.words.get(number) or self.style[number],)


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
            follow = numbers[1:]
            tokens.pairs.update(
                zip(
                    [(one * _FACTOR + other) & _MASK for one, other in zip(numbers, follow, strict=False)],
                    zip(numbers, follow, strict=False),
                    strict=True,
                )
            )
        for marks, into in ((found.marks, tokens.words), (found.style, tokens.style)):
            names = [MARK + mark for mark in marks]
            into.update(zip(self._numbers(names), names, strict=True))
        return tokens

    def _numbers(self, names: list[str]) -> list[int]:
        known = self._known
        if len(known) > _MOST_KNOWN:
            self._known = known = {}
        try:
            return [known[name] for name in names]
        except KeyError:
            for name in names:
                if name not in known:
                    digest = blake2b(name.encode("utf-8", "replace"), digest_size=8, key=self._key).digest()
                    known[name] = int.from_bytes(digest, "big") & _MASK
        return [known[name] for name in names]
