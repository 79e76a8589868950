"""COMPARATOR (RFC 5255 §4.7): what is announced, set, and switched off. The dialogue is transcripts/imap/comparator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mailserver.hooks.contexts import SearchAnswer, SearchContext
from mailserver.imap.search.sorting import _turned
from mailserver.imap.settings import ImapSettings
from mailserver.mime.comparators import COMPARATORS
from tests.helpers.imap_service import ImapHarness

MESSAGES = (b"Subject: one\r\n\r\nOne\r\n", b"Subject: ONE\r\n\r\none\r\n", b"Subject: two\r\n\r\n")


async def test_the_default_is_the_operator_s() -> None:
    async with ImapHarness(imap={"default_comparator": "i;octet"}) as server, server.client() as imap:
        await server.deliver(*MESSAGES)
        await imap.ok("SELECT INBOX")
        assert (await imap.ok("COMPARATOR")).untagged == (b"* COMPARATOR i;octet",)
        assert (await imap.ok("SEARCH SUBJECT one")).untagged == (b"* SEARCH 1",)
        assert (await imap.ok("SORT (SUBJECT) UTF-8 ALL")).untagged == (b"* SORT 2 1 3",)
        await imap.ok('COMPARATOR "*fold"')
        assert (await imap.ok("SEARCH BODY one")).untagged == (b"* SEARCH 1 2",)
        assert (await imap.ok("SORT (SUBJECT) UTF-8 ALL")).untagged == (b"* SORT 1 2 3",)
        assert (await imap.ok("COMPARATOR -default")).untagged == (b"* COMPARATOR -i;octet",)
        assert (await imap.ok("SORT (SUBJECT ARRIVAL) UTF-8 ALL")).untagged == (b"* SORT 3 1 2",)
    with pytest.raises(ValidationError, match="no comparator"):
        ImapSettings(default_comparator="i;ascii-numeric")


async def test_switched_off_it_is_neither_announced_nor_served() -> None:
    async with ImapHarness(imap={"disabled_capabilities": ["I18NLEVEL"]}) as server, server.client() as imap:
        assert b"I18NLEVEL" not in (await imap.ok("CAPABILITY")).untagged[0]
        assert (await imap.command("COMPARATOR i;octet")).status == "BAD"


async def test_one_session_s_choice_is_nobody_else_s() -> None:
    async with ImapHarness() as server:
        await server.deliver(*MESSAGES)
        async with server.client(select="INBOX") as one, server.client(select="INBOX") as other:
            await one.ok("COMPARATOR i;octet")
            for _ in range(2):
                for imap, threads, order in ((one, b"(1)(2)(3)", b"2 1 3"), (other, b"(1 2)(3)", b"1 2 3")):
                    assert (await imap.ok("THREAD ORDEREDSUBJECT UTF-8 ALL")).untagged == (b"* THREAD " + threads,)
                    assert (await imap.ok("SORT (SUBJECT) UTF-8 ALL")).untagged == (b"* SORT " + order,)


async def test_an_index_is_asked_only_for_what_it_knows() -> None:
    asked: list[SearchContext] = []

    def search(ctx: SearchContext) -> SearchAnswer:
        asked.append(ctx)
        return SearchAnswer(uids=frozenset({3}), complete_to=3)

    harness = ImapHarness()
    harness.registry.search(search)
    async with harness as server:
        await server.deliver(*MESSAGES)
        async with server.client(select="INBOX") as imap:
            await imap.ok("COMPARATOR i;unicode-casemap")
            assert (await imap.ok("SEARCH BODY ONE")).untagged == (b"* SEARCH 1 2",)
            assert (await imap.ok("SEARCH OR TEXT two SUBJECT two")).untagged == (b"* SEARCH 3",)
            assert not asked
            # RFC 6203 §3: what is similar need not be so by the comparator.
            assert (await imap.ok("SEARCH FUZZY BODY ONE")).untagged == (b"* SEARCH 3",)
            assert [ctx.fuzzy for ctx in asked] == [True]


@given(st.lists(st.text("ab\u00e4\0z\U0010ffff", max_size=4)), st.sampled_from(COMPARATORS))
def test_the_other_direction(texts: list[str], comparator: object) -> None:
    order = comparator.order  # type: ignore[attr-defined]
    keys = sorted(map(order, texts))
    turned = sorted(map(order, texts), key=_turned)
    assert turned == keys[::-1]
    assert sorted([b"\xff\x01", *keys, b"\xff\x02"], key=_turned) == [*keys[::-1], b"\xff\x01", b"\xff\x02"]
