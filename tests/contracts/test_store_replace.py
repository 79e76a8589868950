"""REPLACE: a message comes and another one goes, as one step, on every store (RFC 8508 §3.4)."""

from __future__ import annotations

import asyncio

import pytest

from mailserver.model.errors import MailError, NotFound, OverQuota, StorageFailure
from mailserver.model.flags import SEEN
from mailserver.model.mailbox import INBOX, Stored
from mailserver.ports.store import Mailbox, Target
from tests.contracts.stores import Harness
from tests.contracts.test_store import ANNA, MESSAGE, deliver, flags_of, whole

BEN = type(ANNA)("ben@example.test")
NEW = b"Subject: two\r\n\r\nanother\r\n"


async def replace(
    harness: Harness, box: Mailbox, uid: int, target: Target | None = None, data: bytes = NEW
) -> Stored:
    async with harness.store.begin() as content:
        await content.write(data)
        return await harness.store.replace(box, uid, content, target or Target(account=ANNA, into_new=False))


async def test_in_the_same_mailbox(harness: Harness) -> None:
    await deliver(harness.store, count=3)
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        known, table = inbox.highest_modseq, inbox.table
        target = Target(account=ANNA, into_new=False, flags=frozenset({SEEN}), date=1_000_000_000)
        stored = await replace(harness, inbox, 2, target)
        assert (stored.uid, stored.uid_validity, stored.mailbox) == (4, inbox.uid_validity, INBOX)
        assert list(inbox.table.uids) == [1, 3, 4] and list(table.uids) == [1, 2, 3]
        assert await whole(inbox, [4]) == [(4, NEW)]
        assert flags_of(inbox, 4) == {SEEN} and inbox.table.dates[2] == 1_000_000_000
        changes = await inbox.changes_since(known)
        assert list(changes.changed) == [4] and list(changes.vanished) == [2]
    usage = await account.quota()
    assert (usage.messages, usage.octets) == (3, 2 * len(MESSAGE) + len(NEW))


async def test_into_another_mailbox_and_another_account(harness: Harness) -> None:
    await deliver(harness.store, count=2)
    account, other = await harness.store.open_account(ANNA), await harness.store.open_account(BEN)
    async with account.open(INBOX) as inbox, account.open("Sent") as sent:
        await replace(harness, inbox, 1, Target(account=ANNA, mailbox="Sent", into_new=False))
        assert list(inbox.table.uids) == [2] and list(sent.table.uids) == [1]
        await replace(harness, inbox, 2, Target(account=BEN, mailbox="Drafts", into_new=False))
        assert not inbox.table.uids and (await other.status("Drafts")).messages == 1
    assert ((await account.quota()).messages, (await other.quota()).messages) == (1, 1)


async def test_what_cannot_be_changes_nothing(harness: Harness) -> None:
    await deliver(harness.store, count=1)
    account, other = await harness.store.open_account(ANNA), await harness.store.open_account(BEN)
    await other.set_quota(5, 0)
    async with account.open(INBOX) as inbox:
        for uid, target, error in (
            (7, None, NotFound),
            (1, Target(account=ANNA, mailbox="No such", into_new=False), NotFound),
            (1, Target(account=BEN, into_new=False), OverQuota),
        ):
            with pytest.raises(error):
                await replace(harness, inbox, uid, target)
        assert list(inbox.table.uids) == [1]
        assert (await account.quota()).messages == 1 and (await other.quota()).messages == 0
        # The mailbox can still be renamed, moved and removed: nothing of these is left in it.
        await replace(harness, inbox, 1)
        assert list(inbox.table.uids) == [2]


async def test_a_full_account_can_replace_what_is_there(harness: Harness) -> None:
    await deliver(harness.store, count=2)
    account = await harness.store.open_account(ANNA)
    await account.set_quota(2 * len(MESSAGE), 2)
    async with account.open(INBOX) as inbox:
        with pytest.raises(OverQuota):
            await replace(harness, inbox, 1, data=MESSAGE + b"x")
        assert list(inbox.table.uids) == [1, 2]
        stored = await replace(harness, inbox, 1, data=MESSAGE)
        await replace(harness, inbox, stored.uid, data=NEW)
        await replace(harness, inbox, 2, data=MESSAGE + b"x")
        assert len(inbox.table) == 2


async def test_nobody_sees_both_or_neither(harness: Harness) -> None:
    await deliver(harness.store, count=2)
    account = await harness.store.open_account(ANNA)
    seen: list[list[int]] = []
    async with account.open(INBOX) as inbox:
        undo = inbox.subscribe(lambda: seen.append(list(inbox.table.uids)))
        gate = harness.hold()
        task = asyncio.create_task(replace(harness, inbox, 1))
        await gate.reached()
        assert list(inbox.table.uids) == [1, 2]
        gate.open()
        await task
        await asyncio.sleep(0)
        undo()
    assert seen and all(uids == [2, 3] for uids in seen)


async def test_a_failure_keeps_the_old_message(harness: Harness) -> None:
    await deliver(harness.store, count=1)
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        gate = harness.hold()
        task = asyncio.create_task(replace(harness, inbox, 1))
        await gate.reached()
        gate.fail()
        with pytest.raises(StorageFailure):
            await task
        assert list(inbox.table.uids) == [1]
        assert (await account.quota()).messages == 1
        await replace(harness, inbox, 1)
        assert len(inbox.table) == 1


async def test_a_message_that_goes_meanwhile(harness: Harness) -> None:
    await deliver(harness.store, count=2)
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        results = await asyncio.gather(
            replace(harness, inbox, 1), replace(harness, inbox, 1), inbox.expunge([2]), return_exceptions=True
        )
        stored = [one for one in results if isinstance(one, Stored)]
        assert len(stored) == 1 and sum(isinstance(one, NotFound) for one in results) == 1
        assert list(inbox.table.uids) == [stored[0].uid]
    assert not any(isinstance(one, MailError) and not isinstance(one, NotFound) for one in results)
