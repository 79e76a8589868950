"""Verify, rebuild, adopt and export while the store runs: sessions, deliveries, other objects of the account."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from mailserver.model.errors import MailError, NotFound
from mailserver.model.flags import FlagChange
from mailserver.model.mailbox import Stored
from mailserver.ports.store import Target
from mailserver.storage.maildir import dovecot
from mailserver.storage.maildir.keywords import Keywords
from mailserver.storage.maildir.repair import maintenance
from mailserver.storage.maildir.repair.findings import Problem
from mailserver.storage.maildir.store import MaildirStore
from tests.helpers.damage import flip
from tests.helpers.maildir import ANNA, Seen, account_dir, fill, open_store, see


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Seen]]:
    data = tmp_path_factory.mktemp("healthy") / "maildir"
    asyncio.run(fill(data))
    return data, asyncio.run(see(data))


@pytest.fixture
def data(template: tuple[Path, dict[str, Seen]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(template[0], tmp_path / "maildir"))


async def deliver(store: MaildirStore, text: str, mailbox: str = "INBOX") -> Stored:
    async with store.begin() as content:
        await content.write(f"Subject: {text}\r\n\r\n{text}\r\n".encode())
        (stored,) = await store.commit(content, [Target(account=ANNA, mailbox=mailbox)])
    assert isinstance(stored, Stored), stored
    return stored


async def test_verify_of_a_busy_account_finds_nothing(data: Path) -> None:
    """Deliveries, flags and removals in flight are no faults."""
    async with open_store(data) as store:
        account = await store.open_account(ANNA)
        async with account.open("INBOX") as box:

            async def work() -> None:
                for number in range(40):
                    stored = await deliver(store, f"busy {number}")
                    await box.set_flags([stored.uid - 1], FlagChange.ADD, frozenset({"\\Seen", f"word{number % 3}"}))
                    if number % 4 == 0:
                        await box.expunge([stored.uid - 2])

            busy = asyncio.create_task(work())
            while not busy.done():
                assert await maintenance.verify(store, ANNA, full=True) == []
            await busy
        assert await maintenance.verify(store, ANNA, full=True) == []
    assert await _verify_stopped(data) == []


async def _verify_stopped(data: Path) -> list[Problem]:
    async with open_store(data) as store:
        return [finding.problem for finding in await maintenance.verify(store, ANNA, full=True)]


async def test_rebuild_under_open_mailboxes(data: Path, template: tuple[Path, dict[str, Seen]]) -> None:
    """Answered flags are kept, mail that comes meanwhile waits and is kept, and the old objects are dead."""
    async with open_store(data) as store:
        account = await store.open_account(ANNA)
        async with account.open("Work") as box:
            await box.set_flags([4], FlagChange.ADD, frozenset({"\\Draft", "brandnew"}))
            await box.expunge([6])
            flip(account_dir(data) / ".Trash" / "mailserver-folder", 40)
            rebuilding = asyncio.create_task(maintenance.rebuild(store, ANNA))
            stored = [asyncio.create_task(deliver(store, f"meanwhile {n}", "Work")) for n in range(5)]
            done = await rebuilding
            assert done.after == []
            uids = [(await task).uid for task in stored]
            assert len(set(uids)) == 5
            assert box.deleted
            with pytest.raises(NotFound):
                await box.set_flags([2], FlagChange.ADD, frozenset({"\\Flagged"}))
            with pytest.raises(MailError):
                await account.status("INBOX")
        again = await store.open_account(ANNA)
        assert again is not account
        assert await maintenance.verify(store, ANNA, full=True) == []
    after = await see(data)
    before = template[1]["Work"]
    assert after["Work"].uid_validity == before.uid_validity
    assert after["Work"].messages.keys() == (before.messages.keys() - {6}) | set(uids)
    assert after["Work"].messages[4][0] == before.messages[4][0] | {"\\Draft", "brandnew"}


async def test_rebuild_finishes_what_a_killed_server_had_answered(data: Path) -> None:
    """Flags and removals that only the index knows come into the files before the index goes."""
    killed = data.with_name("killed")
    async with open_store(data) as store:
        account = await store.open_account(ANNA)
        store.context.settings.__dict__["flush_delay"] = 1_000.0
        async with account.open("Work") as box:
            await box.set_flags([2], FlagChange.REPLACE, frozenset({"\\Draft", "afterwards"}))
            await box.expunge([3])
            shutil.copytree(data, killed)
    async with open_store(killed) as store:
        done = await maintenance.rebuild(store, ANNA)
        assert done.after == []
    seen = (await see(killed))["Work"].messages
    assert seen[2][0] == {"\\Draft", "afterwards"}
    assert 3 not in seen


async def test_rebuild_twice_changes_nothing_more(data: Path) -> None:
    async with open_store(data) as store:
        await maintenance.rebuild(store, ANNA, full=True)
    names = sorted(os.listdir(account_dir(data) / ".Work" / "cur"))
    async with open_store(data) as store:
        await maintenance.rebuild(store, ANNA, full=True)
    assert sorted(os.listdir(account_dir(data) / ".Work" / "cur")) == names


async def test_export_tells_dovecot_every_uid(data: Path, template: tuple[Path, dict[str, Seen]]) -> None:
    async with open_store(data) as store:
        exported = {folder.mailbox: folder for folder in await maintenance.export(store, ANNA)}
    for name, seen in template[1].items():
        assert exported[name].messages == len(seen.messages)
    assert exported["Work"].keywords_left == 2
    listed = dovecot.read_uidlist(str(account_dir(data) / ".Work"))
    assert listed is not None
    assert set(listed.uids.values()) == template[1]["Work"].messages.keys()
    assert (listed.uid_validity, listed.next_uid) == (template[1]["Work"].uid_validity, exported["Work"].uid_next)
    head = (account_dir(data) / ".Work" / "dovecot-uidlist").read_bytes().split(b"\n")[0]
    async with open_store(data) as store:
        await maintenance.export(store, ANNA)
    assert (account_dir(data) / ".Work" / "dovecot-uidlist").read_bytes().split(b"\n")[0] == head


async def test_adopt_takes_dovecots_uids(data: Path, template: tuple[Path, dict[str, Seen]]) -> None:
    """The way back: what we exported, without anything that only we write."""
    async with open_store(data) as store:
        await maintenance.export(store, ANNA)
    account = account_dir(data)
    for path in [*account.rglob("mailserver-*"), *account.glob("index.db*")]:
        path.unlink()
    for folder in [account, *account.glob(".[A-Z]*")]:
        listed = dovecot.read_uidlist(str(folder))
        assert listed is not None
        for path in [*(folder / "cur").iterdir(), *(folder / "new").iterdir()]:
            base, colon, info = path.name.partition(":")
            bare = base.partition(",U=")[0]
            path.rename(path.with_name(bare + colon + info))
            uidlist = folder / "dovecot-uidlist"
            uidlist.write_bytes(uidlist.read_bytes().replace(base.encode() + b"\n", bare.encode() + b"\n"))
            keywords = folder / "keywords.journal"
            keywords.unlink(missing_ok=True)
    async with open_store(data) as store:
        adopted = {folder.mailbox: folder for folder in await maintenance.adopt(store, ANNA)}
        assert await maintenance.verify(store, ANNA, full=True) == []
    after = await see(data)
    for name, box in template[1].items():
        assert after[name].uid_validity == adopted[name].uid_validity == box.uid_validity
        assert {uid: message[1:] for uid, message in after[name].messages.items()} == {
            uid: message[1:] for uid, message in box.messages.items()
        }


def test_a_torn_journal_takes_further_lines(tmp_path: Path) -> None:
    """A crash within an append must not cost the next one."""
    keywords = Keywords(str(tmp_path))
    keywords.journal({"one": frozenset({"a"}), "two": frozenset({"b"})})
    path = tmp_path / "keywords.journal"
    path.write_bytes(path.read_bytes() + b"0123")
    torn = Keywords(str(tmp_path))
    torn.journal({"three": frozenset({"c"})})
    again = Keywords(str(tmp_path))
    assert [again.further_of(base) for base in ("one", "two", "three")] == [{"a"}, {"b"}, {"c"}]
    assert again.damage() == ([], [])
