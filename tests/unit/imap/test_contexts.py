"""RETURN (UPDATE) (RFC 5267 §4.3): who does what ADDTO and REMOVEFROM say has what a new search would find."""

from __future__ import annotations

import random
import re
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.imap.search import contexts, updates
from mailserver.imap.search.contexts import MAX_CONTEXTS, Context
from mailserver.mime.comparators import USUAL
from mailserver.model.flags import FlagChange
from mailserver.wire.imap.commands import SortCriterion, SortKey
from mailserver.wire.imap.search_keys import All
from tests.helpers.imap import AsyncImap
from tests.helpers.imap_service import ImapHarness

_FLAGS = ("\\Seen", "\\Flagged")
_SORTED = (SortCriterion(SortKey.SIZE),)


def _numbers(text: bytes) -> list[int]:
    out: list[int] = []
    for part in text.split(b","):
        low, _, high = part.partition(b":")
        out += range(int(low), int(high or low) + 1)
    return out


def apply(line: bytes, results: list[int]) -> list[int]:
    """As RFC 5267 §4.3.3 and §4.3.4 tell the client to do it."""
    results = list(results)
    for name, pairs in re.findall(rb"(ADDTO|REMOVEFROM) \(([^)]*)\)", line):
        words = pairs.split(b" ")
        for place, numbers in zip(map(int, words[::2]), map(_numbers, words[1::2]), strict=True):
            for offset, number in enumerate(numbers):
                if name == b"REMOVEFROM":
                    at = results.index(number) if place == 0 else place - 1
                    assert results.pop(at) == number
                elif place == 0:
                    results = sorted([*results, number])
                else:
                    assert place + offset <= len(results) + 1
                    results.insert(place - 1 + offset, number)
    return results


def _context(results: list[int], criteria: tuple[SortCriterion, ...]) -> Context:
    return Context(
        tag=b"t", key=All(), uid=True, criteria=criteria, collation=USUAL, results=array("I", results), modseq=1,
        last_uid=1, generation=0,
    )  # fmt: skip


@given(st.permutations(range(1, 15)), st.sets(st.integers(1, 14)), st.sets(st.integers(1, 14)))
def test_changes_lead_from_the_old_results_to_the_new_ones(order: list[int], old: set[int], new: set[int]) -> None:
    for criteria, ranks in ((_SORTED, order), ((), sorted(order))):
        before, after = ([uid for uid in ranks if uid in some] for some in (old, new))
        context = _context(before, criteria)
        if criteria:
            line = context.change(after, lambda uids: uids)
        else:
            assert context.among(order[:0]) == set() and context.among(sorted(new)) == old & new
            line = context.exchange(old - new, new - old, lambda uids: uids)
        assert list(context.results) == after
        assert (line == b"") == (old == new)
        assert apply(line, before) == after


class Listener:
    """Two searches, and what a client knows of them by listening."""

    def __init__(self, imap: AsyncImap) -> None:
        self._imap = imap
        self.known: dict[str, list[int]] = {
            "UID SEARCH RETURN ({}) FLAGGED": [],
            "UID SORT RETURN ({}) (REVERSE SUBJECT) UTF-8 UNSEEN": [],
        }

    async def begin(self) -> None:
        for command in self.known:
            await self._imap.ok(command.format("UPDATE"))

    async def ask(self, command: str) -> list[int]:
        """The results of this search, and what is told with it."""
        found: list[int] = []
        for line in (await self._imap.ok(command)).only("ESEARCH"):
            for number, context in enumerate(self.known, 3):
                if b'"t%d"' % number in line:
                    self.known[context] = apply(line, self.known[context])
            if answer := re.search(rb" ALL (\S+)", line):
                found = _numbers(answer[1])
        return found


async def test_a_client_that_listens_knows_what_a_search_would_find() -> None:
    rng = random.Random(5)
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        listener = Listener(imap)
        await listener.begin()
        for _ in range(60):
            for _ in range(rng.randrange(3)):
                await server.deliver(b"Subject: %d\r\n\r\n" % rng.randrange(9), flags=frozenset({"\\Flagged"}))
            uids = await listener.ask("UID SEARCH RETURN (ALL) ALL")
            if uids:
                await server.flag(str(rng.choice(uids)), rng.choice(list(FlagChange)), rng.choice(_FLAGS))
            if len(uids) > 8:
                await server.expunge(*rng.sample(uids, 3))
            if rng.random() < 0.5:
                await listener.ask("SEARCH ALL")
            for context in listener.known:
                await listener.ask("NOOP")
                assert listener.known[context] == await listener.ask(context.format("ALL"))


async def test_changes_of_many_messages_are_told_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, others get their turn in between (ATTACKS I10)."""
    for module in (contexts, updates):
        monkeypatch.setattr(module, "PIECE", 2)
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await server.deliver(*[b"\r\n"] * 7)
        await imap.ok("NOOP")
        await imap.ok("UID SEARCH RETURN (UPDATE COUNT) UNSEEN")
        await server.flag("1,2,3,5,7", FlagChange.ADD, "\\Seen")
        changes = (await imap.ok("NOOP")).only("ESEARCH")
        assert [line.split(b"UID ")[1] for line in changes] == [
            b"REMOVEFROM (0 1:2)", b"REMOVEFROM (0 3,5)", b"REMOVEFROM (0 7)",
        ]
        await server.flag("1,3,7", FlagChange.REMOVE, "\\Seen")
        await imap.ok("NOOP")
        await server.expunge(1, 2, 3, 4)
        gone = (await imap.ok("NOOP")).only("ESEARCH")
        assert [line.split(b"UID ")[1] for line in gone] == [b"REMOVEFROM (0 1,3)", b"REMOVEFROM (0 4)"]


async def test_as_many_as_are_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "MAX_SORTED", 2)
    async with ImapHarness() as server:
        await server.deliver(b"\r\n", b"\r\n", b"\r\n")
        async with server.client(select="INBOX") as imap:
            refused = await imap.ok("SORT RETURN (COUNT UPDATE) (SIZE) UTF-8 ALL")
            assert refused.untagged == (
                b'* ESEARCH (TAG "t3") COUNT 3',
                b'* NO [NOUPDATE "t3"] Too many updates, or too many messages',
            )
            for _ in range(MAX_CONTEXTS):
                assert (await imap.ok("SEARCH RETURN (UPDATE) ALL")).code("NOUPDATE") is None
            refused = await imap.ok("SEARCH RETURN (UPDATE COUNT) ALL")
            assert refused.code("NOUPDATE") == '"t14"'
            await imap.ok('CANCELUPDATE "t4"')
            assert (await imap.ok("SEARCH RETURN (UPDATE) ALL")).code("NOUPDATE") is None


async def test_results_that_change_by_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 5032 §2: perhaps later, but they are told."""
    now = 2_000_000_000
    monkeypatch.setattr("mailserver.imap.search.evaluate.time.time", lambda: float(now))
    async with ImapHarness() as server:
        await server.deliver(b"\r\n", date=now - 10)
        async with server.client(select="INBOX") as imap:
            await imap.ok("SEARCH RETURN (UPDATE) NOT OLDER 60")
            assert not (await imap.ok("NOOP")).untagged
            now += 51
            assert (await imap.ok("NOOP")).untagged == (b'* ESEARCH (TAG "t3") REMOVEFROM (0 1)',)
