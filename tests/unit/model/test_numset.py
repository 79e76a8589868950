"""model/numset.py against Python's own sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.numset import NumSet

numbers = st.integers(1, 300)
ranges = st.lists(st.tuples(numbers, numbers), max_size=30)


def as_set(pairs: list[tuple[int, int]]) -> set[int]:
    return {n for a, b in pairs for n in range(min(a, b), max(a, b) + 1)}


@given(ranges)
def test_from_ranges_is_the_union(pairs: list[tuple[int, int]]) -> None:
    numset = NumSet.from_ranges(pairs)
    assert list(numset) == sorted(as_set(pairs))
    assert len(numset) == len(as_set(pairs))
    assert all(a[1] + 1 < b[0] for a, b in zip(numset.ranges, numset.ranges[1:], strict=False))


@given(st.lists(numbers))
def test_from_numbers_is_the_same_set(values: list[int]) -> None:
    assert list(NumSet.from_numbers(values)) == sorted(set(values))
    assert all(value in NumSet.from_numbers(values) for value in values)


@given(ranges, st.sets(numbers))
def test_where_numbers_stand_among_existing_ones(pairs: list[tuple[int, int]], existing: set[int]) -> None:
    ordered = sorted(existing)
    spans = NumSet.from_ranges(pairs).indexes_in(ordered)
    assert [ordered[at] for span in spans for at in span] == sorted(existing & as_set(pairs))


def test_i06_a_huge_set_costs_its_ranges_not_its_numbers() -> None:
    everything = NumSet.from_ranges([(1, 4294967295)] * 1000)
    assert everything.ranges == ((1, 4294967295),)
    assert everything.indexes_in([5, 9]) == [range(2)]
    assert str(NumSet.from_numbers([3, 1, 2, 7])) == "1:3,7"
    assert 8 not in NumSet.from_numbers([7]) and "7" not in NumSet.from_numbers([7])
