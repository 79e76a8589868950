"""What messages and mailboxes keep for life, and what each copy has of its own (RFC 8474, RFC 8514)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailserver.model.mailbox import INBOX, Rendered
from mailserver.ports.clock import SystemClock
from mailserver.ports.store import Mailbox, Target
from tests.contracts.stores import Harness, OpenStore
from tests.contracts.test_store import ANNA, MESSAGE, append, deliver

_IDS = [Rendered.EMAILID, Rendered.THREADID]
_OBJECT_ID = re.compile(rb"\([A-Za-z][A-Za-z0-9_-]{1,254}\)")


async def ids(box: Mailbox) -> list[tuple[bytes, ...]]:
    found = await box.rendered(list(box.table.uids), _IDS)
    return [tuple(found[uid]) for uid in box.table.uids]


async def test_copies_have_the_ids_of_their_originals(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await deliver(harness.store)
    await deliver(harness.store, data=b"Message-ID: <a@b>\r\n\r\nother\r\n")
    # A file with bare LF is presented, and named, as if it had CRLF.
    await deliver(harness.store, data=MESSAGE.replace(b"\r\n", b"\n"))
    async with account.open(INBOX) as inbox, account.open("Archive") as archive, account.open("Trash") as trash:
        original = await ids(inbox)
        assert original[0] == original[2] != original[1]
        assert all(_OBJECT_ID.fullmatch(one) for pair in original for one in pair)
        assert len({one for pair in original for one in pair}) == 4
        await inbox.copy([1, 2], "Archive")
        await inbox.move([2, 3], "Trash")
        assert await ids(archive) == original[:2]
        assert await ids(trash) == original[1:]
        assert await ids(inbox) == original[:1]


async def test_a_mailbox_keeps_its_id_through_renames(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    made = await account.create("One")
    assert re.fullmatch(r"F[A-Za-z0-9_-]{1,254}", made.mailbox_id)
    await account.rename("One", "Two")
    assert (await account.status("Two")).mailbox_id == made.mailbox_id
    again = await account.create("One")
    assert again.mailbox_id != made.mailbox_id
    # RFC 8474 §4: INBOX stays, and what is made of it is new.
    inbox = (await account.status(INBOX)).mailbox_id
    await account.rename(INBOX, "Old mail")
    assert (await account.status(INBOX)).mailbox_id == inbox
    assert (await account.status("Old mail")).mailbox_id not in (inbox, made.mailbox_id, again.mailbox_id)


def _forget_indexes(path: Path) -> None:
    for file in path.rglob("index.db*"):
        file.unlink()


async def test_ids_and_save_dates_survive_the_index(
    open_store: OpenStore, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if "memory" in request.node.name:
        pytest.skip("the memory store forgets, as it should")
    async with open_store() as harness:
        await deliver(harness.store, count=2)
        account = await harness.store.open_account(ANNA)
        async with account.open(INBOX) as inbox:
            await inbox.copy([1], INBOX)
            known, saved = await ids(inbox), list(inbox.table.saved)
    _forget_indexes(tmp_path)
    async with open_store() as harness:
        account = await harness.store.open_account(ANNA)
        async with account.open(INBOX) as inbox:
            assert await ids(inbox) == known
            assert list(inbox.table.saved) == saved


async def test_the_save_date_is_that_of_the_mailbox(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_900_000_000.0
    monkeypatch.setattr(SystemClock, "time", lambda _: now)
    account = await harness.store.open_account(ANNA)
    await append(harness.store, Target(account=ANNA, into_new=False, date=1_000_000_000))
    await append(harness.store, Target(account=ANNA, date=1_000_000_001))
    async with account.open(INBOX) as inbox, account.open("Archive") as archive:
        assert list(inbox.table.saved) == [1_900_000_000] * 2
        now += 100
        await inbox.copy([1], "Archive")
        now += 100
        await inbox.move([2], "Archive")
        assert list(archive.table.dates) == [1_000_000_000, 1_000_000_001]
        assert list(archive.table.saved) == [1_900_000_100, 1_900_000_200]
        assert list(inbox.table.saved) == [1_900_000_000]
