from __future__ import annotations

import asyncio
import errno
import threading

import pytest

from mailserver.queue import commit
from mailserver.queue.commit import Committer, Task


class Step(Task):
    def __init__(self, log: list[str], name: str, fails: str = "") -> None:
        self._log = log
        self._name = name
        self._fails = fails
        self.error: Exception | None = None
        self.ended = asyncio.Event()

    def _do(self, what: str) -> None:
        self._log.append(f"{what} {self._name}")
        if what == self._fails:
            raise OSError(errno.EIO, what)

    def write(self) -> None:
        self._do("write")

    def undo(self) -> None:
        self._do("undo")

    def done(self, error: Exception | None) -> None:
        self._log.append(f"done {self._name}")
        self.error = error
        self.ended.set()


class Disk:
    """A sync that waits until it is told to end; the second one fails if it shall."""

    def __init__(self, log: list[str], fails_at: int = 0) -> None:
        self._log = log
        self._fails_at = fails_at
        self.syncs = 0
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def sync(self) -> None:
        self.syncs += 1
        self._log.append(f"sync {self.syncs}")
        self.begun.release()
        assert self.go.acquire(timeout=10)
        if self.syncs == self._fails_at:
            raise OSError(errno.EIO, "sync")


async def test_one_sync_serves_all_who_came_before_it_began() -> None:
    log: list[str] = []
    disk = Disk(log)
    committer = Committer(4, disk.sync, lambda error: None)
    first, *others = [Step(log, str(number)) for number in range(6)]

    def until_waiting() -> None:
        while len(committer._written) + len(committer._removed) < len(others):
            threading.Event().wait(0.001)

    committer.write(first)
    await asyncio.to_thread(disk.begun.acquire)
    for step in others[:3]:
        committer.write(step)
    for step in others[3:]:
        committer.remove(step)
    await asyncio.to_thread(until_waiting)
    assert not first.ended.is_set()
    disk.go.release(2)
    for step in (first, *others):
        await step.ended.wait()
        assert step.error is None
    await committer.close()
    # The others came while the first sync ran: it may have missed their names, so one more, for all of them.
    assert disk.syncs == 2
    second = log.index("sync 2")
    assert {line for line in log[:second] if line.startswith("write")} == {f"write {n}" for n in range(6)}
    assert log.index("done 0") > log.index("sync 1")
    assert all(log.index(f"done {n}") > second for n in range(1, 6))


async def test_one_that_fails_by_itself_harms_no_other() -> None:
    log: list[str] = []
    disk = Disk(log)
    disk.go.release(10)
    committer = Committer(1, disk.sync, lambda error: None)
    steps = [Step(log, "a", "write"), Step(log, "b", "write"), Step(log, "c")]
    for step, begin in zip(steps, (committer.write, committer.remove, committer.write), strict=True):
        begin(step)
        await step.ended.wait()
    await committer.close()
    assert [type(step.error) for step in steps] == [OSError, OSError, type(None)]
    assert not [line for line in log if line.startswith("undo")], "there is nothing to undo"
    assert committer.failure is None


async def test_after_a_failed_sync_nothing_is_durable_any_more() -> None:
    log: list[str] = []
    disk = Disk(log, fails_at=1)
    disk.go.release(10)
    failures: list[OSError] = []
    committer = Committer(1, disk.sync, failures.append)
    steps = [Step(log, str(number), "undo" if not number else "") for number in range(3)]
    for step in steps[:2]:
        committer.write(step)
        await step.ended.wait()
    committer.remove(steps[2])
    await committer.close()
    assert [step.error for step in steps] == failures * 3
    assert len(failures) == 1
    assert disk.syncs == 1
    assert [line for line in log if line.startswith("undo")] == ["undo 0", "undo 1", "undo 2"]


async def test_a_fault_of_ours_in_one_result_keeps_no_other_from_its_own() -> None:
    log: list[str] = []
    disk = Disk(log)
    disk.go.release(10)
    committer = Committer(1, disk.sync, lambda error: None)

    class Faulty(Step):
        def done(self, error: Exception | None) -> None:
            raise RuntimeError("a fault")

    last = Step(log, "last")
    committer.write(Faulty(log, "faulty"))
    committer.write(last)
    await last.ended.wait()
    await committer.close()
    assert last.error is None


@pytest.mark.parametrize("count", [0, 1, 20])
async def test_closing_waits_for_all(count: int) -> None:
    log: list[str] = []
    disk = Disk(log)
    disk.go.release(100)
    committer = Committer(3, disk.sync, lambda error: None)
    steps = [Step(log, str(number)) for number in range(count)]
    for step in steps:
        committer.write(step)
    await committer.close()
    assert all(step.ended.is_set() for step in steps)


class Removal(Step):
    def __init__(self, log: list[str], name: str) -> None:
        super().__init__(log, name)
        self.written = threading.Event()

    def write(self) -> None:
        super().write()
        self.written.set()


async def test_a_removal_is_synced_with_the_next_item_which_is_answered_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "_PATIENCE", 60.0)
    log: list[str] = []
    disk = Disk(log)
    committer = Committer(4, disk.sync, lambda error: None)
    removal, item = Removal(log, "removal"), Step(log, "item")
    committer.remove(removal)
    assert await asyncio.to_thread(removal.written.wait, 5)
    committer.write(item)
    disk.go.release(1)
    await removal.ended.wait()
    await committer.close()
    assert disk.syncs == 1 and log[-2:] == ["done item", "done removal"]


async def test_a_removal_does_not_wait_for_ever() -> None:
    log: list[str] = []
    disk = Disk(log)
    committer = Committer(4, disk.sync, lambda error: None)
    removal = Removal(log, "removal")
    disk.go.release(1)
    committer.remove(removal)
    await asyncio.wait_for(removal.ended.wait(), 5)
    await committer.close()
    assert removal.error is None and disk.syncs == 1


async def test_a_removal_is_done_at_once_and_only_its_sync_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is killed meanwhile has removed it: nothing that was sent is sent again."""
    monkeypatch.setattr(commit, "_PATIENCE", 60.0)
    log: list[str] = []
    disk = Disk(log)
    removed = threading.Event()

    class Removing(Removal):
        def write(self) -> None:
            super().write()
            removed.set()

    committer = Committer(4, disk.sync, lambda error: None)
    removal, item = Removing(log, "removal"), Step(log, "item")
    committer.remove(removal)
    assert await asyncio.to_thread(removed.wait, 10)
    assert (disk.syncs, removal.ended.is_set()) == (0, False)
    committer.write(item)
    disk.go.release(1)
    await removal.ended.wait()
    await item.ended.wait()
    await committer.close()
    assert disk.syncs == 1
