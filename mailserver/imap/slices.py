"""Long work on the event loop, a little at a time."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

__all__ = ["SLICE", "Turn", "in_slices", "sorted_by"]

_T = TypeVar("_T")
#: Seconds of work after which others get their turn.
SLICE = 0.002
#: As many are sorted in one call of C: some milliseconds, for which everybody waits.
_PIECE = 20_000
_BUCKET = 5_000


class Turn:
    """A turn on the event loop, which ends after some milliseconds."""

    __slots__ = ("_began", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    async def pass_on(self) -> None:
        """Let others have theirs, if this one took long enough."""
        if self._loop.time() - self._began > SLICE:
            await asyncio.sleep(0)
            self._began = self._loop.time()


async def in_slices(work: Generator[None, None, _T]) -> _T:
    """The result of `work`, which yields every few milliseconds so that others get their turn, or it be cancelled."""
    turn = Turn()
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: _T = end.value
            return result
        await turn.pass_on()


def sorted_by(order: list[int], column: Sequence[Any], *, reverse: bool = False) -> Generator[None, None, list[int]]:
    """`order` sorted by `column[place]`; places with equal values stay in their order, with `reverse` too."""
    if len(order) <= _PIECE:
        order.sort(key=column.__getitem__, reverse=reverse)
        return order
    # Into buckets of neighbouring values, by a sample; then bucket by bucket.
    sample = sorted({column[at] for at in order[:: max(1, len(order) // _PIECE)]})
    bounds = sample[:: max(1, len(sample) * _BUCKET // len(order))]
    buckets: list[list[int]] = [[] for _ in range(len(bounds) + 1)]
    for start in range(0, len(order), _BUCKET):
        for at in order[start : start + _BUCKET]:
            buckets[bisect_right(bounds, column[at])].append(at)
        yield
    out: list[int] = []
    for bucket in reversed(buckets) if reverse else buckets:
        bucket.sort(key=column.__getitem__, reverse=reverse)
        out += bucket
        yield
    return out
