"""MOVE into another account and SETACL, killed at each of their file operations (RFC 9051 §6.4.8; ATTACKS J07)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from mailserver.model.flags import FLAGGED
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX
from mailserver.model.rights import RightsChange, parse_rights
from mailserver.ports.store import Target
from tests.helpers.kills import Begin, Say, run_killed
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


async def _work(root: Path, say: Say, begin: Begin) -> None:
    async with open_store(root) as store:
        anna, ben = await store.open_account(ANNA), await store.open_account(BEN)
        async with anna.open(INBOX) as box, ben.open("Archive"):
            begin()
            result = await box.move([1, 2], "Archive", into=ben)
            say(f"moved {len(result.target)}")
            await anna.grant(INBOX, BEN, RightsChange.REPLACE, LR)
            say("granted")
            await anna.grant("Sent", CLEO, RightsChange.REMOVE, LR)
            say("taken")


async def _check(root: Path, promised: Sequence[str]) -> None:
    async with open_store(root) as store:
        anna, ben = await store.open_account(ANNA), await store.open_account(BEN)
        async with anna.open(INBOX) as source, ben.open("Archive") as target:
            here = [await source.read(uid) for uid in source.table.uids]
            there = [await target.read(uid) for uid in target.table.uids]
            assert set(here) | set(there) == set(BODIES), "a moved message is in source or target"
            assert here.count(BODIES[2]) == 1 and BODIES[2] not in there
            assert len(there) == len(set(there)) or "moved 2" not in promised
            if "moved 2" in promised:
                assert (here, there) == ([BODIES[2]], [*BODIES[:2]])
            for box in (source, target):
                assert all(box.flag_table.sets[number] >= {FLAGGED, "$Label"} for number in box.table.flags)
        inbox, sent = (await anna.find(INBOX)).acl, (await anna.find("Sent")).acl
        assert inbox == {BEN: LR} or "granted" not in promised
        assert inbox in ({}, {BEN: LR})
        assert sent == {} or "taken" not in promised
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
        promised, killed = run_killed(root, _work, last)
        promises.append(promised)
        asyncio.run(_check(root, promised))
        shutil.rmtree(root)
        if not killed:
            break
    assert promises[0] == []
    assert promises[-1] == ["moved 2", "granted", "taken"]
    assert {len(promised) for promised in promises} == {0, 1, 2, 3}, "the kills fall into every step"
