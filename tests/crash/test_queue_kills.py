"""G01, G04, G05: the queue is killed, or its disk fails, at every system call that changes something.

The child takes messages in, tries them, reports and finishes them (queue_child.py), and says what it was promised.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.ports.reports import Action
from mailserver.queue.codec import encode, read_new
from mailserver.queue.disk import DiskQueue
from mailserver.queue.record import Dot
from mailserver.queue.settings import QueueSettings
from mailserver.queue.state import Item
from tests.crash.queue_child import SIZES, body
from tests.helpers.clock import FakeClock
from tests.helpers.forks import Forks, said
from tests.helpers.spool import ID, LATER, NO, SENT, make_item
from tests.helpers.strace import needs_strace

CHILD = Path(__file__).parent / "queue_child.py"


@pytest.fixture
def used_queue(tmp_path: Path) -> Path:
    """A queue with a past: an item with a torn record, a message that was never finished, and a foreign file."""
    root = tmp_path / "used"
    asyncio.run(make_item(root))
    with (root / "items" / ID).open("ab") as file:
        file.write(encode(Dot(at=1.0, recipients=(0,)))[:-3])
    (root / "tmp" / "0000000000000000").write_bytes(b"half")
    (root / "items" / "foreign").write_bytes(b"theirs")
    return root


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(CHILD) as forks:
        yield forks


def promises(root: Path, word: str) -> list[str]:
    return re.findall(rf"^{word} (\S+)", said(root), re.MULTILINE)


def check(root: Path) -> int:
    """Every promise is kept, nothing half is shown, nothing was lost; the number of promises."""
    sizes = {m[1]: int(m[2]) for m in re.finditer(r"^acked (\S+) (\d+)$", said(root), re.MULTILINE)}
    acked, finishing, finished = {*sizes, str(ID)}, {*promises(root, "finishing")}, {*promises(root, "finished")}

    async def found() -> dict[str, Item]:
        async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
            await queue.recovered()
            assert await queue.verify() == ()
            assert [thing.name for thing in queue.set_aside] in ([], ["items/foreign"])
            return {item.queue_id: item for item in queue.items()}

    there = asyncio.run(found())
    assert acked - finishing <= there.keys(), "lost"
    assert not finished & there.keys(), "it came back"
    assert len(there.keys() - acked) <= 1, "at most the one that was under way may be there without a promise"
    for queue_id in there.keys() & sizes.keys():
        data = (root / "items" / queue_id).read_bytes()
        new, start = read_new(data, whole=True)
        assert data[start : start + new.size] == b"H: 1\r\n" + body(sizes[queue_id])
    for queue_id in promises(root, "tried"):
        if queue_id in there:
            # A last result that the removal could not say is written down instead.
            assert [state.result for state in there[queue_id].recipients] in ([NO, LATER], [NO, SENT])
    for queue_id in there.keys() & {*promises(root, "dotted")} - {*promises(root, "tried")}:
        assert all(state.doubtful or state.attempts for state in there[queue_id].recipients), "a mark is lost"
    for queue_id in promises(root, "told"):
        if queue_id in there:
            assert there[queue_id].recipients[0].was_told(Action.FAILED)
    assert os.listdir(root / "tmp") == []
    assert len(os.listdir(root / "aside")) == 1
    return len(re.findall(r"^(?:acked|dotted|tried|told|finishing|finished) ", said(root), re.MULTILINE))


@needs_strace
def test_g01_killed_at_every_call(tmp_path: Path, used_queue: Path, forks: Forks) -> None:
    unharmed = Path(shutil.copytree(used_queue, tmp_path / "unharmed"))
    places = forks.places(unharmed)
    calls = {call.removesuffix("at") for call, _ in places}
    assert {"fdatasync", "fsync", "pwrite64", "writev", "rename", "unlink", "ftruncate", "write"} <= calls
    most = check(unharmed)
    assert len(promises(unharmed, "finished")) == len(SIZES)
    counts: dict[str, list[int]] = {}
    for call, when in places:
        root = Path(shutil.copytree(used_queue, tmp_path / f"{call}{when}"))
        assert forks.inject(root, (call, when)) == -9
        counts.setdefault(call, []).append(check(root))
    for promised in counts.values():
        assert promised == sorted(promised), "a later kill takes back an earlier promise"
    # A kill at each promise itself leaves one promise less than a kill at the next.
    assert {*counts["write"]} == {*range(most)}


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT", "EROFS"])
def test_g04_g05_the_disk_fails_at_every_call(tmp_path: Path, used_queue: Path, forks: Forks, error: str) -> None:
    calls = ("fsync", "fdatasync", "pwrite64", "writev", "rename", "unlink", "unlinkat", "mkdir", "mkdirat")
    refused = 0
    for call, when in forks.places(Path(shutil.copytree(used_queue, tmp_path / "unharmed")), calls):
        root = Path(shutil.copytree(used_queue, tmp_path / f"{call}{when}"))
        status = forks.inject(root, (call, when), f"error={error}")
        check(root)
        refused += said(root).count("refused")
        if status != 0:
            assert not promises(root, "acked"), said(root)
            assert "StorageFailure" in said(root), "it starts, or says why it cannot"
    assert refused >= 10


@needs_strace
def test_nothing_is_promised_before_it_is_synced(used_queue: Path, forks: Forks) -> None:
    steps = []
    for line in forks.trace(used_queue):
        if match := re.search(r"\b(pwrite64|writev|fdatasync|fsync|rename\w*|unlink\w*|write)\((.*)", line):
            call, arguments = match[1], match[2]
            if "/aside>" in arguments or ("unlink" in call and "/tmp>" in arguments):
                continue
            if call == "write":
                said_now = re.search(r'"([a-z]+) ', arguments)
                steps.append(said_now[1] if said_now else "?")
            elif call == "fsync":
                steps.append("sync-directory" if "/items>" in arguments else "?")
            else:
                steps.append(call.removesuffix("at").replace("pwrite64", "pwrite").replace("writev", "pwrite"))
    told = " ".join(step for step in steps if step != "?")
    for promise, before in {
        "acked": r"(?:pwrite )+rename fdatasync sync-directory ",
        "dotted": r"pwrite ",
        "tried": r"pwrite fdatasync ",
        "told": r"pwrite fdatasync ",
        "finished": r"unlink sync-directory ",
    }.items():
        assert told.count(promise) == 3
        assert len(re.findall(before + promise, told)) == 3, (promise, told)
