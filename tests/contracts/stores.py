"""Every implementation of the mail store, as the contract suite drives it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from mailserver.model.errors import StorageFailure
from mailserver.ports.clock import SystemClock
from mailserver.ports.store import MailStore
from mailserver.storage.memory import MemoryStore


class Gate(Protocol):
    """Holds the next commit between the assignment of its UIDs and their becoming visible."""

    async def reached(self) -> None:
        """Until a commit stands at the gate."""

    def open(self) -> None:
        """Let it through."""

    def fail(self) -> None:
        """Let it fail: its UIDs are abandoned."""


class Harness:
    """A store under test, and its gate."""

    def __init__(self, store: MailStore, hold: Callable[[], Gate]) -> None:
        self.store = store
        self.hold = hold


OpenStore = Callable[[], AbstractAsyncContextManager[Harness]]


class _LoopGate:
    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._open = asyncio.Event()
        self._failing = False

    async def reached(self) -> None:
        await self._reached.wait()

    def open(self) -> None:
        self._open.set()

    def fail(self) -> None:
        self._failing = True
        self._open.set()

    async def pass_through(self) -> None:
        self._reached.set()
        await self._open.wait()
        if self._failing:
            raise StorageFailure("held and failed")


def memory_store() -> OpenStore:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Harness]:
        gates: list[_LoopGate] = []

        async def pause(name: str, uids: Sequence[int]) -> None:
            if gates:
                await gates.pop().pass_through()

        def hold() -> Gate:
            gates.append(_LoopGate())
            return gates[-1]

        async with MemoryStore(pause=pause) as store:
            yield Harness(store, hold)

    return opened


class _ThreadGate:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reached = asyncio.Event()
        self._open = threading.Event()
        self._failing = False

    async def reached(self) -> None:
        await self._reached.wait()

    def open(self) -> None:
        self._open.set()

    def fail(self) -> None:
        self._failing = True
        self._open.set()

    def pass_through(self) -> None:
        self._loop.call_soon_threadsafe(self._reached.set)
        self._open.wait(30)
        if self._failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def maildir_store(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> OpenStore:
    """The fsync of the directory into which a message was renamed stands between its UID and its being shown."""
    from mailserver.net import files
    from mailserver.storage.maildir.store import MaildirStore
    from mailserver.storage.settings import StorageSettings

    real = files.fsync_dir
    gates: list[_ThreadGate] = []

    def fsync_dir(path: str) -> None:
        if gates and os.path.basename(os.fspath(path)) in ("new", "cur"):
            gates.pop().pass_through()
        real(path)

    monkeypatch.setattr(files, "fsync_dir", fsync_dir)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Harness]:
        loop = asyncio.get_running_loop()

        def hold() -> Gate:
            gates.append(_ThreadGate(loop))
            return gates[-1]

        settings = StorageSettings()
        async with MaildirStore(data_dir, settings, "mx.example.test", SystemClock()) as store:
            yield Harness(store, hold)

    return opened
