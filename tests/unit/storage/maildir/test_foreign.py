"""A directory that other programs write to, or wrote before us."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from mailserver.model.errors import StorageFailure
from mailserver.model.flags import FLAGGED, SEEN, FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, Rendered
from mailserver.ports.clock import SystemClock
from mailserver.ports.store import Target
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings

ANNA = AccountId("anna@example.test")


def open_store(root: Path, **settings: object) -> MaildirStore:
    return MaildirStore(root, StorageSettings.model_validate(settings), "mx.example.test", SystemClock())


def folder(root: Path) -> Path:
    return root / "example.test" / "anna"


def make_maildir(path: Path) -> None:
    for sub in ("cur", "new", "tmp"):
        (path / sub).mkdir(parents=True)


async def test_a_message_of_another_program_is_seen_numbered_and_counted(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        async with account.open(INBOX) as box:
            (folder(tmp_path) / "new" / "1700000001.2.other").write_bytes(b"Subject: a\n\none\ntwo\n")
            (folder(tmp_path) / "cur" / "1700000000.1.other:2,S").write_bytes(b"Subject: b\r\n\r\n")
            await box.refresh()
            assert list(box.table.uids) == [1, 2] and list(box.table.saved) == [1_700_000_000, 1_700_000_001]
            assert await box.read(2) == b"Subject: a\r\n\r\none\r\ntwo\r\n"
            assert list(box.table.sizes) == [14, 24] and await box.read(2, 12, 4) == b"\r\non"
            assert (await box.rendered([2], [Rendered.ENVELOPE]))[2][0].startswith(b"(")
            assert (await account.quota()).messages == 2
        names = sorted(path.name for sub in ("cur", "new") for path in (folder(tmp_path) / sub).iterdir())
        assert all(f",V={box.uid_validity:x}" in name for name in names) and ",W=24,U=2," in names[1]


async def test_status_sees_it_without_opening(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        assert (await account.status("Sent")).messages == 0
        (folder(tmp_path) / ".Sent" / "cur" / "1700000000.1.other:2,S").write_bytes(b"x\r\n")
        status = await account.status("Sent")
        assert (status.messages, status.unseen, status.size, status.uid_next) == (1, 0, 3, 2)


async def test_open_mailboxes_are_watched(tmp_path: Path) -> None:
    async with open_store(tmp_path, watch_interval=0.1) as store:
        account = await store.open_account(ANNA)
        async with account.open(INBOX) as box:
            woken = asyncio.Event()
            undo = box.subscribe(woken.set)
            (folder(tmp_path) / "new" / "1700000000.1.other").write_bytes(b"x\r\n")
            async with asyncio.timeout(60):
                while not len(box.table):
                    await woken.wait()
                    woken.clear()
            undo()


async def test_a_uid_of_another_folder_counts_for_nothing(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        (folder(tmp_path) / "cur" / "1700000000.1.other,U=77:2,S").write_bytes(b"x\r\n")
        (folder(tmp_path) / "cur" / "1700000000.2.other,U=78,V=1:2,S").write_bytes(b"y\r\n")
        async with account.open(INBOX) as box:
            assert list(box.table.uids) == [1, 2]


async def test_messages_move_from_new_to_cur_after_a_select_and_keep_their_uids(tmp_path: Path) -> None:
    async with open_store(tmp_path, flush_delay=0.0) as store:
        account = await store.open_account(ANNA)
        for _ in range(3):
            async with store.begin() as content:
                await content.write(b"x\r\n")
                await store.commit(content, [Target(account=ANNA)])
        async with account.open(INBOX) as box:
            await store.context.drain()
            await account.upkeep.flush()
            assert not list((folder(tmp_path) / "new").iterdir())
            assert list(box.table.uids) == [1, 2, 3] and await box.read(2) == b"x\r\n"
            assert all(path.name.endswith(":2,") for path in (folder(tmp_path) / "cur").iterdir())


async def test_flags_stand_in_the_names_after_a_stop_and_are_there_without_an_index(tmp_path: Path) -> None:
    keywords = frozenset(f"kw{number}" for number in range(30))
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        async with store.begin() as content:
            await content.write(b"x\r\n")
            await store.commit(content, [Target(account=ANNA)])
        async with account.open(INBOX) as box:
            await box.set_flags([1], FlagChange.ADD, keywords | {SEEN, FLAGGED})
            await box.copy([1], "Sent")
    for index in folder(tmp_path).glob("index.db*"):
        index.unlink()
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        for name in (INBOX, "Sent"):
            async with account.open(name) as box:
                assert box.flag_table.sets[box.table.flags[0]] == keywords | {SEEN, FLAGGED}


async def test_a_maildir_of_dovecot_is_served_with_its_uids(tmp_path: Path) -> None:
    root = folder(tmp_path)
    make_maildir(root)
    make_maildir(root / ".Sent")
    (root / "cur" / "1700000000.M1P1.old,S=3,W=3:2,Sa").write_bytes(b"a\r\n")
    (root / "cur" / "1700000001.M1P1.old:2,").write_bytes(b"b\r\n")
    (root / "new" / "1700000002.M1P1.old").write_bytes(b"c\r\n")
    (root / "dovecot-uidlist").write_bytes(
        b"3 V1234567890 N45 Gdeadbeef\n7 W3 S3 :1700000000.M1P1.old,S=3,W=3\n44 :1700000001.M1P1.old:2,S\n"
    )
    (root / "dovecot-keywords").write_bytes(b"0 $Forwarded\n")
    (root / "subscriptions").write_bytes(b"V\t2\n\nSent\nOld\tThings\n")
    for _ in range(2):
        async with open_store(tmp_path) as store:
            account = await store.open_account(ANNA)
            assert await account.subscriptions() == {"Sent", "Old/Things"}
            assert {info.name for info in await account.list_mailboxes()} == {INBOX, "Sent"}
            async with account.open(INBOX) as box:
                assert (box.uid_validity, list(box.table.uids)) == (1234567890, [7, 44, 45])
                assert [await box.read(uid) for uid in (7, 44, 45)] == [b"a\r\n", b"b\r\n", b"c\r\n"]
                assert box.flag_table.sets[box.table.flags[0]] == {SEEN, "$Forwarded"}
                assert box.uid_next == 46
        for index in root.glob("index.db*"):
            index.unlink()


async def test_a_directory_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        async with store.begin() as content:
            await content.write(b"x\r\n")
            await store.commit(content, [Target(account=ANNA)])
        async with account.open(INBOX) as box:
            os.rename(folder(tmp_path) / "new", folder(tmp_path) / "hidden")
            os.rename(folder(tmp_path) / "cur", folder(tmp_path) / "hidden2")
            with pytest.raises(StorageFailure):
                await box.refresh()
            assert len(box.table) == 1
            os.rename(folder(tmp_path) / "hidden", folder(tmp_path) / "new")
            os.rename(folder(tmp_path) / "hidden2", folder(tmp_path) / "cur")
            await box.refresh()
            assert len(box.table) == 1


async def test_few_indexes_are_open_and_few_accounts_loaded(tmp_path: Path) -> None:
    async with open_store(tmp_path, open_indexes=2, loaded_accounts=3) as store:
        names = [AccountId(f"p{number}@example.test") for number in range(8)]
        for name in names:
            async with store.begin() as content:
                await content.write(b"x\r\n")
                await store.commit(content, [Target(account=name)])
            account = await store.open_account(name)
            async with account.open(INBOX) as box:
                assert len(box.table) == 1
            del account, box
        opened = [link for link in os.listdir("/proc/self/fd") if _target(link).endswith("index.db")]
        assert len(opened) <= 2
        assert len(store.context.accounts) <= 4
        for name in names:
            assert (await (await store.open_account(name)).status(INBOX)).messages == 1


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


async def test_what_arrived_is_indexed_and_rendered_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(tmp_path, fill_delay=0.0) as store:
        account = await store.open_account(ANNA)
        filled = asyncio.Event()
        fill = account.upkeep.fill

        async def noted() -> None:
            await fill()
            filled.set()

        monkeypatch.setattr(account.upkeep, "fill", noted)
        async with store.begin() as content:
            await content.write(b"Subject: later\r\n\r\nx\r\n")
            await store.commit(content, [Target(account=ANNA)])
        await asyncio.wait_for(filled.wait(), 10)
        await account.context.drain()
        monkeypatch.undo()
        count = account.upkeep.index.run(lambda db: db.execute("SELECT count(*) FROM rendered_envelope").fetchone()[0])
        assert count == 1


@pytest.mark.parametrize("linked", [True, False])
async def test_a_second_file_of_a_known_message_costs_no_index(tmp_path: Path, linked: bool) -> None:
    """Two names of one file are one message, two files of one base are two; nothing that was known is lost by it."""
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        async with account.open(INBOX) as box, store.begin() as content:
            await content.write(b"Subject: a\r\n\r\n")
            await store.commit_all(ANNA, [(content, Target(account=ANNA, into_new=False))])
            await box.refresh()
            generation = account.upkeep.index.generation
            (path,) = (folder(tmp_path) / "cur").iterdir()
            other = path.with_name(path.name.partition(":")[0] + ":2,F")
            if linked:
                os.link(path, other)
            else:
                other.write_bytes(b"Subject: b\r\n\r\n")
            await box.refresh()
            assert account.upkeep.index.generation == generation
            assert list(box.table.uids) == ([1] if linked else [1, 2])
            assert await box.read(1) == b"Subject: a\r\n\r\n"
