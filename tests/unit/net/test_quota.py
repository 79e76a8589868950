"""Limits: the directory says them, the store enforces them, and both say the same whoever changes them when."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailserver.model.address import EmailAddress
from mailserver.model.errors import NotFound, StorageFailure
from mailserver.model.ids import AccountId
from mailserver.net.quota import enforce_limits, set_limits
from mailserver.ports.clock import SystemClock
from mailserver.ports.directory import Account
from mailserver.ports.store import AccountStore, MailStore
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.directory_settings import DomainSettings
from mailserver.storage.maildir import layout
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.memory import MemoryStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.maildir import ANNA, open_store


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[SqliteDirectory]:
    known = SqliteDirectory(tmp_path / "accounts.db", {"example.test": DomainSettings()})
    await known.add_account(Account(account=ANNA, address=EmailAddress.parse(ANNA)))
    yield known
    known.close()


@pytest.fixture(params=["memory", "maildir"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MailStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with open_store(tmp_path / "data") as maildir:
        yield maildir


async def both(directory: SqliteDirectory, store: MailStore) -> tuple[int, int]:
    entry = directory.account(ANNA)
    assert entry is not None
    usage = await (await store.open_account(ANNA)).quota()
    assert (usage.octets_limit, usage.messages_limit) == (entry.octets_limit, entry.messages_limit)
    return usage.octets_limit, usage.messages_limit


async def test_one_limit_or_both(directory: SqliteDirectory, store: MailStore) -> None:
    usage = await set_limits(directory, store, ANNA, 5, None)
    assert (usage.octets_limit, usage.messages_limit) == (5, 0) == await both(directory, store)
    await set_limits(directory, store, ANNA, None, 6)
    assert await both(directory, store) == (5, 6)
    await set_limits(directory, store, ANNA, 0, 7)
    assert await both(directory, store) == (0, 7)


async def test_of_changes_at_once_the_last_one_counts(
    directory: SqliteDirectory, store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the first one has to wait for the account longer than the second."""
    reached, go_on, real = asyncio.Event(), asyncio.Event(), store.open_account

    async def slow(account: AccountId) -> AccountStore:
        if not reached.is_set():
            reached.set()
            await go_on.wait()
        return await real(account)

    monkeypatch.setattr(store, "open_account", slow)
    first = asyncio.create_task(set_limits(directory, store, ANNA, 1, 1))
    await reached.wait()
    await set_limits(directory, store, ANNA, 2, 2)
    go_on.set()
    await first
    assert await both(directory, store) == (2, 2)


async def test_nobodys_limits(directory: SqliteDirectory, store: MailStore) -> None:
    nobody = AccountId("nobody@example.test")
    with pytest.raises(NotFound):
        await set_limits(directory, store, nobody, 1, 1)
    with pytest.raises(NotFound):
        await enforce_limits(directory, store, nobody)


async def test_limits_that_could_not_be_written_are_not_in_force(
    directory: SqliteDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with open_store(tmp_path / "data") as store:
        account = await store.open_account(ANNA)
        await set_limits(directory, store, ANNA, 9, 9)
        with monkeypatch.context() as patch:
            patch.setattr(layout.AccountState, "save", full)
            with pytest.raises(StorageFailure):
                await set_limits(directory, store, ANNA, 5, 6)
        usage = await account.quota()
        assert (usage.octets_limit, usage.messages_limit) == (9, 9)
        # The same again is written, not taken for what is there already.
        await set_limits(directory, store, ANNA, 5, 6)
    async with open_store(tmp_path / "data") as store:
        assert await both(directory, store) == (5, 6)


async def test_the_directory_is_right_where_the_two_differ(directory: SqliteDirectory, tmp_path: Path) -> None:
    """After a kill between the two, or with a file from a backup."""
    async with open_store(tmp_path / "data") as store:
        await set_limits(directory, store, ANNA, 9, 9)
    await directory.set_limits(ANNA, 5, 0)
    async with MaildirStore(tmp_path / "data", StorageSettings(), "mx", SystemClock(), directory.limits) as store:
        assert await both(directory, store) == (5, 0)
    # It was written with the rest; and an account that is nobody's keeps what its file says.
    await directory.remove_account(ANNA)
    async with MaildirStore(tmp_path / "data", StorageSettings(), "mx", SystemClock(), directory.limits) as store:
        assert (await (await store.open_account(ANNA)).quota()).octets_limit == 5
