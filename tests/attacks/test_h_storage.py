"""ATTACKS §2 H: storage. H01 and H09 are in tests/crash, with the same names."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mailserver.model.errors import MailError, NotFound, OverQuota, StorageFailure
from mailserver.model.flags import DELETED, FLAGGED, SEEN, FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, Rendered, Stored
from mailserver.net import files
from mailserver.ports.clock import SystemClock
from mailserver.ports.store import Mailbox, Target
from mailserver.storage.maildir import tree
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings

ANNA = AccountId("anna@example.test")


def message(name: str) -> bytes:
    return b"Subject: %b\r\n\r\nbody of %b\r\n" % (name.encode(), name.encode())


def open_store(root: Path) -> MaildirStore:
    return MaildirStore(root, StorageSettings(), "mx.example.test", SystemClock())


async def deliver(store: MaildirStore, *names: str, mailbox: str = INBOX) -> list[int]:
    uids = []
    for name in names:
        async with store.begin() as content:
            await content.write(message(name))
            (result,) = await store.commit(content, [Target(account=ANNA, mailbox=mailbox)])
        assert isinstance(result, Stored), result
        uids.append(result.uid)
    return uids


async def subjects(box: Mailbox) -> dict[int, str]:
    out = {}
    async for batch in box.read_many(list(box.table.uids)):
        for uid, data in batch:
            out[uid] = data.split(b"\n")[0].removeprefix(b"Subject: ").strip().decode()
    return out


def flags(box: Mailbox, uid: int) -> frozenset[str]:
    return box.flag_table.sets[box.table.flags[box.table.find(uid)]]


def inbox_path(root: Path) -> Path:
    return root / "example.test" / "anna"


def put(root: Path, name: bytes, data: bytes) -> None:
    """A message of another program, in cur/ of INBOX."""
    (inbox_path(root) / "cur" / os.fsdecode(name)).write_bytes(data)


def message_files(folder: Path) -> list[Path]:
    return sorted(path for sub in ("new", "cur") for path in (folder / sub).iterdir())


@asynccontextmanager
async def inbox_with(root: Path, *names: str) -> AsyncIterator[tuple[MaildirStore, Mailbox]]:
    async with open_store(root) as store:
        account = await store.open_account(ANNA)
        await deliver(store, *names)
        async with account.open(INBOX) as box:
            yield store, box


# -- H03 -------------------------------------------------------------------------------------------------------------


async def test_h03_a_file_renamed_under_a_fetch_is_found_by_its_base(tmp_path: Path) -> None:
    async with inbox_with(tmp_path, "one", "two") as (_, box):
        await box.rendered([1, 2], [Rendered.ENVELOPE])
        for path in message_files(inbox_path(tmp_path)):
            path.rename(inbox_path(tmp_path) / "cur" / (path.name.split(":")[0] + ":2,RS"))
        assert await subjects(box) == {1: "one", 2: "two"}
        assert await box.read(1, 9, 3) == b"one"
        before = box.highest_modseq
        await box.refresh()
        assert flags(box, 1) == {SEEN, "\\Answered"} and box.highest_modseq > before
        assert box.flags_changed_since(before) == [1, 2]


async def test_h03_a_file_deleted_under_a_fetch_is_expunged_and_its_uid_is_not_used_again(tmp_path: Path) -> None:
    async with inbox_with(tmp_path, "one", "two") as (store, box):
        two = next(path for path in message_files(inbox_path(tmp_path)) if ",U=2," in path.name)
        generation, modseq = box.table.generation, box.highest_modseq
        two.unlink()
        assert await subjects(box) == {1: "one"}
        with pytest.raises(NotFound):
            await box.read(2)
        await box.refresh()
        assert list(box.table.uids) == [1]
        assert list(box.expunged_since(generation) or []) == [2]
        assert list((await box.changes_since(modseq)).vanished) == [2]
        assert await deliver(store, "three") == [3]


async def test_h03_a_flag_changed_by_us_and_by_another_program(tmp_path: Path) -> None:
    async with inbox_with(tmp_path, "one") as (_, box):
        await box.set_flags([1], FlagChange.ADD, frozenset({FLAGGED}))
        (path,) = message_files(inbox_path(tmp_path))
        path.rename(inbox_path(tmp_path) / "cur" / (path.name.split(":")[0] + ":2,S"))
        await box.refresh()
        # Ours was answered and is not yet in a name, so it is the newer one.
        assert flags(box, 1) == {FLAGGED}
    async with open_store(tmp_path) as store, (await store.open_account(ANNA)).open(INBOX) as box:
        assert flags(box, 1) == {FLAGGED}
        (path,) = message_files(inbox_path(tmp_path))
        assert path.name.endswith(":2,F")


async def test_h03_a_truncated_file_is_served_as_it_is(tmp_path: Path) -> None:
    async with inbox_with(tmp_path, "one", "two") as (_, box):
        path = message_files(inbox_path(tmp_path))[0]
        path.write_bytes(b"Subject: on")
        assert sorted((await subjects(box)).values()) in (["on", "two"], ["on", "one"])


async def test_h03_a_message_that_comes_back_gets_a_new_uid(tmp_path: Path) -> None:
    async with inbox_with(tmp_path, "one", "two") as (_, box):
        path = message_files(inbox_path(tmp_path))[0]
        kept = path.read_bytes()
        path.unlink()
        await box.refresh()
        path.write_bytes(kept)
        await box.refresh()
        assert list(box.table.uids) in ([2, 3], [1, 3]), "clients were told that the old UID is gone"


# -- H04 -------------------------------------------------------------------------------------------------------------


async def test_h04_what_is_no_regular_file_is_not_there(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(message("secret"))
    async with inbox_with(tmp_path / "data", "one") as (store, box):
        folder = inbox_path(tmp_path / "data")
        for sub in ("new", "cur", "tmp"):
            (folder / sub / "1700000000.link.host").symlink_to(secret)
            os.mkfifo(folder / sub / "1700000000.fifo.host")
            (folder / sub / "1700000000.directory.host").mkdir()
            (folder / sub / "1700000000.empty.host").touch()
        await box.refresh()
        assert await subjects(box) == {1: "one"}
        assert await deliver(store, "two") == [2]
    async with open_store(tmp_path / "data") as store, (await store.open_account(ANNA)).open(INBOX) as box:
        assert sorted((await subjects(box)).values()) == ["one", "two"]
    assert secret.read_bytes() == message("secret") and (folder / "cur" / "1700000000.link.host").is_symlink()


async def test_h04_a_message_that_becomes_a_symlink_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(message("secret"))
    async with inbox_with(tmp_path / "data", "one") as (_, box):
        await box.rendered([1], [Rendered.ENVELOPE])
        (path,) = message_files(inbox_path(tmp_path / "data"))
        path.unlink()
        path.symlink_to(secret)
        with pytest.raises(NotFound):
            await box.read(1)
        assert await subjects(box) == {}


# -- H05 -------------------------------------------------------------------------------------------------------------

NAMES = st.binary(min_size=1, max_size=200).filter(
    lambda name: not (set(name) & {0, 47} or name.startswith(b".") or name in (b".", b".."))
)


@hypothesis_settings(max_examples=25)
@given(st.lists(NAMES, min_size=1, max_size=6, unique_by=lambda name: name.split(b":")[0]))
def test_h05_odd_names_are_served(tmp_path_factory: pytest.TempPathFactory, names: list[bytes]) -> None:
    root = tmp_path_factory.mktemp("odd")

    async def scenario() -> None:
        async with open_store(root) as store:
            await store.open_account(ANNA)
        for number, name in enumerate(names):
            put(root, name, message(f"m{number}"))
        for _ in range(2):
            async with open_store(root) as store, (await store.open_account(ANNA)).open(INBOX) as box:
                assert sorted((await subjects(box)).values()) == sorted(f"m{number}" for number in range(len(names)))
                assert list(box.table.uids) == list(range(1, len(names) + 1))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "name",
    [
        b"1700000000.1.host", b"1700000000.1.host:2,", b"1700000000.1.host:2,XYZ", b"1700000000.1.host:1,S",
        b"1700000000.1.host:2,SS,extra", b"\xff\xfe\xfd", b"with\nnewline", b"x" * 255, b"," * 200, b"a,U=5,V=1:2,S",
        b"a,U=99999999999999999999,V=ffffffffffffffffffff", b"a,S=-1,U=+5,V=0x1", b"a,S=1,S=2",
        "🎉,S=1".encode(), "\u0663,U=\u0663,V=1".encode(),
    ],
)  # fmt: skip
async def test_h05_names_of_the_wild(tmp_path: Path, name: bytes) -> None:
    async with open_store(tmp_path) as store:
        await store.open_account(ANNA)
    put(tmp_path, name, message("odd"))
    for _ in range(2):
        async with open_store(tmp_path) as store, (await store.open_account(ANNA)).open(INBOX) as box:
            assert await subjects(box) == {1: "odd"}
            await box.set_flags([1], FlagChange.ADD, frozenset({FLAGGED}))
            assert FLAGGED in flags(box, 1)


async def test_h05_two_files_of_one_base_are_two_messages_and_two_links_are_one(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.open_account(ANNA)
    folder = inbox_path(tmp_path)
    (folder / "cur" / "1700000000.1.host:2,S").write_bytes(message("one"))
    (folder / "new" / "1700000000.1.host").write_bytes(message("two"))
    (folder / "cur" / "1700000001.1.host:2,S").write_bytes(message("three"))
    os.link(folder / "cur" / "1700000001.1.host:2,S", folder / "cur" / "1700000001.1.host:2,FS")
    async with open_store(tmp_path) as store, (await store.open_account(ANNA)).open(INBOX) as box:
        await box.refresh()
        assert sorted(set((await subjects(box)).values())) == ["one", "three", "two"]
        assert len(box.table) == 3


async def test_h05_two_files_that_claim_one_uid(tmp_path: Path) -> None:
    async with inbox_with(tmp_path, "one") as (_, box):
        validity = box.uid_validity
    folder = inbox_path(tmp_path)
    for index in folder.glob("index.db*"):
        index.unlink()
    (folder / "cur" / f"0700000000.first.host,U=1,V={validity:x}:2,").write_bytes(message("impostor"))
    async with open_store(tmp_path) as store, (await store.open_account(ANNA)).open(INBOX) as box:
        assert await subjects(box) == {1: "impostor", 2: "one"}, "the lower name keeps it"


# -- H06 -------------------------------------------------------------------------------------------------------------


@hypothesis_settings(max_examples=30)
@given(st.data())
def test_h06_a_damaged_state_file_costs_no_uid(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("state")

    async def scenario() -> None:
        async with inbox_with(root, "one", "two", "three") as (_, box):
            await box.expunge([3])
            validity, modseq = box.uid_validity, box.highest_modseq
        state = inbox_path(root) / "mailserver-folder"
        whole = state.read_bytes()
        at = data.draw(st.integers(0, len(whole) - 1))
        kind = data.draw(st.sampled_from(["cut", "flip", "delete", "empty"]))
        if kind == "delete":
            state.unlink()
        elif kind == "flip":
            state.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[at + 1 :])
        else:
            state.write_bytes(whole[:at] if kind == "cut" else b"")
        async with open_store(root) as store, (await store.open_account(ANNA)).open(INBOX) as box:
            assert (box.uid_validity, await subjects(box)) == (validity, {1: "one", 2: "two"})
            assert box.highest_modseq >= modseq
            assert (await deliver(store, "four"))[0] > 3, "the UID of an expunged message is not given again"

    asyncio.run(scenario())


async def test_h06_state_and_messages_lost_gives_a_new_uidvalidity(tmp_path: Path) -> None:
    async with inbox_with(tmp_path, "one") as (_, box):
        validity = box.uid_validity
    folder = inbox_path(tmp_path)
    (folder / "mailserver-folder").unlink()
    message_files(folder)[0].unlink()
    async with open_store(tmp_path) as store, (await store.open_account(ANNA)).open(INBOX) as box:
        assert box.uid_validity > validity and not len(box.table)


async def test_h06_the_last_uids_are_refused_not_repeated(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        folder = (await store.open_account(ANNA)).folders[INBOX]
        folder.next_uid = folder.visible_next = folder.state.uid_floor = 2**32 - 2
        assert await deliver(store, "last") == [2**32 - 2]
        async with store.begin() as content:
            await content.write(message("more"))
            (result,) = await store.commit(content, [Target(account=ANNA)])
        assert isinstance(result, MailError) and not isinstance(result, StorageFailure)
        assert not list((inbox_path(tmp_path) / "tmp").iterdir())


# -- H07 -------------------------------------------------------------------------------------------------------------


def damaged(index: bytes, rng: random.Random) -> bytes:
    out = bytearray(index)
    for _ in range(rng.choice([1, 1, 3, 40])):
        out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


async def check_damaged_index(root: Path, kept: dict[int, str]) -> None:
    async with open_store(root) as store, (await store.open_account(ANNA)).open(INBOX) as box:
        shown = await subjects(box)
        assert sorted(shown.values()) == sorted(kept.values()), "every message is reachable"
        await box.rendered(list(box.table.uids), list(Rendered))
        await box.set_flags(list(box.table.uids), FlagChange.ADD, frozenset({SEEN}))
        assert len(await box.expunge([max(shown)])) == 1


@pytest.mark.parametrize("seed", range(40))
async def test_h07_a_damaged_index_is_made_anew(tmp_path: Path, seed: int) -> None:
    async with inbox_with(tmp_path, *(f"m{number}" for number in range(12))) as (_, box):
        await box.rendered(list(box.table.uids), list(Rendered))
        await box.set_flags([1, 2], FlagChange.ADD, frozenset({SEEN, "$Work"}))
        await box.expunge([3])
        kept = await subjects(box)
    index = inbox_path(tmp_path) / "index.db"
    index.write_bytes(damaged(index.read_bytes(), random.Random(seed)))
    await check_damaged_index(tmp_path, kept)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"not a database at all" * 500])
async def test_h07_no_database_at_all(tmp_path: Path, content: bytes) -> None:
    async with inbox_with(tmp_path, "one", "two") as (_, box):
        await box.set_flags([1], FlagChange.ADD, frozenset({FLAGGED}))
    (inbox_path(tmp_path) / "index.db").write_bytes(content)
    async with open_store(tmp_path) as store, (await store.open_account(ANNA)).open(INBOX) as box:
        assert await subjects(box) == {1: "one", 2: "two"}
        assert flags(box, 1) == {FLAGGED}


async def test_h07_damaged_while_it_is_in_use(tmp_path: Path) -> None:
    async with inbox_with(tmp_path, "one", "two", "three") as (store, box):
        await box.rendered([1, 2, 3], [Rendered.ENVELOPE])
        await box.set_flags([1], FlagChange.ADD, frozenset({FLAGGED, "$Work"}))
        await box.expunge([3])
        account = await store.open_account(ANNA)
        account.upkeep.index.close()
        path = inbox_path(tmp_path) / "index.db"
        path.write_bytes(path.read_bytes()[:4096] + os.urandom(8192))
        # The table in memory knows what no name says yet.
        await box.set_flags([2], FlagChange.ADD, frozenset({DELETED}))
        assert [flags(box, uid) for uid in (1, 2)] == [{FLAGGED, "$Work"}, {DELETED}]
        assert await subjects(box) == {1: "one", 2: "two"}
    async with open_store(tmp_path) as store, (await store.open_account(ANNA)).open(INBOX) as box:
        assert await subjects(box) == {1: "one", 2: "two"}
        assert [flags(box, uid) for uid in (1, 2)] == [{FLAGGED, "$Work"}, {DELETED}]


async def test_h07_a_flipped_bit_in_a_rendered_piece_is_noticed(tmp_path: Path) -> None:
    async with inbox_with(tmp_path, "one") as (_, box):
        good = await box.rendered([1], [Rendered.ENVELOPE])
        with sqlite3.connect(inbox_path(tmp_path) / "index.db") as db:
            db.execute("UPDATE rendered_envelope SET piece = X'0D0A'")
        db.close()
        assert await box.rendered([1], [Rendered.ENVELOPE]) == good


# -- H08 -------------------------------------------------------------------------------------------------------------


async def test_h08_parallel_appends_at_the_edge_of_the_quota(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        await account.set_quota(len(message("m00")) * 7, 0)

        async def append(number: int) -> bool:
            async with store.begin() as content:
                await content.write(message(f"m{number:02}"))
                try:
                    await store.commit_all(ANNA, [(content, Target(account=ANNA, into_new=False))])
                except OverQuota:
                    return False
            return True

        stored = await asyncio.gather(*(append(number) for number in range(20)))
        assert sum(stored) == 7
        usage = await account.quota()
        assert (usage.octets, usage.messages) == (usage.octets_limit, 7)


async def test_h08_what_failed_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        real = files.fsync_dir

        def refuse(path: str) -> None:
            if path.endswith("/new"):
                raise OSError(28, "no room")
            real(path)

        monkeypatch.setattr(files, "fsync_dir", refuse)
        async with store.begin() as content:
            await content.write(message("one"))
            (result,) = await store.commit(content, [Target(account=ANNA)])
        assert isinstance(result, StorageFailure) and result.status == "4.3.1"
        assert (await account.quota()).messages == 0 and not message_files(inbox_path(tmp_path))


# -- H10 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [0, 1, 7, 14, 15])
async def test_h10_a_tree_is_renamed_wholly_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    """The kill at each call is in tests/crash; here the tree is wide, and the crash comes after `when` renames."""
    children = [f"A/{number}" for number in range(14)]
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        for name in children:
            await account.create(name)
        await deliver(store, "one", mailbox="A/3")
    path = os.fspath(inbox_path(tmp_path))
    pairs = [(f".{name.replace('/', '.')}", f".B{name[1:].replace('/', '.')}") for name in ["A", *children]]
    done = 0

    class Crash(BaseException):
        pass

    real = os.rename

    def rename(old: str, new: str) -> None:
        nonlocal done
        if "/.A" in old:
            if done == when:
                raise Crash
            done += 1
        real(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        # What a killed process would not do either.
        patch.setattr(files, "remove_file", lambda path: False)
        if when < len(pairs):
            with pytest.raises(Crash):
                tree.rename_directories(path, pairs)
        else:
            tree.rename_directories(path, pairs)
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        names = {info.name for info in await account.list_mailboxes()} - {"Archive"}
        assert {name for name in names if name[0] in "AB"} == {"B", *(f"B{child[1:]}" for child in children)}
        async with account.open("B/3") as box:
            assert await subjects(box) == {1: "one"}
    assert not (inbox_path(tmp_path) / tree.INTENT).exists()


async def test_h10_a_thousand_children(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        path = inbox_path(tmp_path)
        await account.create("A")
        template = path / ".A"
        for number in range(1000):
            child = path / f".A.{number}"
            for sub in ("cur", "new", "tmp"):
                (child / sub).mkdir(parents=True)
            (child / "maildirfolder").touch()
        assert template.is_dir()
    async with open_store(tmp_path) as store:
        account = await store.open_account(ANNA)
        await account.rename("A", "Z")
        names = {info.name for info in await account.list_mailboxes()}
        assert sum(name.startswith("Z/") for name in names) == 1000 and "A" not in names


# -- H13 -------------------------------------------------------------------------------------------------------------


def modes(paths: Iterable[Path]) -> set[tuple[str, int]]:
    return {("d" if path.is_dir() else "f", stat.S_IMODE(path.lstat().st_mode)) for path in paths}


async def test_h13_nothing_is_open_to_others(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with inbox_with(tmp_path / "data", "one", "two") as (store, box):
            account = await store.open_account(ANNA)
            await box.set_flags([1], FlagChange.ADD, frozenset({SEEN, "$Work"}))
            await account.create("A/b")
            await account.subscribe("A", True)
            await box.copy([1], "A")
            await box.move([2], "A/b")
            await account.rename("A", "B")
            async with store.begin() as content:
                await content.write(b"x" * (2 << 20))
                await store.commit(content, [Target(account=ANNA)])
            assert modes((tmp_path / "data").rglob("*")) == {("d", 0o700), ("f", 0o600)}
        assert modes([tmp_path / "data", *(tmp_path / "data").rglob("*")]) == {("d", 0o700), ("f", 0o600)}
    finally:
        os.umask(old)
