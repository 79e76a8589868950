"""The view of one session: sequence numbers are right whatever other sessions do."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.imap.commands.select import vanished_among
from mailserver.imap.replies import BadArguments
from mailserver.imap.selected import FlagsShown, Selected
from mailserver.model.flags import FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import Changes
from mailserver.model.numset import MAX_NUMBER, NumSet
from mailserver.ports.store import Mailbox, Target
from mailserver.storage.memory import MemoryStore
from mailserver.storage.memory_mailbox import MemoryMailbox
from mailserver.wire.imap.sequence_set import SequenceSet

ANNA = AccountId("anna@example.test")
_FETCH = re.compile(rb"\* ([0-9]+) FETCH \(UID ([0-9]+) FLAGS \((.*)\)\)")


class Client:
    """What a mail program makes of the responses, by the rules of RFC 9051 §7 and nothing else."""

    def __init__(self, view: Selected, *, vanished: bool) -> None:
        self.view = view
        self.vanished = vanished
        self.uids: list[int | None] = list(view.table.uids[: view.count])
        self.flags = dict(zip(self.uids, _flags(view), strict=True))

    def hear(self, *, expunge: bool) -> None:
        for piece in self.view.pending(FlagsShown(uid=True), expunge=expunge, vanished=self.vanished):
            for line in piece.split(b"\r\n")[:-1]:
                self._line(line, expunge=expunge)
        if self.vanished:
            # VANISHED names UIDs: a client of QRESYNC asks for those of new messages at once.
            self.fetch_all()

    def _line(self, line: bytes, *, expunge: bool) -> None:
        words = line.split()
        if words[1] == b"VANISHED":
            assert expunge and self.vanished
            gone = {n for part in words[2].split(b",") for n in _range(part)}
            assert gone <= set(self.uids)
            self.uids = [uid for uid in self.uids if uid not in gone]
        elif words[2] == b"EXPUNGE":
            assert expunge and not self.vanished
            del self.uids[int(words[1]) - 1]
        elif words[2] == b"EXISTS":
            assert int(words[1]) > len(self.uids), "EXISTS never shrinks a mailbox"
            self.uids += [None] * (int(words[1]) - len(self.uids))
        elif match := _FETCH.fullmatch(line):
            number, uid = int(match[1]), int(match[2])
            assert self.uids[number - 1] in (uid, None)
            self.uids[number - 1] = uid
            self.flags[uid] = match[3]
        else:
            assert words[1] in (b"FLAGS", b"OK")

    def fetch_all(self) -> None:
        """FETCH 1:* (UID FLAGS): every number means the message that the client thinks."""
        spans = self.view.spans(SequenceSet(star_from=1), uid=False) if self.view.count else []
        for rows in self.view.batches(spans, 3):
            for number, uid, flags in zip(rows.numbers, rows.uids, rows.flags, strict=True):
                assert self.uids[number - 1] in (uid, None)
                live = self.view.mailbox.table
                assert flags == live.flags[live.find(uid)], "the present flags, and nothing of what is gone"
                self.uids[number - 1] = uid
                self.flags[uid] = self.view.mailbox.flag_table.rendered[flags]


def _range(part: bytes) -> range:
    low, _, high = part.partition(b":")
    return range(int(low), int(high or low) + 1)


def _flags(view: Selected) -> list[bytes]:
    return [view.mailbox.flag_table.rendered[number] for number in view.mailbox.table.flags]


async def _add(store: MemoryStore, count: int) -> None:
    for _ in range(count):
        async with store.begin() as content:
            await content.write(b"a: b\r\n\r\nc\r\n")
            await store.commit(content, [Target(account=ANNA)])


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 4)),
        st.tuples(st.just("expunge"), st.lists(st.integers(0, 30), min_size=1, max_size=6)),
        st.tuples(st.just("flag"), st.integers(0, 30), st.sampled_from(["\\Seen", "\\Flagged", "kw"])),
        st.tuples(st.just("store"), st.integers(0, 2), st.lists(st.integers(0, 30), max_size=4), st.booleans()),
        st.tuples(st.just("noop"), st.integers(0, 2)),
        st.tuples(st.just("fetch"), st.integers(0, 2)),
        st.tuples(st.just("reselect"), st.integers(0, 2)),
    ),
    max_size=40,
)


@given(_STEPS, st.integers(0, 5))
@settings(max_examples=150)
def test_numbers_stay_right(steps: list[tuple[object, ...]], start: int) -> None:
    asyncio.run(_play(steps, start))


async def _play(steps: list[tuple[object, ...]], start: int) -> None:
    async with MemoryStore() as store:
        account = await store.open_account(ANNA)
        await _add(store, start)
        async with account.open("INBOX") as box:
            clients = [Client(_view(box), vanished=n == 2) for n in range(3)]
            for step in steps:
                await _step(step, store, box, clients)
            for client in clients:
                client.hear(expunge=True)
                client.fetch_all()
                assert client.uids == list(box.table.uids)
                assert [client.flags[uid] for uid in box.table.uids] == _flags(client.view)
                assert not client.view.has_pending()


def _view(box: Mailbox) -> Selected:
    return Selected(box, AsyncExitStack(), read_only=False)


async def _step(step: tuple[object, ...], store: MemoryStore, box: Mailbox, clients: list[Client]) -> None:
    uids = box.table.uids
    match step:
        case ("add", int(count)):
            await _add(store, count)
        case ("expunge", list(places)) if len(uids):
            await box.expunge([uids[place % len(uids)] for place in places])
        case ("flag", int(place), str(flag)) if len(uids):
            await box.set_flags([uids[place % len(uids)]], FlagChange.ADD, frozenset({flag}))
        case ("store", int(who), list(places), bool(silent)):
            await _store(clients[who], [int(place) for place in places], silent=silent)
        case ("noop", int(who)):
            clients[who].hear(expunge=True)
            assert len(clients[who].uids) == len(box.table)
        case ("fetch", int(who)):
            clients[who].fetch_all()
            clients[who].hear(expunge=False)
        case ("reselect", int(who)):
            clients[who] = Client(_view(box), vanished=clients[who].vanished)


async def _store(client: Client, places: list[int], *, silent: bool) -> None:
    """As commands/store.py does it; a silent client adds the flag to those that it knows."""
    view = client.view
    if not view.count:
        return
    spans = view.spans(SequenceSet(NumSet.from_numbers(place % view.count + 1 for place in places)), uid=False)
    before = view.rows_in(spans)
    untold = view.untold(before.uids)
    how, flags = FlagChange.ADD, frozenset({"\\Draft"})
    result = await view.mailbox.set_flags(before.uids, how, flags)
    if silent:
        for uid in result.changed:
            known = {flag.decode() for flag in client.flags.get(uid, b"").split()} | flags
            client.flags[uid] = view.mailbox.flag_table.rendered[view.mailbox.flag_table.intern(known)]
        view.told_silently(before, untold, how, flags, result.changed)
    else:
        rows = view.rows_of(result.changed)
        view.told(rows)
        for uid, number in zip(rows.uids, rows.flags, strict=True):
            client.flags[uid] = view.mailbox.flag_table.rendered[number]
    client.hear(expunge=False)


async def _views(count: int, views: int = 1) -> tuple[MemoryStore, Mailbox, list[Selected]]:
    store = MemoryStore()
    account = await store.open_account(ANNA)
    await _add(store, count)
    stack = AsyncExitStack()
    box = await stack.enter_async_context(account.open("INBOX"))
    return store, box, [_view(box) for _ in range(views)]


async def test_an_idle_view_copies_nothing() -> None:
    store, box, (view,) = await _views(3)
    assert view.table is box.table
    await _add(store, 1)
    assert view.table is box.table and view.count == 3


async def test_new_messages_wait_while_the_client_still_counts_the_dead() -> None:
    store, box, (view,) = await _views(3)
    await box.expunge([1])
    await _add(store, 2)
    assert b"".join(view.pending(FlagsShown(), expunge=False)) == b""
    assert b"".join(view.pending(FlagsShown(), expunge=True)) == b"* 1 EXPUNGE\r\n* 4 EXISTS\r\n"


async def test_expunges_of_many_generations_at_once_from_the_last_to_the_first() -> None:
    _, box, (view,) = await _views(6)
    for uid in (2, 5, 3):
        await box.expunge([uid])
    assert b"".join(view.pending(FlagsShown(), expunge=True)) == b"* 5 EXPUNGE\r\n* 3 EXPUNGE\r\n* 2 EXPUNGE\r\n"


async def test_generations_that_the_mailbox_forgot() -> None:
    _, box, (view,) = await _views(130)
    for uid in range(1, 120):
        await box.expunge([uid])
    assert box.expunged_since(view.table.generation) is None
    assert b"".join(view.pending(FlagsShown(), expunge=True, vanished=True)) == b"* VANISHED 1:119\r\n"


async def test_a_message_that_came_and_went_is_never_mentioned() -> None:
    store, box, (view,) = await _views(1)
    await _add(store, 1)
    await box.expunge([2])
    assert b"".join(view.pending(FlagsShown(), expunge=True)) == b""


async def test_i06_huge_sets_cost_what_exists() -> None:
    _, _, (view,) = await _views(3)
    huge = SequenceSet(NumSet.from_ranges([(1, 0xFFFFFFFF)] * 1000), star_from=0xFFFFFFFF)
    assert view.spans(huge, uid=True) == [range(3)]


async def test_star_is_the_last_uid_even_from_above() -> None:
    """RFC 9051 §9 seq-range; of message numbers (seq-number) none may be above the last."""
    _, _, (view,) = await _views(3)
    assert view.spans(SequenceSet(star_from=99), uid=True) == [range(2, 3)]
    with pytest.raises(BadArguments):
        view.spans(SequenceSet(star_from=99), uid=False)


async def test_star_in_an_empty_mailbox() -> None:
    _, _, (view,) = await _views(0)
    assert view.spans(SequenceSet(star_from=1), uid=True) == []
    with pytest.raises(BadArguments):
        view.spans(SequenceSet(star_from=1), uid=False)


async def test_a_change_by_others_within_a_silent_store_is_told() -> None:
    """The store awaits its disk: another session may come between the look at the flags and the change."""
    _, box, (view,) = await _views(2)
    before = view.rows_in([range(2)])
    untold = view.untold(before.uids)
    await box.set_flags([1], FlagChange.ADD, frozenset({"\\Flagged"}))
    result = await box.set_flags(before.uids, FlagChange.ADD, frozenset({"\\Seen"}))
    view.told_silently(before, untold, FlagChange.ADD, frozenset({"\\Seen"}), result.changed)
    told = b"".join(view.pending(FlagsShown(), expunge=True))
    assert told == b"* 1 FETCH (FLAGS (\\Flagged \\Seen))\r\n"


async def test_uids_that_nobody_has_had_yet_have_not_vanished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tombstones do not reach back, everything named that is not there is gone (RFC 7162 §3.2.5.2), if it was."""

    async def forgotten(self: MemoryMailbox, modseq: int) -> Changes:
        return Changes(changed=NumSet(), vanished=NumSet(), vanished_complete=False)

    monkeypatch.setattr(MemoryMailbox, "changes_since", forgotten)
    _, box, (view,) = await _views(3)
    await box.expunge([2])
    b"".join(view.pending(FlagsShown(), expunge=True))
    assert await vanished_among(view, NumSet(((1, MAX_NUMBER),)), 1) == NumSet(((2, 2),))
    _, _, (empty,) = await _views(0)
    assert await vanished_among(empty, NumSet(((1, MAX_NUMBER),)), 1) == NumSet()
