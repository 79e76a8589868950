"""Copies have the rendered pieces of their originals, and pieces go when nobody has them any more."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, Rendered
from mailserver.ports.store import Target
from mailserver.storage.maildir import reading, rendering, transfer
from mailserver.storage.maildir.account import MaildirAccount
from mailserver.storage.maildir.repair.verify import verify_account
from mailserver.storage.maildir.schema import PIECE_TABLES
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.clock import FakeClock

ANNA = AccountId("anna@example.test")
ALL = list(Rendered)
PIECES = PIECE_TABLES[Rendered.ENVELOPE]


@pytest.fixture
async def account(tmp_path: Path) -> AsyncIterator[MaildirAccount]:
    """Three rendered messages in INBOX."""
    settings = StorageSettings(flush_delay=10.0, fill_delay=10.0, watch_interval=60.0)
    async with MaildirStore(tmp_path, settings, "mx.example.test", FakeClock()) as store:
        account = await store.open_account(ANNA)
        for number in range(3):
            async with store.begin() as content:
                await content.write(f"Subject: number {number}\r\n\r\nbody\r\n".encode())
                await store.commit(content, [Target(account=ANNA)])
        await account.upkeep.fill()
        await account.context.drain()
        yield account


@pytest.fixture
def no_rendering(account: MaildirAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    def render(message: bytes) -> Any:
        raise AssertionError("rendered again")

    monkeypatch.setattr(rendering, "render", render)
    monkeypatch.setattr(reading, "renderer", lambda fields: render)


def count(account: MaildirAccount, table: str) -> int:
    db = sqlite3.connect(Path(account.path, "index.db"))
    try:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        db.close()


@pytest.mark.usefixtures("no_rendering")
async def test_copies_of_copies_are_not_rendered_and_survive_their_originals(account: MaildirAccount) -> None:
    async with account.open(INBOX) as inbox, account.open("Archive") as archive, account.open("Junk") as junk:
        await inbox.copy([1, 3], "Archive")
        await archive.copy([2], "Junk")
        await account.upkeep.fill()
        await account.context.drain()
        expected = await inbox.rendered([1, 2, 3], ALL)
        await inbox.expunge([1, 2, 3])
        await account.upkeep.flush()
        assert await archive.rendered([1, 2], ALL) == {1: expected[1], 2: expected[3]}
        assert await junk.rendered([1], ALL) == {1: expected[3]}
        assert (count(account, PIECES), count(account, "copies")) == (2, 3)
        await archive.expunge([1, 2])
        await account.upkeep.flush()
        assert await junk.rendered([1], ALL) == {1: expected[3]}
        assert (count(account, PIECES), count(account, "copies")) == (1, 1)
    await account.delete("Junk")
    assert (count(account, PIECES), count(account, "copies")) == (0, 0)


@pytest.mark.usefixtures("no_rendering")
async def test_moved_messages_are_not_rendered_again(account: MaildirAccount) -> None:
    async with account.open(INBOX) as inbox, account.open("Archive") as archive:
        expected = await inbox.rendered([2], ALL)
        await inbox.move([2], "Archive")
        await account.upkeep.flush()
        await account.upkeep.fill()
        await account.context.drain()
        assert await archive.rendered([1], ALL) == {1: expected[2]}


async def test_the_few_pieces_of_a_moved_message_go_when_it_has_all(account: MaildirAccount) -> None:
    """It was moved right after a client had listed it."""
    def without_pieces(db: sqlite3.Connection) -> None:
        for table in PIECE_TABLES.values():
            db.execute(f"DELETE FROM {table}")

    account.upkeep.index.run(without_pieces)
    async with account.open(INBOX) as inbox, account.open("Archive") as archive:
        listed = await inbox.rendered([1], [Rendered.ENVELOPE])
        await inbox.move([1], "Archive")
        await account.upkeep.flush()
        await account.context.drain()
        assert await archive.rendered([1], [Rendered.ENVELOPE], make=False) == listed
        await archive.rendered([1], ALL)
        assert (count(account, PIECES), count(account, "copies")) == (1, 0)
    assert verify_account(account.path, live=True) == []


async def test_an_original_in_a_deleted_mailbox(account: MaildirAccount) -> None:
    async with account.open(INBOX) as inbox:
        expected = await inbox.rendered([1], ALL)
        await inbox.move([1], "Archive")
    async with account.open("Archive") as archive:
        await archive.copy([1], "Junk")
    await account.delete("Archive")
    async with account.open("Junk") as junk:
        assert await junk.rendered([1], ALL) == {1: expected[1]}


async def test_sharing_that_comes_late(account: MaildirAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that somebody looked at at once has pieces of its own only (a search counts them); a gone one has none."""
    later: list[tuple[Any, ...]] = []
    async with account.open(INBOX) as inbox, account.open("Archive") as archive:
        with monkeypatch.context() as patch:
            patch.setattr(transfer, "_share_later", lambda *arguments: later.append(arguments))
            await inbox.copy([1, 2, 3], "Archive")
        await archive.rendered([1, 2], ALL)
        await archive.expunge([2])
        await account.upkeep.flush()
        transfer._share_later(*later[0])
        await account.context.drain()
        assert (count(account, PIECES), count(account, "copies")) == (4, 1)
        found = await archive.rendered_with([1, 2, 3], Rendered.SEARCH_HEADERS, b"number")
        assert sorted(found) == [1, 3]


async def test_files_go_while_nobody_waits(account: MaildirAccount) -> None:
    """Renames and unlinks make way for who wants the account, and are all done in the end."""
    async with account.open(INBOX) as inbox:
        for _ in range(5):
            await inbox.copy([1, 2, 3], INBOX)
        done = len(inbox.table) // 2
        await inbox.expunge(list(inbox.table.uids)[:done])
        await account.upkeep.flush(lambda: True)
        await account.upkeep.flush()
        assert not account.upkeep.dirty and count(account, "unlinks") == 0
