"""ATTACKS H06, H07: what stands beside the mail may be damaged in any way; no message is lost or renumbered for it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mailserver.model.errors import StorageFailure
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import Stored
from mailserver.ports.store import Target
from mailserver.storage.maildir.folder_state import MAX_UID
from mailserver.storage.maildir.repair import maintenance
from mailserver.storage.maildir.repair.findings import Severity
from tests.helpers.daemon import DOMAIN, PASSWORD, Daemon
from tests.helpers.damage import flip, state_field
from tests.helpers.imap import Closed, Imap
from tests.helpers.maildir import ANNA, Seen, account_dir, fill, open_store, see

WORK = ".Work"
few = settings(max_examples=25, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Seen]]]:
    data = tmp_path_factory.mktemp("healthy") / "maildir"
    asyncio.run(fill(data))
    # A day old, so that the index is believed without looking at the directories.
    for folder, _, _ in os.walk(account_dir(data)):
        os.utime(folder, (1_700_000_000, 1_700_000_000))
    with quiet():
        yield data, asyncio.run(see(data))


@contextmanager
def quiet() -> Iterator[None]:
    """A damaged file is told in the log, hundreds of times here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        yield
    finally:
        structlog.reset_defaults()


@contextmanager
def copy_of(data: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(shutil.copytree(data, Path(directory, "maildir")))


def bodies(seen: dict[str, Seen]) -> dict[str, list[bytes]]:
    return {name: sorted(body for _, _, body in box.messages.values()) for name, box in seen.items()}


async def rebuilt(data: Path) -> dict[str, Seen]:
    async with open_store(data) as store:
        done = await maintenance.rebuild(store, ANNA, full=True)
        assert [found for found in done.after if found.severity is not Severity.NOTICE] == []
    return await see(data)


changes = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 7)), min_size=1, max_size=8)


def scramble(path: Path, flips: list[tuple[int, int]], cut: int | None) -> None:
    octets = bytearray(path.read_bytes())
    for at, bit in flips:
        if octets:
            octets[at % len(octets)] ^= 1 << bit
    path.write_bytes(octets if cut is None else octets[: cut % (len(octets) + 1)])


def delete_state(account: Path) -> None:
    (account / WORK / "mailserver-folder").unlink()


def empty_state(account: Path) -> None:
    os.truncate(account / WORK / "mailserver-folder", 0)


def flip_state(account: Path) -> None:
    flip(account / WORK / "mailserver-folder", 40)


@pytest.mark.parametrize("damage", [delete_state, empty_state, flip_state])
def test_h06_a_folder_that_lost_its_state_keeps_its_uids(
    healthy: tuple[Path, dict[str, Seen]], damage: Callable[[Path], None]
) -> None:
    """Without any command: the names in the folder tell UIDVALIDITY and UIDs."""
    with copy_of(healthy[0]) as data:
        damage(account_dir(data))
        after = asyncio.run(see(data))
        for name, box in healthy[1].items():
            assert after[name].uid_validity == box.uid_validity
            assert after[name].messages == box.messages


def test_h06_uidvalidity_grows_if_nothing_tells_it(healthy: tuple[Path, dict[str, Seen]]) -> None:
    with copy_of(healthy[0]) as data:
        account = account_dir(data)
        delete_state(account)
        (account / "index.db").unlink()
        for path in (account / WORK / "cur").iterdir():
            path.rename(path.with_name(path.name.partition(",U=")[0] + ":2,"))
        after = asyncio.run(rebuilt(data))
        highest = max(box.uid_validity for box in healthy[1].values())
        assert after["Work"].uid_validity > highest
        assert bodies(after) == bodies(healthy[1])


def test_h06_removed_uids_do_not_come_again_with_the_state_lost(healthy: tuple[Path, dict[str, Seen]]) -> None:
    """The folder is empty, so no name tells: the index does."""
    with copy_of(healthy[0]) as data:
        flip(account_dir(data) / ".Empty" / "mailserver-folder", 40)
        asyncio.run(rebuilt(data))

        async def deliver() -> Stored:
            async with open_store(data) as store, store.begin() as content:
                await content.write(b"Subject: x\r\n\r\n")
                (stored,) = await store.commit(content, [Target(account=ANNA, mailbox="Empty")])
                assert isinstance(stored, Stored)
                return stored

        stored = asyncio.run(deliver())
        assert stored.uid_validity == healthy[1]["Empty"].uid_validity
        assert stored.uid > 7


def test_h06_the_last_uid_is_the_end(healthy: tuple[Path, dict[str, Seen]]) -> None:
    with copy_of(healthy[0]) as data:
        state_field(account_dir(data), WORK, "uid_floor", str(MAX_UID))

        async def deliver() -> None:
            async with open_store(data) as store:
                for number in range(3):
                    async with store.begin() as content:
                        await content.write(b"Subject: x\r\n\r\n")
                        (result,) = await store.commit(content, [Target(account=ANNA, mailbox="Work")])
                        assert not isinstance(result, Stored) or (result.uid <= MAX_UID and number == 0)
                        if not isinstance(result, Stored):
                            assert not isinstance(result, StorageFailure)
                assert await maintenance.verify(store, ANNA) == []

        asyncio.run(deliver())
        assert len(asyncio.run(see(data))["Work"].messages) <= len(healthy[1]["Work"].messages) + 1


@few
@given(flips=changes, cut=st.none() | st.integers(0, 1 << 20))
# SQLite takes a file of another format for one that it may only read.
@example(flips=[(18, 0)], cut=None)
@example(flips=[(19, 0)], cut=None)
def test_h07_a_damaged_index_hides_no_message(
    healthy: tuple[Path, dict[str, Seen]], flips: list[tuple[int, int]], cut: int | None
) -> None:
    """The server alone: every message is there. After a rebuild it is all as it was."""
    with copy_of(healthy[0]) as data:
        scramble(account_dir(data) / "index.db", flips, cut)
        after = asyncio.run(see(data))
        assert bodies(after) == bodies(healthy[1])
        assert {name: box.uid_validity for name, box in after.items()} == {
            name: box.uid_validity for name, box in healthy[1].items()
        }
    with copy_of(healthy[0]) as data:
        scramble(account_dir(data) / "index.db", flips, cut)
        assert asyncio.run(rebuilt(data)) == healthy[1]


@few
@given(
    name=st.sampled_from(
        ["mailserver-account", "subscriptions", "mailserver-folder", f"{WORK}/mailserver-folder",
         f"{WORK}/dovecot-keywords", f"{WORK}/keywords.journal", ".Empty/mailserver-folder"]
    ),
    flips=changes,
    cut=st.none() | st.integers(0, 1 << 20),
    index_too=st.booleans(),
)  # fmt: skip
def test_h07_damage_beside_the_mail_loses_no_message(
    healthy: tuple[Path, dict[str, Seen]], name: str, flips: list[tuple[int, int]], cut: int | None, index_too: bool
) -> None:
    with copy_of(healthy[0]) as data:
        scramble(account_dir(data) / name, flips, cut)
        if index_too:
            (account_dir(data) / "index.db").unlink()
        after = asyncio.run(rebuilt(data))
        for box, seen in healthy[1].items():
            assert {uid: message[2] for uid, message in after[box].messages.items()} == {
                uid: message[2] for uid, message in seen.messages.items()
            }
            # An empty folder has nothing but its state and the index.
            assert after[box].uid_validity == seen.uid_validity or (index_too and not seen.messages)


def test_h07_a_lost_index_removes_nothing_that_it_did_not_show(healthy: tuple[Path, dict[str, Seen]]) -> None:
    """The index lost rows, then itself, under an open mailbox: the messages come again, under new UIDs."""
    async def work(data: Path) -> None:
        account = account_dir(data)
        with sqlite3.connect(account / "index.db") as db:
            db.execute("DELETE FROM messages WHERE key % 2")
            db.execute("UPDATE folders SET entries = (SELECT count(*) FROM messages WHERE key >> 32 = number)")
        db.close()
        async with open_store(data) as store:
            opened = await store.open_account(ANNA)
            async with opened.open("Work") as box:
                shown = len(box.table)
                assert shown < len(healthy[1]["Work"].messages)
                await store.context.drain()
                await asyncio.to_thread(opened.upkeep.index.close)
                (account / "index.db").write_bytes(b"nothing" * 100)
                await box.rendered(list(box.table.uids), [])
                await box.changes_since(0)
                await box.refresh()
                assert len(box.table) == len(healthy[1]["Work"].messages)

    with copy_of(healthy[0]) as data:
        asyncio.run(work(data))
        assert bodies(asyncio.run(see(data))) == bodies(healthy[1])


def test_h07_nothing_is_made_for_an_account_that_is_not_there(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_store(tmp_path / "maildir") as store:
            for operation in (maintenance.verify, maintenance.rebuild, maintenance.adopt, maintenance.export):
                with pytest.raises(Exception, match="there is no"):
                    await operation(store, AccountId("nobody@example.test"))

    asyncio.run(work())
    assert not (tmp_path / "maildir" / "example.test").exists()


def test_h07_rebuild_through_the_running_server(daemon: Daemon) -> None:
    """The account's sessions end and can come back, other accounts' stay; exit codes as DESIGN §9 says."""
    anna = f"anna@{DOMAIN}"
    with Imap(daemon.ports["imap"]) as one, Imap(daemon.ports["imap"]) as other:
        one.login(anna, PASSWORD)
        other.login(f"ben@{DOMAIN}", PASSWORD)
        one.append("INBOX", b"Subject: kept\r\n\r\nx\r\n", "(\\Flagged NonJunk)")
        one.ok("SELECT INBOX")
        daemon.command("mailbox", "verify", anna)
        flip(daemon.data / DOMAIN / "anna" / ".Trash" / "mailserver-folder", 40)
        with pytest.raises(AssertionError, match=r"exit 1\n(?s:.*)folder-state-damaged"):
            daemon.command("mailbox", "verify", anna, "--json")
        daemon.command("mailbox", "rebuild", anna)
        daemon.command("mailbox", "verify", anna)
        with pytest.raises((Closed, AssertionError)):
            one.ok("NOOP")
        other.ok("NOOP")
    with Imap(daemon.ports["imap"]) as again:
        again.login(anna, PASSWORD)
        again.ok("SELECT INBOX")
        assert b"NonJunk" in again.ok("FETCH 1 FLAGS").only("FETCH")[0]
