"""Large sorts in small pieces: one call of C on a million items keeps every other thread waiting, the loop's too."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

__all__ = ["by_number", "in_order"]

_T = TypeVar("_T")
_PIECE = 20_000
_BUCKET_BITS = 14


def in_order(items: list[_T], key: Callable[[_T], Any]) -> Iterator[_T]:
    """As `sorted`; `items` is empty afterwards, and nothing is left that must be freed all at once."""
    pieces = []
    while items:
        pieces.append(sorted(items[-_PIECE:], key=key, reverse=True))
        del items[-_PIECE:]
    return _drain(pieces[0]) if len(pieces) == 1 else heapq.merge(*map(_drain, pieces), key=key)


def _drain(piece: list[_T]) -> Iterator[_T]:
    while piece:
        yield piece.pop()


def by_number(items: Iterable[_T], number: Callable[[_T], int]) -> Iterator[_T]:
    """As `sorted`, for numbers that are rather dense."""
    buckets: dict[int, list[_T]] = {}
    for item in items:
        buckets.setdefault(number(item) >> _BUCKET_BITS, []).append(item)
    for bucket in sorted(buckets):
        yield from sorted(buckets.pop(bucket), key=number)
