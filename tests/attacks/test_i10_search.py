"""ATTACKS I10: a long SEARCH is made in slices, lets others have their turn, and ends when nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import pytest

from mailserver.imap import slices
from mailserver.imap.search import text
from mailserver.imap.search.evaluate import find
from mailserver.imap.selected import Selected
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import Rendered
from mailserver.ports.store import Target
from mailserver.storage.memory import MemoryStore
from mailserver.storage.memory_mailbox import MemoryMailbox
from mailserver.wire.imap.search_keys import BodyText, HasFlag, Header, Not, Or, SearchKey, Text

ANNA = AccountId("anna@example.test")
COUNT = 60


class _Box:
    """A mailbox of which is counted what a search asks for."""

    def __init__(self, box: MemoryMailbox) -> None:
        self._box = box
        self.asked: list[tuple[str, int]] = []
        self.under_way = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._box, name)

    async def rendered(self, uids: Sequence[int], fields: Sequence[Rendered]) -> Mapping[int, Sequence[bytes]]:
        self.asked.append(("rendered", len(uids)))
        return await self._box.rendered(uids, fields)

    async def rendered_with(self, uids: Sequence[int], field: Rendered, octets: bytes) -> Mapping[int, bytes]:
        self.asked.append(("with", len(uids)))
        return await self._box.rendered_with(uids, field, octets)

    async def sift(self, sizes: Mapping[int, int], test: Callable[[int, bytes], bool]) -> AsyncIterator[list[int]]:
        self.asked.append(("sift", len(sizes)))
        self.under_way.set()
        async for batch in self._box.sift(sizes, test):
            yield batch


@pytest.fixture
async def view() -> AsyncIterator[Selected]:
    async with MemoryStore() as store:
        account = await store.open_account(ANNA)
        for number in range(COUNT):
            async with store.begin() as content:
                await content.write(f"Subject: s{number}\r\n\r\nbody {number}\r\n".encode())
                await store.commit(content, [Target(account=ANNA)])
        async with account.open("INBOX") as box:
            selected = Selected(box, AsyncExitStack(), read_only=False)
            selected.mailbox = _Box(box)  # type: ignore[assignment]
            yield selected


async def _find(view: Selected, key: SearchKey) -> list[int]:
    with ThreadPoolExecutor(1) as workers:
        return list((await find(view, key, workers)).uids)


async def test_text_is_looked_for_in_slices_and_each_message_once(
    view: Selected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "_READ", 10)
    monkeypatch.setattr(text, "_LOOKED_THROUGH", 20)
    box = view.mailbox
    assert isinstance(box, _Box)
    assert await _find(view, BodyText("body 7")) == [8]
    assert box.asked == [("rendered", 10), ("sift", 10)] * 6
    box.asked.clear()
    assert await _find(view, Header("subject", "S7")) == [8]
    assert box.asked == [("with", 20)] * 3
    box.asked.clear()
    # What the index found among headers is not read.
    assert await _find(view, Text("subject: s5")) == [6, *range(51, 61)]
    assert sum(count for what, count in box.asked if what == "sift") == COUNT - 11


async def test_a_search_that_nobody_waits_for_ends(view: Selected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_READ", 10)
    monkeypatch.setattr(slices, "SLICE", -1.0)
    box = view.mailbox
    assert isinstance(box, _Box)
    task = asyncio.create_task(_find(view, BodyText("nothing")))
    await box.under_way.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert box.asked == [("rendered", 10), ("sift", 10)]


async def test_many_keys_let_others_have_their_turn(view: Selected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE", -1.0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    key: SearchKey = Not(HasFlag("\\Seen"))
    for number in range(40):
        key = Or(HasFlag(f"k{number}"), key)
    assert len(await _find(view, key)) == COUNT
    task.cancel()
    assert turns >= 40
