"""F09: killed at every system call from an attempt to the end of its report, the sender hears of it exactly once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.report_child import MESSAGES
from tests.helpers.forks import Forks, said
from tests.helpers.queue import DEFERRED, FAILED, QueueHarness
from tests.helpers.strace import needs_strace

CHILD = Path(__file__).parent / "report_child.py"


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(CHILD) as forks:
        yield forks


async def go_on(root: Path) -> tuple[dict[str, bool], set[str]]:
    """Start again, and let time pass until all is over: the reports that come, with whether the queue knew that they
    may have come before, and what it holds in the end."""
    harness = QueueHarness(root)
    answers = harness.deliverer.answers
    answers |= {"bad@x.test": [FAILED], "bad@y.test": [FAILED], "later@y.test": [DEFERRED]}
    async with harness.running():
        for _ in range(3):
            await harness.advance(400)
        await harness.queue.recovered()
        jobs = [job for job in harness.deliverer.jobs if job.destination.local]
        came = {str(job.queue_id): job.doubtful for job in jobs}
        assert len(came) == len(jobs), "told twice"
        return came, {str(item.queue_id) for item in harness.queue.items()}


def check(root: Path) -> int:
    """One report for each message, and nothing remains but what waits; how many reports came before the end."""
    acked = re.findall(r"^acked (\S+)$", said(root), re.MULTILINE)
    before = re.findall(r"^got (\S+)$", said(root), re.MULTILINE)
    after, left = asyncio.run(go_on(root))
    assert left <= {"0000000000000002"}
    assert all(after[report] for report in {*before} & {*after}), "it comes again, and nobody knows (RFC 1047)"
    assert len(acked) <= len({*before, *after}) <= len(MESSAGES), "one for each message"
    again, _ = asyncio.run(go_on(root))
    assert again == {}
    return len(before)


@needs_strace
def test_f09_killed_at_every_call(tmp_path: Path, forks: Forks) -> None:
    places = forks.places(tmp_path / "unharmed")
    calls = {call.removesuffix("at") for call, _ in places}
    assert {"fdatasync", "fsync", "pwrite64", "rename", "unlink", "write"} <= calls
    assert check(tmp_path / "unharmed") == len(MESSAGES)
    found = set()
    for call, when in places:
        root = tmp_path / f"{call}{when}"
        forks.inject(root, (call, when))
        found.add(check(root))
    assert found == {0, 1, 2, 3}
