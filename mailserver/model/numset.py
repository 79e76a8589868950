"""Sets of message numbers and UIDs (RFC 9051 §9 sequence-set), always as sorted disjoint ranges.

Work is bounded by the number of ranges and of existing messages, never by the numbers named: `1:4294967295` a thousand
times costs a thousand comparisons (ATTACKS I06).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["NumSet"]

MAX_NUMBER = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class NumSet:
    """Disjoint, ascending, inclusive ranges of numbers from 1 to 2**32 - 1."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def from_ranges(cls, ranges: Iterable[tuple[int, int]]) -> NumSet:
        """Sort and join any ranges; `(5, 3)` means `(3, 5)` (RFC 9051 §9 seq-range)."""
        joined: list[tuple[int, int]] = []
        for low, high in sorted((a, b) if a <= b else (b, a) for a, b in ranges):
            if joined and low <= joined[-1][1] + 1:
                if high > joined[-1][1]:
                    joined[-1] = (joined[-1][0], high)
            else:
                joined.append((low, high))
        return cls(tuple(joined))

    @classmethod
    def from_numbers(cls, numbers: Iterable[int]) -> NumSet:
        """From single numbers, in any order."""
        ordered = sorted(set(numbers))
        if ordered and ordered[-1] - ordered[0] + 1 == len(ordered):
            return cls(((ordered[0], ordered[-1]),))
        out: list[tuple[int, int]] = []
        start = previous = -1
        for number in ordered:
            if number == previous + 1 and start >= 0:
                previous = number
                continue
            if start >= 0:
                out.append((start, previous))
            start = previous = number
        if start >= 0:
            out.append((start, previous))
        return cls(tuple(out))

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        at = bisect_right(self.ranges, (number, MAX_NUMBER + 1)) - 1
        return at >= 0 and self.ranges[at][0] <= number <= self.ranges[at][1]

    def __iter__(self) -> Iterator[int]:
        for low, high in self.ranges:
            yield from range(low, high + 1)

    def __len__(self) -> int:
        return sum(high - low + 1 for low, high in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __and__(self, other: NumSet) -> NumSet:
        """What is in both; O(ranges)."""
        out: list[tuple[int, int]] = []
        mine, theirs = iter(self.ranges), iter(other.ranges)
        a, b = next(mine, None), next(theirs, None)
        while a is not None and b is not None:
            low, high = max(a[0], b[0]), min(a[1], b[1])
            if low <= high:
                out.append((low, high))
            if a[1] < b[1]:
                a = next(mine, None)
            else:
                b = next(theirs, None)
        return NumSet(tuple(out))

    def __sub__(self, other: NumSet) -> NumSet:
        """What is here and not in the other; O(ranges)."""
        out: list[tuple[int, int]] = []
        gaps = iter(other.ranges)
        gap = next(gaps, None)
        for low, high in self.ranges:
            while gap is not None and gap[1] < low:
                gap = next(gaps, None)
            while gap is not None and gap[0] <= high:
                if low < gap[0]:
                    out.append((low, gap[0] - 1))
                low = gap[1] + 1
                if low > high:
                    break
                gap = next(gaps, None)
            if low <= high:
                out.append((low, high))
        return NumSet(tuple(out))

    def __str__(self) -> str:
        return ",".join(str(low) if low == high else f"{low}:{high}" for low, high in self.ranges)

    def encode(self) -> bytes:
        """As it goes on the wire."""
        return str(self).encode("ascii")

    def indexes_in(self, ordered: Sequence[int]) -> list[range]:
        """Where the numbers of this set stand in an ascending sequence, as ranges of positions."""
        out = []
        for low, high in self.ranges:
            start, stop = bisect_left(ordered, low), bisect_right(ordered, high)
            if start < stop:
                out.append(range(start, stop))
        return out
