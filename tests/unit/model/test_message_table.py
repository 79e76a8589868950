"""The table of a mailbox: finding many messages, and being without some."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailserver.model.mailbox import MessageTable


def table_of(uids: list[int]) -> MessageTable:
    table = MessageTable()
    for uid in uids:
        table.append(uid, uid % 3, uid * 2, uid + 10, uid + 20, uid + 30)
    return table


@given(st.sets(st.integers(1, 400), max_size=200), st.sets(st.integers(1, 500), max_size=60))
def test_positions_and_without(uids: set[int], some: set[int]) -> None:
    table = table_of(sorted(uids))
    positions = table.positions(some)
    assert [table.uids[at] for at in positions] == sorted(uids & some)
    assert table.positions(sorted(some, reverse=True)) == positions
    rest = table.without(positions)
    assert rest == MessageTable(1, *table_of(sorted(uids - some)).columns())
    assert len(table) == len(uids), "who looks at the old table sees what was"
