"""What goes wrong at an odd moment: between two steps, in the middle of a race, on a disk that refuses once."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mailserver.model.errors import MailError, NotFound, StorageFailure
from mailserver.model.flags import FLAGGED, SEEN, FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, Rendered, Stored
from mailserver.net import files
from mailserver.ports.store import Target
from mailserver.storage.maildir import context, flush, sync
from mailserver.storage.maildir.folder import Arrival, Folder
from mailserver.storage.maildir.folder_state import FolderState
from mailserver.storage.maildir.keywords import Keywords
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.clock import FakeClock
from tests.helpers.maildir import uid_of

ANNA, BERTA = AccountId("anna@example.test"), AccountId("berta@example.test")
MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


def open_store(root: Path, **settings: Any) -> MaildirStore:
    return MaildirStore(root, StorageSettings(**settings), "mx.example.test", FakeClock())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MaildirStore]:
    async with open_store(tmp_path) as store:
        await store.open_account(ANNA)
        await store.open_account(BERTA)
        yield store


async def put(store: MaildirStore, *targets: Target, data: bytes = MESSAGE) -> list[Stored | MailError]:
    async with store.begin() as content:
        await content.write(data)
        return await store.commit(content, targets)


def anna(root: Path) -> Path:
    return root / "example.test" / "anna"


def message_files(root: Path) -> list[Path]:
    return [path for sub in ("tmp", "new", "cur") for path in root.glob(f"*/*/{sub}/*")]


def as_killed(store: MaildirStore) -> None:
    """What leaving the store does afterwards is no clean stop: nothing is flushed, nothing settled."""

    async def nothing() -> bool:
        return False

    for account in list(store.context.accounts.values()):
        account.upkeep.stop()
        account.upkeep.dirty.clear()
        account.settle = nothing  # type: ignore[method-assign]


class Once:
    """In place of a function: waits in its thread, the first time, until it may go on."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self._real = real
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *args: Any) -> Any:
        if not self.reached.is_set():
            self.reached.set()
            assert self.go_on.wait(20)
        return self._real(*args)


async def reached(once: Once) -> None:
    assert await asyncio.get_running_loop().run_in_executor(None, once.reached.wait, 20)


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_settling_keeps_the_modseq_of_a_message_on_its_way_below_the_floor(tmp_path: Path) -> None:
    for sub in ("cur", "new", "tmp"):
        (tmp_path / sub).mkdir()
    folder = Folder(INBOX, "", str(tmp_path), FolderState(uid_validity=7))
    uid = folder.take_uids()
    folder.settle(folder.lead)
    folder.resolve(uid, Arrival(uid, "b", True, "", 1, 1, 0, 0, frozenset()))
    assert folder.highest_modseq < FolderState.load(str(tmp_path)).modseq_floor


async def test_a_lost_state_file_brings_no_uid_back_that_only_the_index_remembers(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        folder = account.folders["Sent"]
        await put(store, Target(account=ANNA, mailbox="Sent"))
        folder.take_uids(4_999)
        for uid in range(2, 5_001):
            folder.resolve(uid, None)
        results = await put(store, Target(account=ANNA, mailbox="Sent"))
        assert isinstance(results[0], Stored) and results[0].uid == 5_001
        async with account.open("Sent") as box:
            mailbox_id = box.mailbox_id
            await box.expunge([5_001])
    (anna(tmp_path) / ".Sent" / "mailserver-folder").unlink()
    async with open_store(tmp_path) as store:
        status = await (await store.open_account(ANNA)).status("Sent")
        assert status.uid_next > 5_001
        assert status.mailbox_id == mailbox_id


# -- folders in motion -------------------------------------------------------------------------------------------------


async def test_a_tree_moves_up_onto_its_own_names_in_any_order(store: MaildirStore) -> None:
    account = await store.open_account(ANNA)
    await account.create("a/b/b")
    await account.delete("a/b")
    await account.create("a/b")
    await account.delete("a")
    await account.rename("a/b", "a")
    names = [info.name for info in await account.list_mailboxes() if info.selectable]
    assert {"a", "a/b"} <= set(names) and "a/b/b" not in names


async def test_a_look_at_a_deleted_folder_leaves_its_successor_alone(
    store: MaildirStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await store.open_account(ANNA)
    await account.create("x")
    await account.status("x")
    once = Once(files.fsync_dir)
    monkeypatch.setattr(files, "fsync_dir", once)
    deletion = asyncio.create_task(account.delete("x"))
    await reached(once)
    creation = asyncio.create_task(account.create("x"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    looking = asyncio.create_task(account.status("x"))
    await asyncio.sleep(0)
    once.go_on.set()
    await deletion
    await creation
    with pytest.raises(NotFound):
        await looking
    state = FolderState.load(str(anna(tmp_path) / ".x"))
    assert state.uid_validity == account.folders["x"].state.uid_validity


async def test_append_does_not_go_into_a_deleted_folder(
    store: MaildirStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await store.open_account(ANNA)
    await account.create("x")
    await account.status("x")
    old = account.folders["x"]
    once = Once(Keywords.info)
    monkeypatch.setattr(Keywords, "info", lambda *args: once(*args))
    append = asyncio.create_task(
        put(store, Target(account=ANNA, mailbox="x", flags=frozenset({"$Forwarded"}), into_new=False))
    )
    await reached(once)
    await account.delete("x")
    await account.create("x")
    once.go_on.set()
    (stored,) = await append
    new = account.folders["x"]
    assert new is not old and isinstance(stored, Stored)
    assert stored.uid_validity == new.state.uid_validity
    (name,) = os.listdir(anna(tmp_path) / ".x" / "cur")
    assert f"V={new.state.uid_validity:x}" in name


async def test_a_mailbox_is_deleted_although_the_index_has_no_room(
    store: MaildirStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await store.open_account(ANNA)
    await account.create("x")
    await account.status("x")

    def full(*args: Any, **kwargs: Any) -> Any:
        raise StorageFailure("the disk is full")

    monkeypatch.setattr(account.upkeep.index, "run", full)
    await account.delete("x")
    monkeypatch.undo()
    await store.context.drain()
    assert not [name for name in os.listdir(anna(tmp_path)) if "gone" in name or name == ".x"]


async def test_what_a_crash_left_of_a_removed_account_goes_at_the_next_start(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.open_account(ANNA)
        as_killed(store)
    os.rename(anna(tmp_path), anna(tmp_path).parent / "..gone.0123456789abcdef")
    async with open_store(tmp_path) as store:
        await store.recovered()
        assert os.listdir(anna(tmp_path).parent) == []


async def test_a_mailbox_larger_than_all_idle_ones_may_be_opens(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "_IDLE_MESSAGES", 0)
    account = await store.open_account(ANNA)
    for name in (INBOX, "Sent", INBOX):
        async with account.open(name) as box:
            assert len(box.table) == 0
    assert [box.name for box in store.context.idle_boxes] == [INBOX]


# -- commits -----------------------------------------------------------------------------------------------------------


async def test_no_descriptor_left_for_a_large_message(store: MaildirStore, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await store.open_account(ANNA)

    def dup(fd: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    for date in (None, 5):
        with monkeypatch.context() as patch, pytest.raises(StorageFailure):
            patch.setattr(os, "dup", dup)
            targets = [Target(account=ANNA), Target(account=BERTA, date=date)]
            await put(store, *targets, data=MESSAGE * 100_000)
    async with store.begin() as content:
        await content.write(MESSAGE * 100_000)
        monkeypatch.setattr(os, "dup", dup)
        with pytest.raises(StorageFailure):
            await store.commit_all(ANNA, [(content, Target(account=ANNA, into_new=False))])
    assert account.folders[INBOX].jobs == 0
    assert (await account.quota()).messages == 0


async def test_a_copy_has_its_name_only_when_it_is_whole(store: MaildirStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    synced: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(os, "fsync", fsync)
    results = await put(store, Target(account=ANNA), Target(account=BERTA))
    assert all(isinstance(result, Stored) for result in results)
    account = await store.open_account(ANNA)
    async with account.open(INBOX) as box:
        await box.copy([1], "Sent")
    messages = [path for path in synced if ",S=" in path]
    assert len(messages) == 3
    assert not [path for path in messages if os.path.basename(os.path.dirname(path)) != "tmp"]


async def test_a_fault_in_a_batch_leaves_no_file_that_nobody_was_told_of(
    store: MaildirStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(path: str) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(files, "fsync_dir", fault)
    results = await put(store, Target(account=ANNA), Target(account=BERTA))
    assert all(isinstance(result, StorageFailure) for result in results)
    assert not message_files(tmp_path)


# -- journals ----------------------------------------------------------------------------------------------------------


def test_keywords_are_written_again_after_an_append_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keywords = Keywords(str(tmp_path))
    keywords.info(f"k{number}" for number in range(26))
    keywords.journal({"first": frozenset({"k26"})})

    def torn(path: str, data: bytes) -> None:
        with open(path, "ab") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(files, "append_durably", torn)
        keywords.journal({"second": frozenset({"k27"})})
    keywords.journal({"second": frozenset({"k27"}), "third": frozenset({"k28"})})
    again = Keywords(str(tmp_path))
    assert [again.further_of(base) for base in ("first", "second", "third")] == [{"k26"}, {"k27"}, {"k28"}]


async def test_a_flush_that_failed_is_done_again_before_the_stop_is_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(tmp_path, flush_delay=10.0) as store:
        account = await store.open_account(ANNA)
        await put(store, Target(account=ANNA))
        async with account.open(INBOX) as box:
            await box.set_flags([1], FlagChange.ADD, frozenset({SEEN}))

        def full(*args: Any) -> Any:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch, pytest.raises(StorageFailure):
            patch.setattr(flush, "flush_names", full)
            await account.upkeep.flush()
    assert [name for name in os.listdir(anna(tmp_path) / "cur") if name.endswith(":2,S")]


async def test_one_start_after_a_crash_finishes_what_the_indexes_promise(tmp_path: Path) -> None:
    async with open_store(tmp_path, flush_delay=10.0) as store:
        account = await store.open_account(ANNA)
        await put(store, Target(account=ANNA))
        await put(store, Target(account=ANNA))
        async with account.open(INBOX) as box:
            await box.set_flags([1], FlagChange.ADD, frozenset({FLAGGED}))
            await box.expunge([2])
        as_killed(store)
    # Nobody asks for the account, and the next stop is a clean one.
    async with open_store(tmp_path) as store:
        await store.recovered()
    assert (tmp_path / ".server" / "clean").exists()
    (anna(tmp_path) / "index.db").unlink()
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        async with account.open(INBOX) as box:
            assert list(box.table.uids) == [1]
            assert FLAGGED in box.flag_table.sets[box.table.flags[0]]


async def test_a_stop_before_the_journals_were_read_is_not_clean(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.open_account(ANNA)
        as_killed(store)
    async with open_store(tmp_path) as store:
        store._recovery.cancel()
    assert not (tmp_path / ".server" / "clean").exists()


async def test_an_account_that_could_not_be_settled_stays_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(tmp_path, loaded_accounts=1) as store:
        account = await store.open_account(ANNA)
        await put(store, Target(account=ANNA))

        async def refuse() -> bool:
            return False

        with monkeypatch.context() as patch:
            patch.setattr(account, "settle", refuse)
            await store.open_account(BERTA)
        assert store.context.accounts.get(ANNA) is account


async def test_many_files_are_taken_in_slice_by_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(tmp_path) as store:
        for number in range(10):
            flags = frozenset({SEEN}) if number % 2 else frozenset()
            await put(store, Target(account=ANNA, flags=flags))
    (anna(tmp_path) / "index.db").unlink()
    (anna(tmp_path) / "cur" / "1000000000.stranger:2,F").write_bytes(MESSAGE)
    monkeypatch.setattr(sync, "_ADOPTED_AT_ONCE", 3)
    async with open_store(tmp_path) as store, (await store.open_account(ANNA)).open(INBOX) as box:
        assert list(box.table.uids) == list(range(1, 12))
        found = [box.flag_table.sets[number] for number in box.table.flags]
        seen = {uid: frozenset({SEEN} if uid % 2 == 0 else ()) for uid in range(1, 11)}
        assert dict(zip(box.table.uids, found, strict=True)) == seen | {11: frozenset({FLAGGED})}
        assert all(modseq <= box.highest_modseq for modseq in box.table.modseqs)


async def test_nothing_is_read_from_a_deleted_mailbox(store: MaildirStore) -> None:
    account = await store.open_account(ANNA)
    await account.create("x")
    await put(store, Target(account=ANNA, mailbox="x"))
    async with account.open("x") as box:
        await account.delete("x")
        await account.create("y")
        await put(store, Target(account=ANNA, mailbox="y"))
        await account.status("y")
        with pytest.raises(NotFound):
            await box.rendered([1], [Rendered.ENVELOPE])
        with pytest.raises(NotFound):
            await anext(aiter(box.read_many([1])))


# -- names of strangers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", ["S=20,W=99999999999999999999", "S=20,W=5000000000", "S=99999999999999999999"])
async def test_sizes_that_cannot_be(store: MaildirStore, tmp_path: Path, fields: str) -> None:
    account = await store.open_account(ANNA)
    (anna(tmp_path) / "new" / f"1700000000.M1P1.host,{fields}").write_bytes(MESSAGE)
    assert len(MESSAGE) == 20
    async with account.open(INBOX) as box:
        assert list(box.table.sizes) == [len(MESSAGE)]


async def test_a_removed_account_that_comes_back_has_other_uidvalidities(tmp_path: Path) -> None:
    """Removed and made again within the same second, or when its folders were many."""
    seen: set[int] = set()
    for _ in range(2):
        async with open_store(tmp_path) as store:
            for _ in range(2):
                account = await store.open_account(ANNA)
                await account.create("Another")
                validities = {folder.state.uid_validity for folder in account.folders.values()}
                assert len(validities) == len(account.folders) and not validities & seen
                seen |= validities
                await store.remove_account(ANNA)


async def test_keywords_of_removed_messages_leave_the_journal(store: MaildirStore, tmp_path: Path) -> None:
    account = await store.open_account(ANNA)
    async with account.open(INBOX) as box:
        await put(store, Target(account=ANNA))
        await put(store, Target(account=ANNA))
        await box.set_flags([1, 2], FlagChange.ADD, frozenset({f"$k{number}" for number in range(30)}))
        await account.upkeep.flush()
        bases = [path.name.partition(":")[0] for path in sorted((anna(tmp_path) / "cur").iterdir(), key=uid_of)]
        assert all(len(Keywords(str(anna(tmp_path))).further_of(base)) == 4 for base in bases)
        await box.expunge([1])
        await account.upkeep.flush()
    assert [len(Keywords(str(anna(tmp_path))).further_of(base)) for base in bases] == [0, 4]


@pytest.mark.parametrize("where", ["rename", "unlink", "link_or_copy"])
async def test_io_errors_of_flushes_and_copies_count(
    store: MaildirStore, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "the disk fails")

    account = await store.open_account(ANNA)
    await put(store, Target(account=ANNA))
    async with account.open(INBOX) as box:
        if where == "unlink":
            await box.expunge([1])
        else:
            await box.set_flags([1], FlagChange.ADD, frozenset({SEEN}))
        with monkeypatch.context() as patch:
            patch.setattr(files if where == "link_or_copy" else os, where, broken)
            for _ in range(2):
                with pytest.raises(StorageFailure):
                    await (box.copy([1], "Archive") if where == "link_or_copy" else account.upkeep.flush())
    assert store.faults.broken and store.faults.count >= 2


async def test_io_errors_of_the_index_count(store: MaildirStore) -> None:
    account = await store.open_account(ANNA)

    def broken(db: Any) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
        raise error

    for _ in range(2):
        with pytest.raises(StorageFailure):
            account.upkeep.index.run(broken)
    assert store.faults.broken


async def test_a_mailbox_that_is_deleted_while_its_messages_move_to_cur(store: MaildirStore) -> None:
    account = await store.open_account(ANNA)
    await account.create("Gone")

    async def opened() -> None:
        async with account.open("Gone"):
            pass

    with capture_logs() as logs:
        # The move waits for its turn behind the deletion, and there is nothing left to move by then.
        await asyncio.gather(opened(), account.delete("Gone"))
        await store.context.drain()
    assert logs == []
