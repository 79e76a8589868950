"""F07: killed at every system call from an attempt to its end, an account that forwards its mail without keeping it
gets back what could not be delivered: once, and always."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.model.ids import derived_queue_id
from tests.crash.return_child import ACCOUNT, MESSAGES
from tests.helpers.forks import Forks, said
from tests.helpers.queue import FAILED, QueueHarness
from tests.helpers.strace import needs_strace

CHILD = Path(__file__).parent / "return_child.py"
#: The copies for the account, by the message that they are of.
COPIES = {str(derived_queue_id(one, "returned", ACCOUNT)): str(one) for one in MESSAGES}


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(CHILD) as forks:
        yield forks


async def go_on(root: Path) -> list[tuple[str, str, bool]]:
    """Start again, and let time pass until all is over: destinations, ids, and whether it may have come before."""
    harness = QueueHarness(root)
    harness.deliverer.answers["bad@x.test"] = [FAILED]
    async with harness.running():
        for _ in range(3):
            await harness.advance(400)
        await harness.queue.recovered()
        assert len(harness.queue) == 0
        return [(job.destination.name, str(job.queue_id), job.doubtful) for job in harness.deliverer.jobs]


def check(root: Path) -> int:
    """Each message that was acknowledged came back once, and its sender heard of it once; how many were back before
    the end."""
    acked = re.findall(r"^acked (\S+)$", said(root), re.MULTILINE)
    before = re.findall(r"^got (\S+) (\S+)$", said(root), re.MULTILINE)
    after = asyncio.run(go_on(root))
    for place, ids in (("example.test", COPIES.keys()), ("far.test", set())):
        first = [one for name, one in before if name == place]
        second = [(one, doubtful) for name, one, doubtful in after if name == place]
        assert all(doubtful for one, doubtful in second if one in first), f"{place} gets it again, and nobody knows"
        got = Counter({*first, *(one for one, _ in second)})
        if place == "example.test":
            assert {COPIES[one] for one in got} >= set(acked), "an account did not get its mail back"
            assert set(got) <= ids
        else:
            assert len(got) == ("0000000000000001" in acked) or not acked
    return sum(name == "example.test" for name, _ in before)


@needs_strace
def test_f07_killed_at_every_call(tmp_path: Path, forks: Forks) -> None:
    places = forks.places(tmp_path / "unharmed")
    assert check(tmp_path / "unharmed") == len(MESSAGES)
    found = set()
    for call, when in places:
        root = tmp_path / f"{call}{when}"
        forks.inject(root, (call, when))
        found.add(check(root))
    assert found == {0, 1, 2}
