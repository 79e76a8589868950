"""ATTACKS H12: a mailbox of a million messages opens, changes and shrinks while the event loop serves everyone else."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import pytest

from mailserver.model.flags import ANSWERED, SEEN, FlagChange
from mailserver.model.ids import AccountId
from mailserver.ports.clock import SystemClock
from mailserver.storage.maildir import mailbox
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings

_T = TypeVar("_T")
ANNA = AccountId("anna@example.test")
MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
#: Fewer than any file system allows for one file.
_LINKS = 30_000


def _fill(folder: Folder, count: int) -> None:
    first = folder.take_uids(count)
    source = ""
    for uid in range(first, first + count):
        name = f"{folder.cur}/1700000000.M1P1Q{uid}R{uid:016x}.h,S={len(MESSAGE)},U={uid}{folder.uid_field}:2,S"
        if uid % _LINKS == first:
            source = name
            Path(name).write_bytes(MESSAGE)
        else:
            os.link(source, name)


class _Loop:
    """How long the loop was kept from other work, at worst."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def while_it_runs(self, work: Awaitable[_T]) -> _T:
        task = asyncio.ensure_future(work)
        while not task.done():
            before = time.perf_counter()
            await asyncio.wait([task], timeout=0.005)
            self.worst = max(self.worst, time.perf_counter() - before - 0.005)
        return await task


async def _play(root: Path, count: int) -> float:
    loop = _Loop()

    def opened() -> MaildirStore:
        return MaildirStore(root, StorageSettings(), "mx.example.test", SystemClock())

    async with opened() as store:
        account = await store.open_account(ANNA)
        await asyncio.to_thread(_fill, account.folders["Archive"], count)
    for _ in ("without an index", "with it"):
        async with opened() as store:
            account = await store.open_account(ANNA)
            status = await loop.while_it_runs(account.status("Archive"))
            assert (status.messages, status.unseen) == (count, 0)
            manager = account.open("Archive")
            box = await loop.while_it_runs(manager.__aenter__())
            assert len(box.table) == count and box.table.uids[-1] == count
            await manager.__aexit__(None, None, None)
    async with opened() as store:
        account = await store.open_account(ANNA)
        async with account.open("Archive") as box:
            uids = range(1, count + 1)
            result = await loop.while_it_runs(box.set_flags(uids, FlagChange.ADD, frozenset({ANSWERED})))
            assert result.changed.ranges == ((1, count),)
            assert {box.flag_table.sets[number] for number in set(box.table.flags)} == {frozenset({SEEN, ANSWERED})}
            gone = await loop.while_it_runs(box.expunge(uids[::2]))
            assert len(gone) == count // 2 == len(box.table)
            assert box.table.uids[0] == 2
    return loop.worst


async def test_h12_every_path_of_a_large_mailbox_in_small_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "_FLAGS_AT_ONCE", 100)
    monkeypatch.setattr(mailbox, "_REMOVED_AT_ONCE", 100)
    await _play(tmp_path, 1_000)


@pytest.mark.soak
async def test_h12_a_million_messages_and_the_loop_is_free(tmp_path: Path) -> None:
    assert await _play(tmp_path, 1_000_000) <= 0.25
