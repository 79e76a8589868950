"""The model itself: which messages may be gone because another program removed their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.referee import Referee
from tests.stress.responses import Fault
from tests.stress.world import Box, World

VALIDITY = 17


def lost(messages: dict[int, int], removed: list[tuple[str, int]]) -> str:
    """UIDs of INBOX with the numbers of their messages (0: nobody saw it), none of which is there; files that the other
    program removed. What the referee says of it, empty if it is content."""
    world = World()
    box: Box = world.opened("INBOX", VALIDITY)
    for uid, name in messages.items():
        world.met(box, uid, name)
    world.files_removed.update(removed)
    try:
        Referee(world, 0, Path())._judge(box, {})
    except Fault as fault:
        return str(fault)
    return ""


@pytest.mark.parametrize(("messages", "removed", "missing"), [
    ({1: 5}, [("INBOX", 5)], ""),
    ({1: 5}, [], "UID 1"),
    ({1: 5}, [("INBOX", 6)], "UID 1"),
    ({1: 5}, [("Pool", 5)], "UID 1"),
    # Nobody saw who it was.
    ({1: 0}, [("INBOX", 5)], ""),
    ({1: 0}, [], "UID 1"),
    ({1: 0}, [("Pool", 5)], "UID 1"),
    # Each file accounts for one message, and those that have a name have theirs.
    ({1: 0, 2: 0}, [("INBOX", 5)], "UID 2"),
    ({1: 0, 2: 5}, [("INBOX", 5)], "UID 1"),
    ({1: 0, 2: 5}, [("INBOX", 5), ("INBOX", 6)], ""),
    ({1: 5, 2: 5}, [("INBOX", 5)], "UID 2"),
    ({1: 5, 2: 5, 3: 0}, [("INBOX", 5)] * 3, ""),
])  # fmt: skip
def test_a_removed_file_accounts_for_one_message(
    messages: dict[int, int], removed: list[tuple[str, int]], missing: str
) -> None:
    assert lost(messages, removed).partition(" of ")[0] == missing
