"""model/mailbox.py: names, and the table that sessions share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.errors import InvalidInput
from mailserver.model.mailbox import MessageTable, check_mailbox_name


@pytest.mark.parametrize(
    ("name", "checked"), [("inbox", "INBOX"), ("Inbox/x", "INBOX/x"), ("A/B c", "A/B c"), ("Entwürfe", "Entwürfe")]
)
def test_one_spelling(name: str, checked: str) -> None:
    assert check_mailbox_name(name) == checked


@pytest.mark.parametrize(
    "name",
    ["", "/", "/etc", "a//b", "a/", "../x", "a/../../x", ".", "..", "~root", "a\0", "a\nb", "a*", "a%", "\ud800",
     "/".join("a" * 51), " a", "a/ b", "\u2028"],
)  # fmt: skip
def test_j01_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_mailbox_name(name)


def table_of(count: int) -> MessageTable:
    table = MessageTable()
    for uid in range(1, count + 1):
        table.append(uid * 3, uid % 4, uid, uid * 10, uid, uid)
    return table


@given(st.integers(0, 200), st.data())
def test_without_leaves_the_rest_in_order(count: int, data: st.DataObject) -> None:
    table = table_of(count)
    gone = sorted(data.draw(st.sets(st.integers(0, count - 1)))) if count else []
    rest = [at for at in range(count) if at not in gone]
    shorter = table.without(gone)
    assert list(shorter.uids) == [table.uids[at] for at in rest]
    assert list(shorter.sizes) == [table.sizes[at] for at in rest]
    assert shorter.generation == table.generation + 1
    assert len(table) == count


def test_find() -> None:
    table = table_of(5)
    assert [table.find(uid) for uid in (3, 15, 4, 99)] == [0, 4, -1, -1]
