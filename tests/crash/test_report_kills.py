"""F09: killed at every system call from an attempt to the end of its report, the sender hears exactly once of each
recipient."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.report_child import MESSAGES, told_by
from tests.helpers.forks import Forks, said
from tests.helpers.queue import DEFERRED, FAILED, QueueHarness
from tests.helpers.strace import needs_strace

CHILD = Path(__file__).parent / "report_child.py"
#: Of these messages and recipients the sender is to be told.
TELLS = {
    ("0000000000000001", 0), ("0000000000000001", 1), ("0000000000000002", 0), ("0000000000000003", 0),
}  # fmt: skip


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(CHILD) as forks:
        yield forks


async def go_on(root: Path) -> tuple[dict[str, tuple[str, bool]], set[str]]:
    """Start again, and let time pass until all is over: the reports that come, each with whom it tells of and whether
    the queue knew that it may have come before, and what the queue holds in the end."""
    harness = QueueHarness(root)
    answers = harness.deliverer.answers
    answers |= {"bad@x.test": [FAILED], "bad@y.test": [FAILED], "later@y.test": [DEFERRED]}
    async with harness.running():
        for _ in range(3):
            await harness.advance(400)
        await harness.queue.recovered()
        jobs = [job for job in harness.deliverer.jobs if job.destination.local]
        came = {str(job.queue_id): (told_by(job), job.doubtful) for job in jobs}
        assert len(came) == len(jobs), "told twice"
        return came, {str(item.queue_id) for item in harness.queue.items()}


def check(root: Path) -> int:
    """Of each recipient one report tells what there is to tell, and nothing remains but what waits;
    how many reports came before the end."""
    acked = re.findall(r"^acked (\S+)$", said(root), re.MULTILINE)
    before = dict(re.findall(r"^got (\S+) (.+)$", said(root), re.MULTILINE))
    after, left = asyncio.run(go_on(root))
    assert left <= {"0000000000000002"}
    assert all(after[report][1] for report in {*before} & {*after}), "it comes again, and nobody knows (RFC 1047)"
    reports = before | {report: words for report, (words, _) in after.items()}
    told = Counter(one for words in reports.values() for one in recipients_of(words))
    assert set(told.values()) <= {1}, "told twice"
    # What was not acknowledged may be there, and is told of then.
    assert {one for one in TELLS if one[0] in acked} <= {*told} <= TELLS
    again, _ = asyncio.run(go_on(root))
    assert again == {}
    return len(before)


def recipients_of(words: str) -> list[tuple[str, int]]:
    message, positions = words.split(" ")
    return [(message, int(position)) for position in positions.split(",")]


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
