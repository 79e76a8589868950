"""model/flags.py: interned sets of flags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.errors import InvalidInput
from mailserver.model.flags import DELETED, SEEN, FlagChange, FlagTable, normalize_flag

FLAGS = [*"abc", "$Work", SEEN, DELETED, "\\Answered"]


def test_rendered_lists_system_flags_first_and_is_made_once() -> None:
    table = FlagTable()
    number = table.intern(["$Work", SEEN, "\\Answered"])
    assert table.rendered[number] == b"\\Answered \\Seen $Work"
    assert table.intern([SEEN, "$Work", "\\Answered"]) == number
    assert table.rendered[0] == b""


def test_flags_compare_without_case_and_keep_their_first_spelling() -> None:
    table = FlagTable()
    number = table.intern(["$Work"])
    assert table.intern(["$WORK"]) == number
    assert table.change(number, FlagChange.REMOVE, frozenset({"$work"})) == 0
    assert table.keywords() == ["$Work"]
    assert table.having("$wORK") == {number}


@given(st.lists(st.tuples(st.sampled_from(FlagChange), st.frozensets(st.sampled_from(FLAGS))), max_size=20))
def test_change_is_set_arithmetic(changes: list[tuple[FlagChange, frozenset[str]]]) -> None:
    table, number, model = FlagTable(), 0, frozenset[str]()
    for how, flags in changes:
        number = table.change(number, how, flags)
        model = flags if how is FlagChange.REPLACE else model | flags if how is FlagChange.ADD else model - flags
        assert table.sets[number] == model


def test_normalize() -> None:
    assert normalize_flag("\\sEEN") == SEEN
    assert normalize_flag("$Junk") == "$Junk"
    for bad in ("\\Recent", "\\X", "", "a b", "a(", "a]", "a\\b", 'a"', "é", "x" * 101, "a\r"):
        with pytest.raises(InvalidInput):
            normalize_flag(bad)
