"""A plugin with an index takes part in SEARCH: it names messages, and what is similar (RFC 6203)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mailserver.hooks.contexts import SearchAnswer, SearchContext
from mailserver.storage.memory_mailbox import MemoryMailbox
from tests.helpers.imap_service import ImapHarness

TEXTS = ("hello world", "help me", "goodbye", "othello", "hello again")


class Index:
    """Knows whole words of the first four messages, and finds what begins alike."""

    def __init__(self) -> None:
        self.asked: list[SearchContext] = []
        self.answers = True
        self.exact = False

    def search(self, ctx: SearchContext) -> SearchAnswer | None:
        self.asked.append(ctx)
        if not self.answers or ctx.where not in ("BODY", "TEXT", "subject"):
            return None
        if ctx.text == "broken":
            raise ValueError("secret")
        wanted = ctx.text.lower()[:3] if ctx.fuzzy else ctx.text.lower()
        named = {n for n, text in enumerate(TEXTS[:4], 1) if wanted in text}
        scores = {n: 90 if ctx.text.lower() in TEXTS[n - 1] else 10 for n in named}
        # A message that is not there, and one that does not have the text.
        return SearchAnswer(uids=frozenset({3, 77} | named), complete_to=4, exact=self.exact, scores=scores)


@pytest.fixture
async def index() -> Index:
    return Index()


@pytest.fixture
async def server(index: Index) -> AsyncIterator[ImapHarness]:
    harness = ImapHarness()
    harness.registry.search(index.search)
    async with harness as running:
        await running.deliver(*(f"Subject: {text}\r\n\r\n{text}\r\n".encode() for text in TEXTS))
        yield running


async def _found(server: ImapHarness, command: str) -> list[bytes]:
    async with server.client(select="INBOX") as imap:
        response = await imap.ok(command)
        return [line for line in response.untagged if b"SEARCH" in line or b"SORT" in line]


async def test_the_server_verifies_what_a_plugin_names(
    server: ImapHarness, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = MemoryMailbox.sift

    def counting(self: MemoryMailbox, sizes: dict[int, int], test: object) -> object:
        read.extend(sizes)
        return real(self, sizes, test)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryMailbox, "sift", counting)
    assert await _found(server, "SEARCH BODY hello") == [b"* SEARCH 1 4 5"]
    # 2 is passed over unread: the plugin knows it and did not name it. 5 is newer than its index.
    assert sorted(read) == [1, 3, 4, 5]
    asked = index.asked[0]
    assert (asked.where, asked.text, asked.fuzzy) == ("BODY", "hello", False)
    assert "hello" not in repr(asked)
    index.exact = True
    assert await _found(server, "SEARCH BODY hello") == [b"* SEARCH 1 3 4 5"]
    index.exact = False
    assert await _found(server, "SEARCH SUBJECT hello") == [b"* SEARCH 1 4 5"]
    assert await _found(server, "SEARCH NOT TEXT hello") == [b"* SEARCH 2 3"]


async def test_without_an_answer_messages_are_looked_through(server: ImapHarness, index: Index) -> None:
    index.answers = False
    assert await _found(server, "SEARCH BODY hello") == [b"* SEARCH 1 4 5"]
    assert await _found(server, "SEARCH FUZZY BODY hello") == [b"* SEARCH 1 4 5"]
    index.answers = True
    assert await _found(server, "SEARCH BODY broken") == [b"* SEARCH"]
    assert await _found(server, "SEARCH HEADER X-Foo hello") == [b"* SEARCH"]


async def test_fuzzy_and_relevancy(server: ImapHarness, index: Index) -> None:
    async with server.client(select="INBOX") as imap:
        assert b"SEARCH=FUZZY" in (await imap.ok("CAPABILITY")).untagged[0].split()
    assert await _found(server, "SEARCH FUZZY BODY Help") == [b"* SEARCH 1 2 3 4"]
    assert index.asked[-1].fuzzy
    (line,) = await _found(server, "SEARCH RETURN (RELEVANCY ALL) FUZZY BODY Help")
    assert line.endswith(b" ALL 1:4 RELEVANCY (10 90 1 10)")
    # What is newer than the index is found as it is, and is no worse for that.
    (line,) = await _found(server, "SEARCH RETURN (RELEVANCY ALL) FUZZY (BODY hello UID 4:5)")
    assert line.endswith(b" ALL 4:5 RELEVANCY (90 100)")
    assert await _found(server, "SORT (RELEVANCY) UTF-8 FUZZY BODY Help") == [b"* SORT 2 1 4 3"]
    (line,) = await _found(server, "SORT RETURN (RELEVANCY ALL) (REVERSE RELEVANCY) UTF-8 FUZZY BODY Help")
    assert line.endswith(b" ALL 3,1,4,2 RELEVANCY (1 10 10 90)")
    (line,) = await _found(server, "ESEARCH IN (SELECTED) RETURN (RELEVANCY ALL) FUZZY BODY Help")
    assert line.endswith(b" ALL 1:4 RELEVANCY (10 90 1 10)")
    (line,) = await _found(server, "SORT RETURN (RELEVANCY PARTIAL 1:2) (RELEVANCY) UTF-8 FUZZY BODY Help")
    assert line.endswith(b" PARTIAL (1:2 2,1) RELEVANCY (90 10)")


@pytest.mark.parametrize(
    "command",
    [
        "SEARCH RETURN (RELEVANCY) BODY x", "SORT (RELEVANCY) UTF-8 ALL", "SORT RETURN (RELEVANCY) (DATE) UTF-8 ALL",
        "SEARCH FUZZY",
    ],
)  # fmt: skip
async def test_relevancy_without_fuzzy_is_an_error(server: ImapHarness, command: str) -> None:
    async with server.client(select="INBOX") as imap:
        assert (await imap.command(command)).status == "BAD"


async def test_without_a_plugin_there_is_no_fuzzy() -> None:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        assert b"SEARCH=FUZZY" not in (await imap.ok("CAPABILITY")).untagged[0]
        for command in ("SEARCH FUZZY BODY x", "SEARCH OR ALL FUZZY SEEN", "SORT (RELEVANCY) UTF-8 FUZZY BODY x",
                        "ESEARCH IN (SELECTED) FUZZY BODY x"):  # fmt: skip
            assert (await imap.command(command)).status == "BAD"


async def test_fuzzy_switched_off(index: Index) -> None:
    harness = ImapHarness(imap={"disabled_capabilities": ["SEARCH=FUZZY"]})
    harness.registry.search(index.search)
    async with harness as server, server.client(select="INBOX") as imap:
        assert b"SEARCH=FUZZY" not in (await imap.ok("CAPABILITY")).untagged[0]
        assert (await imap.command("SEARCH FUZZY BODY x")).status == "BAD"
