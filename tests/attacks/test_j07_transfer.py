"""ATTACKS J07: a COPY or MOVE that fails half way leaves the source as it was, and a clear NO."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.errors import StorageFailure
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX
from mailserver.net import files
from mailserver.ports.store import Target
from mailserver.storage.maildir import rows, transfer
from mailserver.storage.maildir.account import MaildirAccount
from mailserver.storage.maildir.index import AccountIndex, IndexLost, Unsure
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.clock import FakeClock

ANNA = AccountId("anna@example.test")


@pytest.fixture
async def account(tmp_path: Path) -> AsyncIterator[MaildirAccount]:
    settings = StorageSettings(flush_delay=10.0, fill_delay=10.0, watch_interval=60.0)
    async with MaildirStore(tmp_path, settings, "mx.example.test", FakeClock()) as store:
        account = await store.open_account(ANNA)
        for number in range(3):
            async with store.begin() as content:
                await content.write(f"Subject: number {number}\r\n\r\nbody\r\n".encode())
                await store.commit(content, [Target(account=ANNA)])
        yield account


def copies(account: MaildirAccount) -> list[str]:
    return [path.name for path in Path(account.path, ".Archive", "cur").iterdir()]


async def check_nothing_happened(account: MaildirAccount, before: int) -> None:
    async with account.open(INBOX) as inbox, account.open("Archive") as archive:
        assert list(inbox.table.uids) == [1, 2, 3] and not len(archive.table)
        assert [uid async for batch in inbox.read_many([1, 2, 3]) for uid, _ in batch] == [1, 2, 3]
        assert not copies(account) and account.messages == 3 and account.octets == before
        # Nothing is in the way of trying it again.
        result = await inbox.move([1, 2, 3], "Archive")
        assert len(result.target) == len(archive.table) == 3 and not len(inbox.table)


@pytest.mark.parametrize("operation", ["copy", "move"])
async def test_j07_the_disk_is_full_at_the_second_link(
    account: MaildirAccount, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, link = account.octets, files.link_or_copy

    def full(source: str, target: str, spare: str) -> None:
        if copies(account):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        link(source, target, spare)

    with monkeypatch.context() as patch:
        patch.setattr(files, "link_or_copy", full)
        async with account.open(INBOX) as inbox:
            with pytest.raises(StorageFailure):
                await getattr(inbox, operation)([1, 2, 3], "Archive")
    await check_nothing_happened(account, before)


@pytest.mark.parametrize("failure", [StorageFailure("no room"), IndexLost("index.db"), OSError(errno.EIO, "broken")])
async def test_j07_the_removal_of_a_move_fails(
    account: MaildirAccount, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = account.octets

    def fails(*_: Any, **__: Any) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(rows, "remove_messages", fails)
        async with account.open(INBOX) as inbox:
            with pytest.raises(StorageFailure):
                await inbox.move([1, 2, 3], "Archive")
    await check_nothing_happened(account, before)


async def test_j07_nobody_knows_whether_the_removal_stands(
    account: MaildirAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then both are kept: a message must never be in neither."""

    def fails(*_: Any, **__: Any) -> None:
        raise Unsure("the disk fails")

    with monkeypatch.context() as patch:
        patch.setattr(rows, "remove_messages", fails)
        async with account.open(INBOX) as inbox:
            with pytest.raises(StorageFailure):
                await inbox.move([1, 2, 3], "Archive")
    async with account.open(INBOX) as inbox, account.open("Archive") as archive:
        assert len(inbox.table) == len(archive.table) == len(copies(account)) == 3
        assert account.messages == 6


async def test_j07_copies_that_cannot_be_taken_back_are_shown(
    account: MaildirAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise StorageFailure("no room")

    def broken(work: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(rows, "remove_messages", fails)
        patch.setattr(transfer._Work, "take_back", broken)
        async with account.open(INBOX) as inbox:
            with pytest.raises(StorageFailure):
                await inbox.move([1, 2, 3], "Archive")
    async with account.open(INBOX) as inbox, account.open("Archive") as archive:
        assert len(inbox.table) == len(archive.table) == len(copies(account)) == 3


@pytest.mark.parametrize(("code", "unsure"), [(sqlite3.SQLITE_IOERR_FSYNC, True), (sqlite3.SQLITE_FULL, False)])
async def test_j07_what_is_unsure_when_a_commit_fails(account: MaildirAccount, code: int, unsure: bool) -> None:
    class Disk:
        """A connection whose COMMIT fails."""

        in_transaction = False

        def execute(self, statement: str, *_: Any) -> Any:
            if statement == "COMMIT":
                error = sqlite3.OperationalError("disk")
                error.sqlite_errorcode = code
                raise error
            return self

        def fetchall(self) -> list[Any]:
            return []

        def close(self) -> None:
            pass

    index: AccountIndex = account.upkeep.index
    real, index._db = index._db, Disk()  # type: ignore[assignment]
    with pytest.raises(StorageFailure) as caught:
        index.run(lambda db: None)
    index._db = real
    assert isinstance(caught.value, Unsure) is unsure
