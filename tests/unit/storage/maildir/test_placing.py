"""Places for the messages of a commit, while their accounts are renewed or removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailserver.model.errors import MailError, NotFound
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import Stored
from mailserver.ports.store import Target
from mailserver.storage.maildir import placing
from mailserver.storage.maildir.account import MaildirAccount
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.store import MaildirStore
from tests.helpers.maildir import ANNA, open_store

BEN = AccountId("ben@example.test")
MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MaildirStore]:
    async with open_store(tmp_path) as store:
        await store.open_account(ANNA)
        yield store


async def deliver(store: MaildirStore, *targets: Target) -> list[Stored | MailError]:
    async with store.begin() as content:
        await content.write(MESSAGE)
        return await store.commit(content, targets)


async def moving(account: MaildirAccount) -> None:
    while account.moving is None:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)


async def test_nobody_with_a_place_waits_for_an_account_that_is_renewed(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await store.open_account(ANNA)
    renewing: list[asyncio.Task[MaildirAccount]] = []
    admit = placing._admit

    async def late(
        account: MaildirAccount, folder: Folder, target: Target
    ) -> tuple[frozenset[str], str, frozenset[str]]:
        if folder.jobs and not renewing:
            renewing.append(asyncio.create_task(store.renew(ANNA, lambda path: None)))
            await moving(account)
        return await admit(account, folder, target)

    monkeypatch.setattr(placing, "_admit", late)
    target = Target(account=ANNA, into_new=False)
    async with asyncio.timeout(60), store.begin() as one, store.begin() as two:
        await one.write(MESSAGE)
        await two.write(MESSAGE)
        stored = await store.commit_all(ANNA, [(one, target), (two, target)])
        renewed = await renewing[0]
    assert [one.uid for one in stored] == [1, 2]
    assert renewed is not account and (await renewed.quota()).messages == 2


async def test_two_accounts_of_one_message_are_renewed_meanwhile(store: MaildirStore) -> None:
    """With a place in the one account nobody waits for the other to be loaded, either."""
    accounts = [await store.open_account(name) for name in (ANNA, BEN)]
    async with asyncio.timeout(60):
        renewals = [asyncio.create_task(store.renew(name, lambda path: None)) for name in (ANNA, BEN)]
        targets = [Target(account=name) for name in (ANNA, BEN, ANNA)]
        deliveries = [asyncio.create_task(deliver(store, *targets[at:])) for at in (0, 1, 0)]
        for task in renewals:
            assert await task not in accounts
        for delivery in deliveries:
            assert all(isinstance(one, Stored) for one in await delivery)


async def test_mail_for_an_account_that_is_being_removed(store: MaildirStore) -> None:
    """It comes to the account that is made anew, not to one that has no mailbox any more."""
    account = await store.open_account(ANNA)
    async with asyncio.timeout(60):
        removing = asyncio.create_task(store.remove_account(ANNA))
        await moving(account)
        (result,) = await deliver(store, Target(account=ANNA))
        await removing
    assert isinstance(result, Stored)
    async with (await store.open_account(ANNA)).open("INBOX") as box:
        assert list(box.table.uids) == [result.uid] and box.uid_validity == result.uid_validity


async def test_a_removed_account_in_somebody_s_hands_does_not_stand_in_the_way(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        held = await store.open_account(ANNA)
        async with asyncio.timeout(60):
            removing = asyncio.create_task(store.remove_account(ANNA))
            await moving(held)
            # It waits for its turn until there is no directory any more.
            creating = asyncio.create_task(held.create("Late"))
            await removing
        with pytest.raises(NotFound):
            await creating
        with pytest.raises(NotFound):
            await store.existing_account(ANNA)
        assert await store.accounts() == []
    assert (tmp_path / ".server" / "clean").exists()


async def test_a_folder_that_is_deleted_while_its_keywords_are_written(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await store.open_account(ANNA)
    await account.create("Side")
    deleting: list[asyncio.Task[None]] = []
    admit = placing._admit

    async def late(
        account: MaildirAccount, folder: Folder, target: Target
    ) -> tuple[frozenset[str], str, frozenset[str]]:
        deleting.append(asyncio.create_task(account.delete("Side")))
        while Path(folder.path).exists():  # noqa: ASYNC110, ASYNC240 - nothing tells of it
            await asyncio.sleep(0)
        return await admit(account, folder, target)

    monkeypatch.setattr(placing, "_admit", late)
    async with asyncio.timeout(60), store.begin() as content:
        await content.write(MESSAGE)
        with pytest.raises(NotFound):
            await store.commit_all(
                ANNA, [(content, Target(account=ANNA, mailbox="Side", flags=frozenset({"work"}), into_new=False))]
            )
        await deleting[0]
