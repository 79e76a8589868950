"""wire/imap/parse/sort.py: SORT and THREAD (RFC 5256 §5, RFC 5957 §5, RFC 5267 §3)."""

from __future__ import annotations

import pytest

from mailserver.wire.imap.commands import (
    CancelUpdate,
    Search,
    SearchReturn,
    Sort,
    SortCriterion,
    SortKey,
    Thread,
    ThreadAlgorithm,
)
from mailserver.wire.imap.events import BadCommand
from mailserver.wire.imap.responses import ordered_set
from mailserver.wire.imap.search_keys import All, And, HasFlag, Header, Within
from mailserver.wire.imap.sequence_set import PartialRange
from tests.helpers.wire_imap import command, every_way

ALL = Search(key=All())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"SORT (SUBJECT) UTF-8 ALL", Sort((SortCriterion(SortKey.SUBJECT),), ALL)),
        (
            b'sort (subject reverse date) "us-ascii" all',
            Sort((SortCriterion(SortKey.SUBJECT), SortCriterion(SortKey.DATE, reverse=True)), ALL),
        ),
        (
            b"UID SORT (DISPLAYFROM) UTF-8 SEEN TO {1+}\r\nx",
            Sort(
                (SortCriterion(SortKey.DISPLAYFROM),),
                Search(key=And((HasFlag("\\Seen"), Header("to", "x"))), uid=True),
            ),
        ),
        (
            b"SORT RETURN () (ARRIVAL) UTF-8 ALL",
            Sort((SortCriterion(SortKey.ARRIVAL),), Search(key=All(), returns=frozenset({SearchReturn.ALL}))),
        ),
        (
            b"SORT (CC) KOI8-R whatever {{{",
            Sort((SortCriterion(SortKey.CC),), Search(key=All(), bad_charset=True)),
        ),
        (b"THREAD ORDEREDSUBJECT UTF-8 ALL", Thread(ThreadAlgorithm.ORDEREDSUBJECT, ALL)),
        (b"uid thread references utf-8 all", Thread(ThreadAlgorithm.REFERENCES, Search(key=All(), uid=True))),
    ],
)
def test_what_is_read(line: bytes, expected: object) -> None:
    assert command(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"SORT",
        b"SORT ()",
        b"SORT () UTF-8 ALL",
        b"SORT (REVERSE) UTF-8 ALL",
        b"SORT (REVERSE REVERSE DATE) UTF-8 ALL",
        b"SORT (SIZE)(DATE) UTF-8 ALL",
        b"SORT (SIZE) ALL",
        b"SORT (" + b" ".join([b"DATE"] * 31) + b") UTF-8 ALL",
        b"THREAD REFS UTF-8 ALL",
        b"THREAD REFERENCES ALL",
        b"THREAD RETURN (ALL) REFERENCES UTF-8 ALL",
    ],
)
def test_what_is_refused(line: bytes) -> None:
    (event,) = every_way(b"a " + line + b"\r\n")
    assert isinstance(event, BadCommand)
    assert event.status == "BAD"


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([], b""),
        ([5], b"5"),
        ([1, 2, 3], b"1:3"),
        ([3, 2, 1], b"3,2,1"),
        ([10, 11, 12, 4, 5, 1], b"10:12,4:5,1"),
        (range(1, 4), b"1:3"),
    ],
)
def test_ranges_only_go_up(numbers: list[int], expected: bytes) -> None:
    assert ordered_set(numbers) == expected


@pytest.mark.parametrize(
    ("options", "returns", "partial"),
    [
        (b"(PARTIAL 1:500)", {SearchReturn.PARTIAL}, PartialRange(1, 500)),
        (b"(partial -5:-1 count)", {SearchReturn.PARTIAL, SearchReturn.COUNT}, PartialRange(-5, -1)),
        (b"(MIN PARTIAL 9:9 SAVE)", {SearchReturn.MIN, SearchReturn.PARTIAL, SearchReturn.SAVE}, PartialRange(9, 9)),
    ],
)
def test_partial(options: bytes, returns: set[SearchReturn], partial: PartialRange) -> None:
    search = Search(key=All(), returns=frozenset(returns), partial=partial)
    assert command(b"SEARCH RETURN %b ALL" % options) == search
    assert command(b"SORT RETURN %b (SIZE) UTF-8 ALL" % options) == Sort((SortCriterion(SortKey.SIZE),), search)


@pytest.mark.parametrize(
    "options",
    [
        b"PARTIAL",
        b"PARTIAL 1",
        b"PARTIAL 0:5",
        b"PARTIAL 1:*",
        b"PARTIAL -1:5",
        b"PARTIAL 1:-5",
        b"PARTIAL 1:5 PARTIAL 6:7",
        b"ALL PARTIAL 1:5",
        b"PARTIAL 1:4294967296",
    ],
)
def test_partial_that_is_none(options: bytes) -> None:
    (event,) = every_way(b"a SEARCH RETURN (%b) ALL\r\n" % options)
    assert isinstance(event, BadCommand)


@pytest.mark.parametrize(
    ("first", "last", "count", "places"),
    [
        (1, 3, 10, [0, 1, 2]),
        (3, 1, 10, [0, 1, 2]),
        (9, 12, 10, [8, 9]),
        (11, 12, 10, []),
        (-1, -3, 10, [7, 8, 9]),
        (-3, -1, 10, [7, 8, 9]),
        (-9, -12, 10, [0, 1]),
        (-11, -12, 10, []),
        (1, 4_294_967_295, 0, []),
        (-1, -4_294_967_295, 2, [0, 1]),
    ],
)
def test_the_places_of_a_partial_range(first: int, last: int, count: int, places: list[int]) -> None:
    assert list(PartialRange(first, last).of(count)) == places


def test_within() -> None:
    assert command(b"SEARCH YOUNGER 259200 older 1") == Search(
        key=And((Within(259_200, older=False), Within(1, older=True)))
    )
    for line in (b"SEARCH YOUNGER 0", b"SEARCH OLDER", b"SEARCH OLDER x"):
        (event,) = every_way(b"a " + line + b"\r\n")
        assert isinstance(event, BadCommand)


def test_cancel_update() -> None:
    assert command(b'CANCELUPDATE "B04" "a b"') == CancelUpdate((b"B04", b"a b"))
    for line in (b"CANCELUPDATE", b"CANCELUPDATE B04", b'CANCELUPDATE "B04"x'):
        (event,) = every_way(b"a " + line + b"\r\n")
        assert isinstance(event, BadCommand)
