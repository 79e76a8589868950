"""The list of who shares with whom can be lost, damaged, or say too much; the folders' files decide."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from mailserver.model.errors import StorageFailure
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX
from mailserver.model.rights import NO_RIGHTS, RightsChange, parse_rights
from mailserver.storage.maildir.checked import read_checked
from mailserver.storage.maildir.folder_state import STATE_FILE, FolderState
from mailserver.storage.maildir.repair.maintenance import rebuild
from mailserver.storage.maildir.shares import Shares
from mailserver.storage.maildir.store import MaildirStore
from tests.helpers.imap_service import until
from tests.helpers.maildir import ANNA, account_dir, open_store

BEN, CLEO = AccountId("ben@example.test"), AccountId("cleo@example.test")
LR = parse_rights("lr")


async def share(store: MaildirStore, name: str, identifier: str) -> None:
    await (await store.open_account(ANNA)).grant(name, identifier, RightsChange.REPLACE, LR)


def rows(data: Path) -> list[tuple[str, str]]:
    db = sqlite3.connect(data / ".server" / "shares.db")
    try:
        return db.execute("SELECT owner, identifier FROM shares").fetchall()
    finally:
        db.close()


@pytest.mark.parametrize("damage", ["lost", "damaged", "a directory"])
async def test_a_lost_list_is_made_again_without_anyone_logging_in(tmp_path: Path, damage: str) -> None:
    async with open_store(tmp_path) as store:
        await share(store, "Sent", BEN)
        await share(store, INBOX, "anyone")
        for number in range(120):
            await store.open_account(AccountId(f"user{number}@example.test"))
    path = tmp_path / ".server" / "shares.db"
    if damage == "damaged":
        path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    else:
        path.unlink()
    if damage == "a directory":
        path.mkdir()
    async with open_store(tmp_path) as store:
        async def found() -> bool:
            return list(await store.sharers(BEN)) == [ANNA]

        for _ in range(100):
            if await found():
                break
            await store.accounts()
        assert await found()
        assert store.loaded(ANNA) is None
    if damage != "a directory":
        assert rows(tmp_path) == [(ANNA, "anyone"), (ANNA, BEN)]


async def test_what_it_says_too_much_goes_when_the_account_is_loaded(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await share(store, INBOX, BEN)
    shares = Shares(str(tmp_path / ".server" / "shares.db"))
    shares.save({ANNA: frozenset({BEN, CLEO}), CLEO: frozenset({BEN})})
    async with open_store(tmp_path) as store:
        assert (await store.sharers(CLEO), await store.sharers(BEN)) == ([ANNA], [ANNA, CLEO])
        await store.open_account(ANNA)
        await store.context.drain()
        assert await store.sharers(CLEO) == []
        await store.revoke(BEN)
        assert await store.accounts() == [ANNA], "an account that is only in the list is not made"


async def test_a_restored_account_is_found(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.open_account(ANNA)
    state = FolderState.load(str(account_dir(tmp_path)))
    state.acl = {BEN: LR}
    state.save(str(account_dir(tmp_path)))
    async with open_store(tmp_path) as store:
        await store.open_account(ANNA)
        await store.context.drain()
        assert await store.sharers(BEN) == [ANNA]


async def test_the_list_is_durable_before_the_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two, the list names somebody in vain; the other way round a share would be lost."""

    def killed(state: FolderState, folder: str) -> None:
        raise OSError("killed here")

    async with open_store(tmp_path) as store:
        await share(store, INBOX, CLEO)
        with monkeypatch.context() as patch:
            patch.setattr(FolderState, "save", killed)
            with pytest.raises(StorageFailure):
                await share(store, INBOX, BEN)
        assert rows(tmp_path) == [(ANNA, BEN), (ANNA, CLEO)]
        account = await store.open_account(ANNA)
        assert (await account.find(INBOX)).acl == {CLEO: LR}
        await account.grant(INBOX, CLEO, RightsChange.REPLACE, NO_RIGHTS)
        assert rows(tmp_path) == []


async def test_rebuild_keeps_rights_of_a_whole_file_and_believes_no_damaged_one(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await share(store, INBOX, BEN)
        await share(store, "Sent", BEN)
        await share(store, "Trash", BEN)
    sent = account_dir(tmp_path) / ".Sent" / STATE_FILE
    sent.write_bytes(sent.read_bytes().replace(b"ben@", b"bem@"))
    async with open_store(tmp_path) as store:
        done = await rebuild(store, ANNA, full=False)
        assert done.after == []
        account = await store.open_account(ANNA)
        acls = {info.name: info.acl for info in await account.list_mailboxes() if info.acl}
        assert acls == {INBOX: {BEN: LR}, "Trash": {BEN: LR}}
        assert b"acl" not in sent.read_bytes()


async def test_it_is_filled_once_for_a_new_directory(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await until((tmp_path / ".server" / "shares.db").exists)
        await store.accounts()
    assert Shares(str(tmp_path / ".server" / "shares.db")).load()


async def test_revoking_opens_only_those_who_name_the_account(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await share(store, INBOX, "anyone")
        await share(store, "Sent", "@example.test")
    async with open_store(tmp_path) as store:
        await store.revoke(BEN)
        assert store.loaded(ANNA) is None
        await store.revoke(ANNA)
        assert await store.sharers(BEN) == []


def test_what_is_found_does_not_replace_what_was_noted_meanwhile(tmp_path: Path) -> None:
    (tmp_path / ".server").mkdir()
    shares = Shares(str(tmp_path / ".server" / "shares.db"))
    shares.save({ANNA: frozenset({CLEO})})
    shares.add({ANNA: frozenset({BEN, CLEO})}, complete=True)
    assert rows(tmp_path) == [(ANNA, BEN), (ANNA, CLEO)]
    assert Shares(str(tmp_path / ".server" / "shares.db")).load()


async def test_what_is_done_is_not_refused_when_the_list_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Shares, changes: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async with open_store(tmp_path) as store:
        await share(store, INBOX, BEN)
        await share(store, "Sent", CLEO)
        await share(store, "Trash", CLEO)
        account = await store.open_account(ANNA)
        with monkeypatch.context() as patch:
            patch.setattr(Shares, "save", full)
            await account.delete("Sent")
            await account.grant("Trash", CLEO, RightsChange.REPLACE, NO_RIGHTS)
            with pytest.raises(StorageFailure):
                await share(store, "Archive", "anyone")
            assert (await account.find("Archive")).acl == {} == (await account.find("Trash")).acl
            await store.remove_account(ANNA)
        assert store.loaded(ANNA) is None and await store.accounts() == []
        # It says too much, which hurts nobody, until the account comes back.
        assert await store.sharers(CLEO) == [ANNA]
        await store.open_account(ANNA)
        await store.context.drain()
        assert await store.sharers(CLEO) == [] == rows(tmp_path)


async def test_a_removal_that_could_not_note_its_uidvalidities_notes_them_at_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        highest = account.state.last_uid_validity
        with monkeypatch.context() as patch:
            patch.setattr("mailserver.storage.maildir.store.write_checked", full)
            with pytest.raises(StorageFailure):
                await store.remove_account(ANNA)
        await store.remove_account(ANNA)
    assert read_checked(str(tmp_path / ".server" / "removed"), "removed")["uid_validity"] == str(highest)
