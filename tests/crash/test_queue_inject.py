"""G01, G04, G05: the queue is killed, or its disk fails, at every system call that changes something."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from mailserver.queue.disk import DiskQueue
from mailserver.queue.record import Dot, encode, read_new
from mailserver.queue.settings import QueueSettings
from tests.crash.queue_child import body
from tests.helpers.clock import FakeClock
from tests.helpers.strace import Run, inject, needs_strace, points, python, trace

CHILD = Path(__file__).parent / "queue_child.py"


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


def check(root: Path, run: Run, before: set[str]) -> int:
    """Every promise is kept, nothing half is shown, nothing was lost; the number of promises."""
    acked = {m[1]: int(m[2]) for m in re.finditer(r"^acked (\S+) (\d+)$", run.stdout, re.MULTILINE)}

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


def child_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@needs_strace
def test_g01_killed_at_every_call(tmp_path: Path, used_queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child_environment(monkeypatch)
    shutil.copytree(used_queue, tmp_path / "unharmed")
    places = points(python(CHILD, str(tmp_path / "unharmed")), tmp_path / "trace")
    assert {"fsync", "pwrite64", "rename", "unlink", "ftruncate", "write"} <= {c.removesuffix("at") for c, _ in places}
    promises: dict[str, list[int]] = {}
    for call, when in places:
        root = tmp_path / f"{call}{when}"
        shutil.copytree(used_queue, root)
        run = inject(python(CHILD, str(root)), call, when)
        assert run.killed
        promises.setdefault(call, []).append(check(root, run, {"0123456789abcdef"}))
        shutil.rmtree(root)
    # Each message is hurt at its write, its sync, its rename and its promise.
    for counts in promises.values():
        assert counts == sorted(counts), "a later kill takes back an earlier promise"
    assert set(promises["pwrite64"]) == set(promises["fsync"]) == set(promises["write"]) == {0, 1, 2}


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_g04_g05_the_disk_fails_at_every_call(
    tmp_path: Path, used_queue: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    child_environment(monkeypatch)
    shutil.copytree(used_queue, tmp_path / "unharmed")
    calls = ("fsync",) if error == "EIO" else ("pwrite64", "rename", "unlink", "mkdir", "ftruncate")
    refused = 0
    for call, when in points(python(CHILD, str(tmp_path / "unharmed")), tmp_path / "trace", calls=calls):
        root = tmp_path / f"{call}{when}"
        shutil.copytree(used_queue, root)
        run = inject(python(CHILD, str(root)), call, when, fault=f"error={error}")
        count = check(root, run, {"0123456789abcdef"})
        shutil.rmtree(root)
        here = run.stdout.count("refused")
        refused += here
        if count + here == 3:
            assert run.returncode == 0, run.stderr
        else:
            assert "StorageFailure" in run.stderr, "it started, so each message is either promised or refused"
    assert refused >= 3


@needs_strace
def test_nothing_is_promised_before_it_is_synced(
    tmp_path: Path, used_queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_environment(monkeypatch)
    output = tmp_path / "trace"
    run = trace(python(CHILD, str(used_queue)), output)
    assert run.stdout.count("acked") == 3, run.stderr
    steps = []
    for line in output.read_text().splitlines():
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
    for item in " ".join(step for step in steps if step != "-").split("promise")[:3]:
        assert re.search(r"write sync file rename sync directory $", item), item
