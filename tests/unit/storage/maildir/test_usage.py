"""What an account uses is what its files hold, whatever happened before."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX
from mailserver.ports.clock import SystemClock
from mailserver.ports.store import Target
from mailserver.storage.maildir.account import MaildirAccount
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings

ANNA = AccountId("anna@example.test")
# Nothing is flushed by itself.
SETTINGS = StorageSettings(flush_delay=10.0, fill_delay=100.0)


def open_store(root: Path) -> MaildirStore:
    return MaildirStore(root, SETTINGS, "mx.example.test", SystemClock())


async def deliver(store: MaildirStore, count: int, mailbox: str = INBOX) -> None:
    for _ in range(count):
        async with store.begin() as content:
            await content.write(b"12345678\r\n")
            await store.commit(content, [Target(account=ANNA, mailbox=mailbox)])


async def used(account: MaildirAccount) -> tuple[int, int]:
    usage = await account.quota()
    return usage.octets // 10, usage.messages


async def check(root: Path, messages: int) -> None:
    """The count is right at once, after every mailbox was looked at, after deliveries, and after a clean stop."""
    async with open_store(root) as store:
        account = await store.open_account(ANNA)
        for info in await account.list_mailboxes():
            await account.status(info.name)
        assert await used(account) == (messages, messages)
        await deliver(store, 2)
        assert await used(account) == (messages + 2, messages + 2)
    async with open_store(root) as store:
        assert await used(await store.open_account(ANNA)) == (messages + 2, messages + 2)


async def crash(root: Path, account: MaildirAccount) -> None:
    """Leave the disk as a kill would: no clean stop, flushes undone."""
    account.upkeep.stop()
    account.upkeep.dirty.clear()

    async def nothing() -> bool:
        return False

    account.settle = nothing  # type: ignore[method-assign]


async def test_after_a_crash_with_removals_whose_files_are_still_there(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        await deliver(store, 10)
        async with account.open(INBOX) as box:
            await box.expunge([1, 2, 3])
            await box.move([4], "Trash")
        await crash(tmp_path, account)
    await check(tmp_path, 7)


async def test_after_a_crash_with_deliveries_that_are_in_no_index(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        await deliver(store, 3)
        await account.status(INBOX)
        await deliver(store, 3)
        await deliver(store, 1, "Trash")
        await crash(tmp_path, account)
    await check(tmp_path, 7)


@pytest.mark.parametrize("index", ["kept", "deleted", "damaged"])
async def test_after_another_program_changed_it_while_we_were_stopped(tmp_path: Path, index: str) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        await deliver(store, 5)
        await account.status(INBOX)
    folder = tmp_path / "example.test" / "anna"
    if index == "deleted":
        for path in folder.glob("index.db*"):
            path.unlink()
    elif index == "damaged":
        (folder / "index.db").write_bytes(b"x" * 5000)
    expected = 5
    if index != "damaged":
        next((folder / "new").iterdir()).unlink()
        (folder / "cur" / "1700000000.1.other:2,S").write_bytes(b"1234567\n\n"[:9])
        expected = 5
    await check_octets(tmp_path, expected)


async def check_octets(root: Path, messages: int) -> None:
    async with open_store(root) as store:
        account = await store.open_account(ANNA)
        await account.status(INBOX)
        usage = await account.quota()
        status = await account.status(INBOX)
        assert (usage.octets, usage.messages) == (status.size, status.messages) == (usage.octets, messages)


async def test_while_it_is_used(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        await deliver(store, 4)
        async with account.open(INBOX) as box:
            await box.copy([1, 2], "Sent")
            await box.move([3], "Trash")
            await box.expunge([4])
            await account.create("A/b")
            await deliver(store, 2, "A/b")
            assert await used(account) == (7, 7)
            for path in list((tmp_path / "example.test" / "anna" / ".A.b" / "new").iterdir()):
                path.unlink()
            await account.status("A/b")
            assert await used(account) == (5, 5)
            await account.delete("Sent")
            assert await used(account) == (3, 3)
    await check(tmp_path, 3)
