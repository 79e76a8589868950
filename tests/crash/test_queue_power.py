"""G02: the power fails between any two calls of the queue, and everything that was not synced may be gone.

One run is recorded, call by call. For each moment of it the disk is made as it may look after a power failure at that
moment: without what was not synced; with the names but without their data; with zeros for the data; as it was (that is
kill -9). A queue that is opened on it must have all that was promised by then.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mailserver.ports.reports import Action
from mailserver.queue.codec import read_new
from mailserver.queue.disk import DiskQueue
from mailserver.queue.settings import QueueSettings
from mailserver.queue.state import Item
from tests.crash.queue_child import SIZES, body, use_queue
from tests.helpers.clock import FakeClock
from tests.helpers.spool import ID, LATER, NO, SENT, make_item

Event = tuple[Any, ...]
Names = dict[tuple[str, str], int]


@dataclass
class Disk:
    """Files by number, and their names; `safe…` is what a power failure leaves for certain."""

    data: dict[int, bytes] = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    safe_data: dict[int, bytes] = field(default_factory=dict)
    safe_names: Names = field(default_factory=dict)
    _begun: dict[Any, Any] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        what, *of = event
        if what == "create":
            directory, name, number = of
            self.data[number], self.names[directory, name] = b"", number
        elif what == "write":
            number, data, offset = of
            old = self.data[number].ljust(offset, b"\0")
            self.data[number] = old[:offset] + data + old[offset + len(data) :]
        elif what == "rename":
            self.names[of[1]] = self.names.pop(of[0])
        elif what == "unlink":
            self.names.pop(of[0], None)
        elif what == "sync":
            # A sync is sure of what was done before it began, and only when it has ended.
            thing, ended = of
            if not ended:
                self._begun[thing] = self._now(thing)
            elif isinstance(thing, int):
                self.safe_data[thing] = self._begun[thing]
            else:
                self.safe_names = {key: n for key, n in self.safe_names.items() if key[0] != thing}
                self.safe_names |= self._begun[thing]

    def _now(self, thing: int | str) -> bytes | Names:
        if isinstance(thing, int):
            return self.data[thing]
        return {key: number for key, number in self.names.items() if key[0] == thing}

    def images(self) -> Iterator[tuple[str, dict[tuple[str, str], bytes]]]:
        """How it may look after this moment."""
        safe = self.safe_data.get
        yield "killed", {key: self.data[number] for key, number in self.names.items()}
        yield "only what was synced", {key: safe(number, b"") for key, number in self.safe_names.items()}
        yield "names without data", {key: safe(number, b"") for key, number in self.names.items()}
        yield "zeros for data", {
            key: safe(number, b"").ljust(len(self.data[number]), b"\0") for key, number in self.names.items()
        }


class Recorder:
    """`os` as the queue uses it, below one directory, while it is patched."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.events: list[Event] = []
        self._root = str(root)
        self._lock = threading.Lock()
        self._numbers: dict[int, int] = {}
        self._made: dict[str, int] = {}
        self._real = {name: getattr(os, name) for name in ("open", "writev", "pwrite", "rename", "unlink", "close")}
        for name in ("open", "writev", "pwrite", "rename", "unlink", "close"):
            patch.setattr(os, name, getattr(self, f"_{name}"))
        patch.setattr(os, "fsync", self._sync(os.fsync))
        patch.setattr(os, "fdatasync", self._sync(os.fdatasync))

    def say(self, promise: str) -> None:
        self._add("promise", promise)

    def _add(self, *event: Any) -> None:
        with self._lock:
            self.events.append(event)

    def _open(self, path: Any, flags: int, *rest: Any, dir_fd: int | None = None, **more: Any) -> int:
        fd: int = self._real["open"](path, flags, *rest, dir_fd=dir_fd, **more)
        place = self._place(path, dir_fd)
        if place and not flags & os.O_DIRECTORY:
            new = str(path) not in self._made
            self._numbers[fd] = self._made.setdefault(str(path), len(self._made))
            if new:
                self._add("create", *place, self._numbers[fd])
        return fd

    def _place(self, name: str, dir_fd: int | None) -> tuple[str, str] | None:
        if dir_fd is None:
            return None
        directory = os.readlink(f"/proc/self/fd/{dir_fd}")
        return (os.path.basename(directory), str(name)) if os.path.dirname(directory) == self._root else None

    def _writev(self, fd: int, buffers: list[bytes]) -> int:
        written: int = self._real["writev"](fd, buffers)
        if fd in self._numbers:
            data = b"".join(map(bytes, buffers))
            assert written == len(data)
            self._add("write", self._numbers[fd], data, 0)
        return written

    def _pwrite(self, fd: int, data: bytes, offset: int) -> int:
        written: int = self._real["pwrite"](fd, data, offset)
        self._add("write", self._numbers[fd], bytes(data)[:written], offset)
        return written

    def _rename(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        source, target = self._place(old, src_dir_fd), self._place(new, dst_dir_fd)
        self._real["rename"](old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self._add("rename", source, target)

    def _unlink(self, name: str, *, dir_fd: int) -> None:
        self._real["unlink"](name, dir_fd=dir_fd)
        self._add("unlink", self._place(name, dir_fd))

    def _close(self, fd: int) -> None:
        self._numbers.pop(fd, None)
        self._real["close"](fd)

    def _sync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(fd: int) -> None:
            path = os.readlink(f"/proc/self/fd/{fd}")
            thing = self._numbers.get(fd, os.path.basename(path))
            if path.startswith(self._root):
                self._add("sync", thing, False)
            real(fd)
            if path.startswith(self._root):
                self._add("sync", thing, True)

        return sync


def record(root: Path) -> tuple[Disk, list[Event]]:
    """The disk at first, with one item; and all that is done to it."""
    asyncio.run(make_item(root))
    raw = (root / "items" / ID).read_bytes()
    disk = Disk({0: raw}, {("items", ID): 0}, {0: raw}, {("items", ID): 0})
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(root, patch)
        recorder._made[ID] = 0
        asyncio.run(use_queue(root, recorder.say))
    return disk, recorder.events


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Disk, list[Event]]:
    return record(tmp_path_factory.mktemp("power") / "queue")


def check(root: Path, image: dict[tuple[str, str], bytes], promises: list[str], *, killed: bool) -> None:
    for directory in ("tmp", "items", "aside"):
        (root / directory).mkdir(parents=True)
    for (directory, name), data in image.items():
        (root / directory / name).write_bytes(data)

    def said(word: str) -> set[str]:
        return {promise.split()[1] for promise in promises if promise.split()[0] == word}

    async def found() -> tuple[dict[str, Item], list[str]]:
        async with DiskQueue(root, QueueSettings(), FakeClock()) as queue:
            await queue.recovered()
            wrong = [thing.name for thing in (*queue.set_aside, *await queue.verify())]
            return {item.queue_id: item for item in queue.items()}, [name.removeprefix("items/") for name in wrong]

    there, wrong = asyncio.run(found())
    sizes = {m[1]: int(m[2]) for promise in promises if (m := re.match(r"acked (\S+) (\d+)", promise))}
    owned = {*sizes, ID} - said("finishing")
    assert owned <= there.keys(), "lost"
    assert not said("finished") & there.keys(), "it came back"
    assert not owned & set(wrong), "damaged"
    assert not wrong or not killed, "only a power failure leaves half of an item"
    for queue_id in there.keys() & sizes.keys():
        data = (root / "items" / queue_id).read_bytes()
        new, start = read_new(data, whole=True)
        assert data[start : start + new.size] == b"H: 1\r\n" + body(sizes[queue_id])
    for queue_id in said("tried") & there.keys():
        assert [state.result for state in there[queue_id].recipients] in ([NO, LATER], [NO, SENT])
    for queue_id in said("told") & there.keys():
        assert there[queue_id].recipients[0].was_told(Action.FAILED)
    if killed:
        for queue_id in said("dotted") & there.keys():
            assert all(state.doubtful or state.attempts for state in there[queue_id].recipients), "a mark is lost"


def replay(recorded: tuple[Disk, list[Event]], root: Path) -> int:
    """Every moment; how many there were."""
    disk, events = deepcopy(recorded[0]), recorded[1]
    promises: list[str] = []
    for number, event in enumerate(events):
        if event[0] == "promise":
            promises.append(event[1])
        else:
            disk.apply(event)
        for how, image in disk.images():
            check(root / f"{number}{how[0]}", image, promises, killed=how == "killed")
    return len(promises)


def test_g02_power_fails_between_any_two_calls(recorded: tuple[Disk, list[Event]], tmp_path: Path) -> None:
    # Per message: taken in, dotted, tried; told, finishing, finished for as many.
    assert replay(recorded, tmp_path) == 6 * len(SIZES)


@pytest.mark.parametrize("lost", ["files", "directories"])
def test_the_replay_sees_a_missing_sync(recorded: tuple[Disk, list[Event]], tmp_path: Path, lost: str) -> None:
    disk, events = recorded
    kind = int if lost == "files" else str
    fewer = [event for event in events if not (event[0] == "sync" and isinstance(event[1], kind))]
    with pytest.raises(AssertionError, match=r"lost|damaged"):
        replay((disk, fewer), tmp_path)
