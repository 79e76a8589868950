"""G01, G04, G05: the queue is killed, or its disk fails, at every system call that changes something."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailserver.queue.codec import encode, read_new
from mailserver.queue.disk import DiskQueue
from mailserver.queue.record import Dot
from mailserver.queue.settings import QueueSettings
from tests.crash.queue_child import body
from tests.helpers.clock import FakeClock
from tests.helpers.forks import Forks, said
from tests.helpers.strace import needs_strace

CHILD = Path(__file__).parent / "queue_child.py"
BEFORE = {"0123456789abcdef"}


@pytest.fixture
def used_queue(tmp_path: Path) -> Path:
    """A queue with a past: an item with a torn record, a message that was never finished, and a foreign file."""
    root = tmp_path / "used"

    async def fill() -> None:
        from tests.unit.queue.test_disk import make_item

        await make_item(root)

    asyncio.run(fill())
    (item,) = (root / "items").iterdir()
    with item.open("ab") as file:
        file.write(encode(Dot(at=1.0, recipients=(0,)))[:-3])
    (root / "tmp" / "0000000000000000").write_bytes(b"half")
    (root / "items" / "foreign").write_bytes(b"theirs")
    return root


def check(root: Path, before: set[str]) -> int:
    """Every promise is kept, nothing half is shown, nothing was lost; the number of promises."""
    acked = {m[1]: int(m[2]) for m in re.finditer(r"^acked (\S+) (\d+)$", said(root), re.MULTILINE)}

    async def listed() -> set[str]:
        async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
            assert await queue.verify() == ()
            assert [thing.name for thing in queue.set_aside] in ([], ["items/foreign"])
            return {str(item.queue_id) for item in await queue.list()}

    there = asyncio.run(listed())
    assert acked.keys() | before <= there
    assert len(there - before) <= len(acked) + 1, "at most the one that was under way may be there without a promise"
    for queue_id, size in acked.items():
        data = (root / "items" / queue_id).read_bytes()
        new, start = read_new(data, whole=True)
        assert data[start : start + new.size] == b"H: 1\r\n" + body(size)
    assert os.listdir(root / "tmp") == []
    assert len(os.listdir(root / "aside")) == 1
    return len(acked)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(CHILD) as forks:
        yield forks


@needs_strace
def test_g01_killed_at_every_call(tmp_path: Path, used_queue: Path, forks: Forks) -> None:
    places = forks.places(Path(shutil.copytree(used_queue, tmp_path / "unharmed")))
    assert {"fsync", "pwrite64", "rename", "unlink", "ftruncate", "write"} <= {c.removesuffix("at") for c, _ in places}
    promises: dict[str, list[int]] = {}
    for call, when in places:
        root = Path(shutil.copytree(used_queue, tmp_path / f"{call}{when}"))
        assert forks.inject(root, (call, when)) == -9
        promises.setdefault(call, []).append(check(root, BEFORE))
    # Each message is hurt at its write, its sync, its rename and its promise.
    for counts in promises.values():
        assert counts == sorted(counts), "a later kill takes back an earlier promise"
    assert set(promises["pwrite64"]) == set(promises["fsync"]) == set(promises["write"]) == {0, 1, 2}


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EROFS"])
def test_g04_g05_the_disk_fails_at_every_call(tmp_path: Path, used_queue: Path, forks: Forks, error: str) -> None:
    calls = ("fsync", "pwrite64", "rename", "unlink", "unlinkat", "mkdir", "mkdirat", "ftruncate")
    refused = 0
    for call, when in forks.places(Path(shutil.copytree(used_queue, tmp_path / "unharmed")), calls):
        root = Path(shutil.copytree(used_queue, tmp_path / f"{call}{when}"))
        status = forks.inject(root, (call, when), f"error={error}")
        here = said(root).count("refused")
        count = check(root, BEFORE)
        refused += here
        if count + here == 3:
            assert status == 0, said(root)
        else:
            assert "StorageFailure" in said(root), "it started, so each message is either promised or refused"
    assert refused >= 6


@needs_strace
def test_nothing_is_promised_before_it_is_synced(used_queue: Path, forks: Forks) -> None:
    steps = []
    for line in forks.trace(used_queue):
        if match := re.search(r"\b(pwrite64|fsync|rename\w*|write)\((.*)", line):
            call, arguments = match[1], match[2]
            if call == "fsync":
                kind = "directory" if "/items>" in arguments else "file" if "/tmp/" in arguments else ""
                steps.append(f"sync {kind}" if kind else "-")
            elif call == "pwrite64":
                steps.append("write")
            elif call.startswith("rename") and "/items>" in arguments and "/aside>" not in arguments:
                steps.append("rename")
            elif call == "write" and '"acked' in arguments:
                steps.append("promise")
    assert steps.count("promise") == 3
    for item in " ".join(step for step in steps if step != "-").split("promise")[:3]:
        assert re.search(r"write sync file rename sync directory $", item), item
