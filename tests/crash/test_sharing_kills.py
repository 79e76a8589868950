"""MOVE into another account and SETACL, killed at each of their file operations (RFC 9051 §6.4.8; ATTACKS J07)."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.flags import FLAGGED
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX
from mailserver.model.rights import RightsChange, parse_rights
from mailserver.ports.store import Target
from tests.helpers.maildir import ANNA, open_store

BEN, CLEO = AccountId("ben@example.test"), AccountId("cleo@example.test")
LR = parse_rights("lr")
BODIES = (b"one\r\n", b"two\r\n", b"three\r\n")


async def _prepare(root: Path) -> None:
    async with open_store(root) as store:
        await store.open_account(BEN)
        anna = await store.open_account(ANNA)
        for body in BODIES:
            async with store.begin() as content:
                await content.write(body)
                target = Target(account=ANNA, flags=frozenset({FLAGGED, "$Label"}), into_new=False)
                await store.commit_all(ANNA, [(content, target)])
        await anna.grant("Sent", CLEO, RightsChange.REPLACE, LR)


async def _work(root: Path, say: int, begin: Callable[[], None]) -> None:
    async with open_store(root) as store:
        anna, ben = await store.open_account(ANNA), await store.open_account(BEN)
        async with anna.open(INBOX) as box, ben.open("Archive"):
            begin()
            result = await box.move([1, 2], "Archive", into=ben)
            os.write(say, b"moved %d\n" % len(result.target))
            await anna.grant(INBOX, BEN, RightsChange.REPLACE, LR)
            os.write(say, b"granted\n")
            await anna.grant("Sent", CLEO, RightsChange.REMOVE, LR)
            os.write(say, b"taken\n")


def _run(root: Path, last: int) -> tuple[bytes, bool]:
    """What a process was promised before it died at file operation number `last`; and whether it did."""
    heard, say = os.pipe()
    child = os.fork()
    if not child:
        left = -1

        def killing(call: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*arguments: Any, **options: Any) -> Any:
                nonlocal left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= left > 0
                return call(*arguments, **options)

            return counted

        def begin() -> None:
            nonlocal left
            left = last

        for name in ("link", "rename", "unlink", "fsync"):
            setattr(os, name, killing(getattr(os, name)))
        try:
            asyncio.run(_work(root, say, begin))
        finally:
            os._exit(0)
    os.close(say)
    _, status = os.waitpid(child, 0)
    with os.fdopen(heard, "rb") as promises:
        return promises.read(), os.WIFSIGNALED(status)


async def _check(root: Path, promised: bytes) -> None:
    async with open_store(root) as store:
        anna, ben = await store.open_account(ANNA), await store.open_account(BEN)
        async with anna.open(INBOX) as source, ben.open("Archive") as target:
            here = [await source.read(uid) for uid in source.table.uids]
            there = [await target.read(uid) for uid in target.table.uids]
            assert set(here) | set(there) == set(BODIES), "a moved message is in source or target"
            assert here.count(BODIES[2]) == 1 and BODIES[2] not in there
            assert len(there) == len(set(there)) or b"moved" not in promised
            if b"moved" in promised:
                assert (here, there) == ([BODIES[2]], [*BODIES[:2]])
            for box in (source, target):
                assert all(box.flag_table.sets[number] >= {FLAGGED, "$Label"} for number in box.table.flags)
        inbox, sent = (await anna.find(INBOX)).acl, (await anna.find("Sent")).acl
        assert inbox == {BEN: LR} or b"granted" not in promised
        assert inbox in ({}, {BEN: LR})
        assert sent == {} or b"taken" not in promised
        assert sent in ({}, {CLEO: LR})
        await store.context.drain()
        assert (list(await store.sharers(BEN)), list(await store.sharers(CLEO))) == (
            [ANNA] if inbox else [], [ANNA] if sent else [],
        )  # fmt: skip


@pytest.mark.timeout(300)
def test_killed_at_every_file_operation(tmp_path: Path) -> None:
    asyncio.run(_prepare(tmp_path / "before"))
    promises = []
    for last in range(200):
        root = tmp_path / str(last)
        shutil.copytree(tmp_path / "before", root)
        promised, killed = _run(root, last)
        promises.append(promised)
        asyncio.run(_check(root, promised))
        shutil.rmtree(root)
        if not killed:
            break
    assert promises[0] == b""
    assert promises[-1] == b"moved 2\ngranted\ntaken\n"
    assert len(set(promises)) == 4, "the kills fall into every step"
