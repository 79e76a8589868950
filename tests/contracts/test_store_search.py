"""What SEARCH asks of a store: pieces by what is in them, and messages by a test."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, Rendered
from mailserver.ports.clock import SystemClock
from mailserver.ports.store import Mailbox, MailStore, Target
from mailserver.storage.maildir import mailbox_reading
from mailserver.storage.maildir.mailbox import MaildirMailbox
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.contracts.stores import Harness

ANNA = AccountId("anna@example.test")


async def _deliver(store: MailStore, *subjects: str) -> None:
    for subject in subjects:
        async with store.begin() as content:
            await content.write(f"Subject: {subject}\r\n\r\nbody of {subject}\r\n".encode())
            await store.commit(content, [Target(account=ANNA)])


async def _sifted(box: Mailbox, sizes: dict[int, int], octets: bytes) -> list[int]:
    out = []
    async for batch in box.sift(sizes, lambda uid, data: octets in data):
        assert batch
        out += batch
    return out


async def test_pieces_with_octets(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as box:
        await _deliver(harness.store, "apple", "pear", "pineapple", "apple")
        found = await box.rendered_with([1, 2, 3, 4, 77], Rendered.SEARCH_HEADERS, b"apple")
        assert found == {uid: (await box.rendered([uid], [Rendered.SEARCH_HEADERS]))[uid][0] for uid in (1, 3, 4)}
        assert list(await box.rendered_with([2, 3], Rendered.SEARCH_HEADERS, b"apple")) == [3]
        assert list(await box.rendered_with([1, 2], Rendered.SEARCH_HEADERS, b"")) == [1, 2]
        assert await box.rendered_with([], Rendered.SEARCH_HEADERS, b"apple") == {}
        await box.expunge([1])
        await _deliver(harness.store, "apple")
        assert sorted(await box.rendered_with([1, 2, 3, 4, 5], Rendered.SEARCH_HEADERS, b"apple")) == [3, 4, 5]


async def test_pieces_between(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as box:
        await _deliver(harness.store, "apple", "pear", "pineapple", "apple")
        apple, pear, pineapple = [(await box.rendered([uid], [Rendered.SEARCH_HEADERS]))[uid][0] for uid in (1, 2, 3)]
        between = functools.partial(box.rendered_between, field=Rendered.SEARCH_HEADERS)
        assert await between([1, 2, 3, 4, 77], first=apple, end=pineapple) == {1, 2, 4}
        assert await between([1, 2, 3, 4], first=pear, end=pear) == set()
        assert await between([2, 3], first=b"", end=b"\xff") == {2, 3}
        assert await between([], first=b"", end=b"\xff") == set()
        await box.copy([2, 3], INBOX)
        await box.expunge([1, 2])
        await _deliver(harness.store, "apple")
        assert await between(range(1, 20), first=apple, end=pineapple) == {4, 5, 7}


async def test_messages_that_pass_a_test(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as box:
        await _deliver(harness.store, "apple", "pear", "pineapple")
        whole = {1: 100, 2: 100, 3: 100, 77: 100}
        assert await _sifted(box, whole, b"body of") == [1, 2, 3]
        assert await _sifted(box, whole, b"apple") == [1, 3]
        # No more is read than was asked for.
        assert await _sifted(box, {1: 14, 3: 14}, b"apple") == [1]
        assert await _sifted(box, {}, b"apple") == []
        await box.expunge([1])
        assert await _sifted(box, whole, b"apple") == [3]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MaildirStore]:
    async with MaildirStore(tmp_path, StorageSettings(), "mx.example.test", SystemClock()) as opened:
        yield opened


async def test_pieces_that_are_not_made_yet_or_harmed(store: MaildirStore) -> None:
    account = await store.open_account(ANNA)
    async with account.open(INBOX) as box:
        await _deliver(store, "apple", "pear", "pineapple")
        every = [1, 2, 3]
        assert isinstance(box, MaildirMailbox)
        index = account.upkeep.index
        await box.rendered(every, [Rendered.SEARCH_HEADERS])
        index.run(lambda db: db.execute("DELETE FROM rendered_search_headers WHERE key & 0xffff = 1"))
        assert sorted(await box.rendered_with(every, Rendered.SEARCH_HEADERS, b"apple")) == [1, 3]
        damage = "UPDATE rendered_search_headers SET piece = CAST('apple' AS BLOB) WHERE key & 0xffff = 2"
        index.run(lambda db: db.execute(damage))
        assert sorted(await box.rendered_with(every, Rendered.SEARCH_HEADERS, b"apple")) == [1, 3]
        index.run(lambda db: db.execute("UPDATE rendered_search_headers SET piece = 'apple' WHERE key & 0xffff = 3"))
        assert sorted(await box.rendered_with(every, Rendered.SEARCH_HEADERS, b"apple")) == [1, 3]


async def test_messages_with_bare_line_feeds_and_those_that_moved(store: MaildirStore, tmp_path: Path) -> None:
    account = await store.open_account(ANNA)
    directory = tmp_path / "example.test" / "anna" / "cur"
    (directory / "1.foreign.host:2,").write_bytes(b"Subject: a\n\nline\nneedle\n")
    async with account.open(INBOX) as box:
        await box.refresh()
        await _deliver(store, "needle")
        assert await _sifted(box, {1: 100, 2: 100}, b"needle") == [1, 2]
        assert await _sifted(box, {1: 100}, b"line\r\nneedle") == [1]
        (file,) = [name for name in os.listdir(directory) if "U=1," in name]
        os.rename(directory / file, directory / (file + "S"))
        assert await _sifted(box, {1: 100, 2: 100}, b"needle") == [1, 2]
        (gone,) = [path for path in (directory, directory.parent / "new") for n in os.listdir(path) if "U=2," in n]
        for name in os.listdir(gone):
            if "U=2," in name:
                os.remove(gone / name)
        assert await _sifted(box, {1: 100, 2: 100}, b"needle") == [1]


async def test_what_is_sifted_is_read_in_slices(store: MaildirStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """ATTACKS I10: no thread is kept by one search, and one that nobody waits for any more ends."""
    asked: list[int] = []

    def counting(*args: object, **kwargs: object) -> tuple[list[int], int]:
        uids = args[2]
        assert isinstance(uids, list | range)
        asked.append(len(uids))
        return list(uids[:2]), 2

    account = await store.open_account(ANNA)
    async with account.open(INBOX) as box:
        await _deliver(store, *"abcdef")
        monkeypatch.setattr(mailbox_reading, "sift_batch", counting)
        batches = box.sift(dict.fromkeys(range(1, 7), 10), lambda uid, data: True)
        assert await anext(batches) == [1, 2]
        assert await anext(batches) == [3, 4]
        await batches.aclose()
    assert asked == [6, 4]
