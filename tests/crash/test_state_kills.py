"""H01: annotations, special uses and keys, a MOVE and a REPLACE that are undone, snapshots of tables, the salvage of a
damaged index, the removal of an account: killed at their file operations."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from mailserver.model.errors import StorageFailure
from mailserver.model.flags import FLAGGED, SEEN, FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, SpecialUse
from mailserver.ports.clock import SystemClock
from mailserver.ports.store import Target
from mailserver.storage.maildir import keywords, rows, upkeep
from mailserver.storage.maildir.folder_state import FolderState
from mailserver.storage.maildir.mailbox import MaildirMailbox
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.kills import Begin, Say, Work, run_killed
from tests.helpers.maildir import ANNA, account_dir

BEN = AccountId("ben@example.test")
BODIES = [b"body %d\r\n" % number for number in range(4)]
#: More than there are letters.
WORDS = frozenset({f"$k{number}" for number in range(30)})
LARGE = {"/private/comment": b"x" * 30_000, "/shared/comment": b"new"}


def open_store(root: Path) -> AbstractAsyncContextManager[MaildirStore]:
    settings = StorageSettings(flush_delay=10.0, fill_delay=10.0, watch_interval=60.0)
    return MaildirStore(root, settings, "mx.example.test", SystemClock())


async def put(store: MaildirStore, body: bytes) -> None:
    async with store.begin() as content:
        await content.write(body)
        await store.commit_all(ANNA, [(content, Target(account=ANNA, into_new=False))])


async def prepare(root: Path) -> None:
    async with open_store(root) as store:
        anna = await store.open_account(ANNA)
        for body in BODIES:
            await put(store, body)
        await anna.annotate("Sent", {"/private/comment": b"old"})
        async with anna.open(INBOX) as box:
            await box.set_flags([1, 2, 3, 4], FlagChange.ADD, WORDS)


async def prepare_damage(root: Path) -> None:
    """Answered and not yet in the directory when the process went away, and then the index was damaged."""
    alive = root.with_name("alive")
    await prepare(alive)
    async with open_store(alive) as store:
        async with (await store.open_account(ANNA)).open(INBOX) as box:
            await box.set_flags([1], FlagChange.ADD, frozenset({FLAGGED}))
            await box.expunge([3])
        shutil.copytree(alive, root)
    db = sqlite3.connect(account_dir(root) / "index.db", isolation_level=None)
    db.execute("UPDATE messages SET wire = 'many' WHERE key & 0xFFFFFFFF = 4")
    db.close()


def failing(*_: Any, **__: Any) -> None:
    raise StorageFailure("no room")


def shown(box: MaildirMailbox) -> list[tuple[Any, ...]]:
    uids, _, *columns = box.table.columns()
    return list(zip(uids, [box.flag_table.sets[number] for number in box.table.flags], *columns, strict=True))


async def bodies(box: MaildirMailbox) -> list[bytes]:
    return [await box.read(uid) for uid in box.table.uids]


# -- what is done, and what must be found ------------------------------------------------------------------------------


async def annotate(root: Path, say: Say, begin: Begin) -> None:
    async with open_store(root) as store:
        anna = await store.open_account(ANNA)
        begin()
        await anna.annotate("Sent", LARGE)
        say("mailbox")
        await anna.annotate(None, {"/private/comment": b"mine"})
        say("account")
        await anna.annotate("Sent", dict.fromkeys(LARGE))
        say("removed")
        await anna.set_special_use("Archive", {SpecialUse.SENT})
        say("use")
        await anna.url_key(INBOX, make=True)
        say("key")
        await anna.reset_url_keys(INBOX)
        say("no key")


async def check_annotations(root: Path, said: Sequence[str]) -> None:
    async with open_store(root) as store:
        anna = await store.open_account(ANNA)
        sent, own = dict(await anna.annotations("Sent")), dict(await anna.annotations(None))
        states = [{"/private/comment": b"old"}, LARGE, {}]
        at = ("mailbox" in said) + ("removed" in said)
        assert sent in states[at : at + 2]
        assert own == {"/private/comment": b"mine"} or (own == {} and "account" not in said)
        uses = {name: (await anna.find(name)).special_use for name in ("Sent", "Archive")}
        assert uses["Archive"] == {SpecialUse.SENT} or (uses["Archive"] == {SpecialUse.ARCHIVE} and "use" not in said)
        assert uses["Sent"] == {SpecialUse.SENT} or "removed" in said
        assert uses["Sent"] == set() or "use" not in said
        key = await anna.url_key(INBOX)
        assert key is None or ("use" in said and "no key" not in said)
        assert key is not None or "key" not in said or said[-1] in ("key", "no key")
        assert not list(account_dir(root).glob("**/*.damaged"))


async def undo(root: Path, say: Say, begin: Begin) -> None:
    async with open_store(root) as store:
        anna = await store.open_account(ANNA)
        async with anna.open(INBOX) as inbox:
            begin()
            with mock.patch.object(rows, "remove_messages", failing):
                with suppress(StorageFailure):
                    await inbox.move([1, 2], "Archive")
                say("not moved")
                async with store.begin() as content:
                    await content.write(b"another\r\n")
                    with suppress(StorageFailure):
                        await store.replace(inbox, 3, content, Target(account=ANNA, into_new=False))
                say("not replaced")
            async with store.begin() as content:
                await content.write(b"another\r\n")
                await store.replace(inbox, 3, content, Target(account=ANNA, mailbox="Archive", into_new=False))
            say("replaced")


async def check_undone(root: Path, said: Sequence[str]) -> None:
    async with open_store(root) as store:
        anna = await store.open_account(ANNA)
        async with anna.open(INBOX) as inbox, anna.open("Archive") as archive:
            here, there = await bodies(inbox), await bodies(archive)
            assert len(here) == anna.folders[INBOX].counts.messages  # type: ignore[union-attr]
        assert set(BODIES) - set(here) <= {BODIES[2]}, "nothing left its place"
        assert not set(BODIES) & set(there) or not said
        assert b"another\r\n" not in here or "not replaced" not in said
        assert BODIES[2] in here or b"another\r\n" in there
        assert (BODIES[2] not in here and there == [b"another\r\n"]) or "replaced" not in said


async def snapshot(root: Path, say: Say, begin: Begin) -> None:
    with mock.patch.object(upkeep, "WORTHWHILE", 1), mock.patch.object(keywords, "_SLACK", 0):
        begin()
        async with open_store(root) as store, (await store.open_account(ANNA)).open(INBOX) as box:
            await box.set_flags([1, 2], FlagChange.ADD, frozenset({SEEN}))
            say("flags")
            # Most of the journal is about messages that are gone then, so it is written anew.
            await box.expunge([3, 4])
            say("removal")


async def check_snapshot(root: Path, said: Sequence[str]) -> None:
    found = []
    for _ in range(2):
        async with open_store(root) as store, (await store.open_account(ANNA)).open(INBOX) as box:
            found.append(shown(box))
            flags = {uid: names for uid, names, *_ in found[-1]}
            assert await bodies(box) == [BODIES[uid - 1] for uid in box.table.uids]
        # The second time without anything but the directory.
        for path in account_dir(root).glob("index.db*"):
            path.unlink()
    assert [row[:2] for row in found[0]] == [row[:2] for row in found[1]]
    assert all(words >= WORDS for words in flags.values())
    assert all(SEEN in flags[uid] for uid in (1, 2)) or "flags" not in said
    assert list(flags) in ([1, 2], [1, 2, 3, 4]) and (len(flags) == 2 or "removal" not in said)


async def save(root: Path, say: Say, begin: Begin) -> None:
    begin()
    async with open_store(root) as store, (await store.open_account(ANNA)).open(INBOX) as box:
        await box.set_flags([2], FlagChange.ADD, frozenset({SEEN}))
        say("flags")


async def check_saved(root: Path, said: Sequence[str]) -> None:
    async with open_store(root) as store, (await store.open_account(ANNA)).open(INBOX) as box:
        flags = {uid: names for uid, names, *_ in shown(box)}
        assert list(flags) == [1, 2, 4], "what was removed does not come back"
        assert all(words >= WORDS for words in flags.values())
        assert FLAGGED in flags[1] and (SEEN in flags[2] or not said)


async def remove(root: Path, say: Say, begin: Begin) -> None:
    async with open_store(root) as store:
        await store.open_account(ANNA)
        begin()
        await store.remove_account(ANNA)
        say("removed")
        await store.open_account(ANNA)
        await put(store, b"anew\r\n")
        say("anew")


def validities(root: Path) -> set[int]:
    return {FolderState.load(str(path.parent)).uid_validity for path in account_dir(root).glob("**/mailserver-folder")}


async def check_removed(root: Path, said: Sequence[str]) -> None:
    async with open_store(root) as store, (await store.open_account(ANNA)).open(INBOX) as box:
        found = await bodies(box)
    assert found in ([BODIES, []] if not said else [[], [b"anew\r\n"]])
    assert found == [b"anew\r\n"] or "anew" not in said
    assert found == BODIES or validities(root).isdisjoint(validities(root.with_name("before")))
    assert not [name for name in os.listdir(root / "example.test") if "gone" in name]


@dataclass(frozen=True)
class Case:
    prepare: Callable[[Path], Coroutine[Any, Any, None]]
    work: Work
    check: Callable[[Path, Sequence[str]], Coroutine[Any, Any, None]]


CASES = {
    "annotations": Case(prepare, annotate, check_annotations),
    "undo": Case(prepare, undo, check_undone),
    "snapshot": Case(prepare, snapshot, check_snapshot),
    "damage": Case(prepare_damage, save, check_saved),
    "removal": Case(prepare, remove, check_removed),
}


def everywhere(case: Case, root: Path, step: int) -> None:
    asyncio.run(case.prepare(root / "before"))
    promises: set[int] = set()
    killed, last = True, 0
    while killed:
        copy = root / str(last)
        shutil.copytree(root / "before", copy)
        said, killed = run_killed(copy, case.work, last)
        try:
            asyncio.run(case.check(copy, said))
        except AssertionError as error:
            raise AssertionError(f"killed at operation {last}, after {said}: {error}") from error
        promises.add(len(said))
        shutil.rmtree(copy)
        last += step
    assert promises == set(range(max(promises) + 1)) or step > 1, "the kills fall into every part"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", CASES)
def test_killed_at_some_operations(tmp_path: Path, name: str) -> None:
    everywhere(CASES[name], tmp_path, 9)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", CASES)
def test_killed_at_every_operation(tmp_path: Path, name: str) -> None:
    everywhere(CASES[name], tmp_path, 1)
