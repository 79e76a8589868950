"""Every sentence of `ports/store.py`, over every implementation. `test_store_folders.py` has the folders' part."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable

import pytest

from mailserver.model.errors import InvalidInput, LimitReached, MailError, NotFound, OverQuota, StorageFailure
from mailserver.model.flags import DELETED, FLAGGED, SEEN, FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, Rendered, Stored
from mailserver.model.numset import NumSet
from mailserver.ports.store import Mailbox, MailStore, Target
from tests.contracts.stores import Harness

ANNA, BERT = AccountId("anna@example.test"), AccountId("bert@example.test")
MESSAGE = b"From: <a@example.org>\r\nSubject: one\r\n\r\nfirst line\r\nsecond\r\n"


async def commit(
    store: MailStore, *targets: Target, data: bytes = MESSAGE, header: bytes = b""
) -> list[Stored | MailError]:
    async with store.begin(len(data)) as content:
        await content.write(data)
        return await store.commit(content, targets, header)


async def deliver(store: MailStore, account: AccountId = ANNA, count: int = 1, data: bytes = MESSAGE) -> list[int]:
    uids = []
    for _ in range(count):
        (result,) = await commit(store, Target(account=account), data=data)
        assert isinstance(result, Stored), result
        uids.append(result.uid)
    return uids


async def seen(mailbox: Mailbox, uid: int) -> None:
    """Wait until a message that was delivered is visible: something else that is under way may have to end first."""
    while mailbox.uid_next <= uid:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def append(store: MailStore, *targets: Target, data: bytes = MESSAGE) -> list[Stored]:
    async with store.begin() as first:
        await first.write(data)
        return await store.commit_all(targets[0].account, [(first, target) for target in targets])


async def whole(mailbox: Mailbox, uids: Iterable[int], *, header_only: bool = False) -> list[tuple[int, bytes]]:
    out = []
    async for batch in mailbox.read_many(list(uids), header_only=header_only):
        assert batch
        out += batch
    return out


class Alarm:
    """A wake-up that can be waited for."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.count = 0
        self._rung = asyncio.Event()
        self.undo = mailbox.subscribe(self._ring)

    def _ring(self) -> None:
        self.count += 1
        self._rung.set()

    async def rings(self) -> None:
        async with asyncio.timeout(60):
            await self._rung.wait()
        self._rung.clear()


# -- content ---------------------------------------------------------------------------------------------------------


async def test_content_counts_and_reads_what_was_written(harness: Harness) -> None:
    async with harness.store.begin(10) as content:
        await content.write(b"abc")
        await content.write(b"defg")
        assert content.size == 7
        assert await content.read(2, 3) == b"cde"
        assert await content.read(5, 100) == b"fg"
        assert content.head() == b"abcdefg"


async def test_content_above_one_mebibyte_is_kept_whole(harness: Harness) -> None:
    body = b"0123456789abcdef" * 4095 + b"\r\n"
    data = b"Subject: big\r\n\r\n" + body * 40
    async with harness.store.begin(len(data)) as content:
        for start in range(0, len(data), 100_000):
            await content.write(data[start : start + 100_000])
        assert content.size == len(data)
        assert content.head() == data[: 1 << 20]
        assert await content.read(len(data) - 5, 5) == data[-5:]
        (stored,) = await harness.store.commit(content, [Target(account=ANNA)], b"X: y\r\n")
    assert isinstance(stored, Stored)
    async with (await harness.store.open_account(ANNA)).open(INBOX) as inbox:
        assert await inbox.read(stored.uid) == b"X: y\r\n" + data
        assert inbox.table.sizes[0] == len(data) + 6


async def test_content_that_is_left_without_a_commit_is_gone(harness: Harness) -> None:
    async with harness.store.begin() as content:
        await content.write(MESSAGE)
    account = await harness.store.open_account(ANNA)
    assert (await account.status(INBOX)).messages == 0


async def test_content_may_be_committed_more_than_once(harness: Harness) -> None:
    async with harness.store.begin() as content:
        await content.write(MESSAGE)
        await harness.store.commit(content, [Target(account=ANNA)], b"X-For: anna\r\n")
        await harness.store.commit(content, [Target(account=BERT)], b"X-For: bert\r\n")
    for name, who in ((ANNA, b"anna"), (BERT, b"bert")):
        async with (await harness.store.open_account(name)).open(INBOX) as inbox:
            assert await inbox.read(inbox.table.uids[0]) == b"X-For: " + who + b"\r\n" + MESSAGE


# -- commit ----------------------------------------------------------------------------------------------------------


async def test_commit_puts_the_header_first_and_answers_in_order(harness: Harness) -> None:
    results = await commit(
        harness.store,
        Target(account=BERT),
        Target(account=ANNA, mailbox="Junk", flags=frozenset({FLAGGED, "work"}), date=1_000_000_000),
        header=b"Return-Path: <>\r\n",
    )
    first, second = results
    assert isinstance(first, Stored) and isinstance(second, Stored)
    assert (first.account, first.mailbox) == (BERT, INBOX)
    assert (second.account, second.mailbox) == (ANNA, "Junk")
    async with (await harness.store.open_account(ANNA)).open("Junk") as junk:
        assert second.uid_validity == junk.uid_validity
        assert list(junk.table.uids) == [second.uid]
        assert junk.table.dates[0] == 1_000_000_000
        assert junk.flag_table.sets[junk.table.flags[0]] == {FLAGGED, "work"}
        assert await junk.read(second.uid) == b"Return-Path: <>\r\n" + MESSAGE
        assert junk.table.sizes[0] == len(MESSAGE) + 17


async def test_a_target_without_a_date_has_the_time_of_its_commit(harness: Harness) -> None:
    before = int(time.time()) - 1
    await deliver(harness.store)
    async with (await harness.store.open_account(ANNA)).open(INBOX) as inbox:
        assert before <= inbox.table.dates[0] <= time.time() + 1
        assert before <= inbox.table.saved[0] <= time.time() + 1


async def test_one_failing_target_does_not_touch_the_others(harness: Harness) -> None:
    bert = await harness.store.open_account(BERT)
    await bert.set_quota(10, 0)
    results = await commit(
        harness.store,
        Target(account=BERT),
        Target(account=ANNA, mailbox="No such", into_new=False),
        Target(account=ANNA),
    )
    assert isinstance(results[0], OverQuota)
    assert isinstance(results[1], NotFound)
    assert isinstance(results[2], Stored)
    assert (await bert.status(INBOX)).messages == 0
    assert (await (await harness.store.open_account(ANNA)).status(INBOX)).messages == 1


async def test_a_delivery_makes_its_mailbox_or_goes_to_the_inbox(harness: Harness) -> None:
    results = await commit(
        harness.store,
        Target(account=ANNA, mailbox="Lists/x", create=True),
        Target(account=ANNA, mailbox="Other"),
        Target(account=ANNA, mailbox="a//b", create=True),
        Target(account=ANNA, mailbox="n" * 300, create=True),
    )
    assert [result.mailbox for result in results if isinstance(result, Stored)] == ["Lists/x", INBOX, INBOX, INBOX]
    names = [info.name for info in await (await harness.store.open_account(ANNA)).list_mailboxes() if info.selectable]
    assert "Lists/x" in names and "Lists" in names and "Other" not in names


async def test_commit_all_stores_all_or_none(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    target = Target(account=ANNA, mailbox="Drafts", into_new=False)
    stored = await append(harness.store, target, target, target)
    assert [item.uid for item in stored] == sorted({item.uid for item in stored})
    assert (await account.status("Drafts")).messages == 3
    await account.set_quota(len(MESSAGE) * 5, 0)
    with pytest.raises(OverQuota):
        await append(harness.store, target, target, target)
    assert (await account.status("Drafts")).messages == 3
    with pytest.raises(NotFound):
        await append(harness.store, Target(account=ANNA, mailbox="None", into_new=False))


async def test_our_own_notices_are_not_held_up_by_a_quota(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await account.set_quota(1, 1)
    (result,) = await commit(harness.store, Target(account=ANNA, enforce_quota=False))
    assert isinstance(result, Stored)


async def test_bare_line_feeds_are_presented_with_crlf(harness: Harness) -> None:
    (uid,) = await deliver(harness.store, data=b"Subject: x\n\none\ntwo\r\n")
    async with (await harness.store.open_account(ANNA)).open(INBOX) as inbox:
        presented = b"Subject: x\r\n\r\none\r\ntwo\r\n"
        assert await inbox.read(uid) == presented
        assert inbox.table.sizes[0] == len(presented)
        assert await inbox.read(uid, 10, 4) == presented[10:14]
        assert await whole(inbox, [uid], header_only=True) == [(uid, b"Subject: x\r\n\r\n")]


# -- visibility ------------------------------------------------------------------------------------------------------


async def test_uids_become_visible_in_order_when_the_lower_one_is_slow(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await deliver(harness.store)
    async with account.open(INBOX) as inbox:
        gate = harness.hold()
        slow = asyncio.create_task(deliver(harness.store))
        await gate.reached()
        (high,) = await deliver(harness.store)
        assert high == 3
        known = inbox.highest_modseq
        for _ in range(2):
            await inbox.refresh()
            assert list(inbox.table.uids) == [1]
            assert inbox.uid_next == 2
            status = await account.status(INBOX)
            assert (status.messages, status.uid_next) == (1, 2)
            assert await inbox.rendered([2, 3], [Rendered.BODY]) == {}
        gate.open()
        assert await slow == [2]
        await inbox.refresh()
        assert list(inbox.table.uids) == [1, 2, 3]
        assert inbox.uid_next == 4
        # Whoever knew the MODSEQ from before is told of both.
        assert list((await inbox.changes_since(known)).changed) == [2, 3]


async def test_who_is_told_a_uid_finds_the_message(harness: Harness) -> None:
    """APPEND, COPY and MOVE end when their messages are visible, though a lower UID is slow."""
    account = await harness.store.open_account(ANNA)
    await deliver(harness.store)
    async with account.open(INBOX) as inbox:

        async def found(what: Awaitable[list[int]]) -> bool:
            uids = await what
            return set(uids) <= set(inbox.table.uids)

        async def appended() -> list[int]:
            return [one.uid for one in await append(harness.store, Target(account=ANNA, into_new=False))]

        async def copied() -> list[int]:
            return list((await inbox.copy([1], INBOX)).target)

        for way in (appended, copied):
            gate = harness.hold()
            slow = asyncio.create_task(deliver(harness.store))
            await gate.reached()
            waiting = asyncio.create_task(found(way()))
            for _ in range(100):
                await account.status("Archive")
            gate.open()
            assert await waiting
            await slow


async def test_an_abandoned_uid_does_not_hold_up_the_others(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        gate = harness.hold()
        failing = asyncio.create_task(commit(harness.store, Target(account=ANNA)))
        await gate.reached()
        (high,) = await deliver(harness.store)
        assert len(inbox.table) == 0
        gate.fail()
        (result,) = await failing
        assert isinstance(result, StorageFailure)
        assert list(inbox.table.uids) == [high]
        assert inbox.uid_next == high + 1
        usage = await account.quota()
        assert (usage.octets, usage.messages) == (len(MESSAGE), 1)


async def test_a_cancelled_commit_runs_to_its_end(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        alarm = Alarm(inbox)
        gate = harness.hold()
        task = asyncio.create_task(deliver(harness.store))
        await gate.reached()
        task.cancel()
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task
        await alarm.rings()
        assert len(inbox.table) == 1
        assert await deliver(harness.store) == [2]
        assert list(inbox.table.uids) == [1, 2]


async def test_messages_expunged_while_others_arrive(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        first = await deliver(harness.store, count=20)

        async def remove() -> None:
            for uid in first:
                assert list(await inbox.expunge([uid])) == [uid]

        arrived, _ = await asyncio.gather(deliver(harness.store, count=20), remove())
        assert list(inbox.table.uids) == arrived == sorted(set(arrived) - set(first))
        assert (await account.quota()).messages == 20


# -- the open mailbox ------------------------------------------------------------------------------------------------


async def test_all_sessions_share_one_mailbox(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as one, (await harness.store.open_account(ANNA)).open("inbox") as two:
        assert one is two
    with pytest.raises(NotFound):
        async with account.open("No such"):
            pass


async def test_sessions_are_woken_by_every_kind_of_change(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        alarm = Alarm(inbox)
        (uid,) = await deliver(harness.store)
        await alarm.rings()
        await inbox.set_flags([uid], FlagChange.ADD, frozenset({SEEN}))
        await alarm.rings()
        await inbox.expunge([uid])
        await alarm.rings()
        alarm.undo()
        rung = alarm.count
        other = Alarm(inbox)
        await deliver(harness.store)
        await other.rings()
        assert alarm.count == rung


async def test_an_expunge_leaves_the_table_that_sessions_know(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        await deliver(harness.store, count=3)
        known = inbox.table
        await inbox.expunge([2, 99])
        assert list(known.uids) == [1, 2, 3]
        assert list(inbox.table.uids) == [1, 3]
        assert inbox.table.generation == known.generation + 1
        assert inbox.expunged_since(known.generation) == NumSet.from_numbers([2])
        await inbox.expunge([1])
        assert inbox.expunged_since(known.generation) == NumSet.from_numbers([1, 2])
        assert inbox.expunged_since(inbox.table.generation) == NumSet()


async def test_a_generation_too_long_ago_is_not_remembered(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        await append(harness.store, *[Target(account=ANNA, into_new=False)] * 10)
        first = inbox.table
        for uid in list(first.uids):
            await inbox.expunge([uid])
        remembered = inbox.expunged_since(first.generation)
        assert remembered is None or list(remembered) == list(first.uids)
        assert inbox.expunged_since(first.generation - 1) is None


async def test_reading(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        one, two, three = await deliver(harness.store, count=3)
        await inbox.expunge([two])
        assert await whole(inbox, [three, two, one]) == [(three, MESSAGE), (one, MESSAGE)]
        header = MESSAGE[: MESSAGE.index(b"\r\n\r\n") + 4]
        assert await whole(inbox, [one, three], header_only=True) == [(one, header), (three, header)]
        assert await inbox.read(one, 6, 5) == MESSAGE[6:11]
        assert await inbox.read(one, len(MESSAGE) + 10, 5) == b""
        assert await inbox.read(one, 6) == MESSAGE[6:]
        with pytest.raises(NotFound):
            await inbox.read(two)


async def test_large_messages_come_in_batches(harness: Harness) -> None:
    data = b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 40_000
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        uids = await deliver(harness.store, count=3, data=data)
        sizes = [[len(text) for _, text in batch] async for batch in inbox.read_many(uids)]
        assert sum(sum(batch) for batch in sizes) == 3 * len(data)
        assert all(len(batch) == 1 for batch in sizes)


async def test_rendered_pieces(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        (uid,) = await deliver(harness.store)
        await seen(inbox, uid)
        found = await inbox.rendered([uid, 77], [Rendered.LISTED_HEADERS, Rendered.ENVELOPE, Rendered.BODY])
        assert list(found) == [uid]
        listed, envelope, body = found[uid]
        assert listed == b"From: <a@example.org>\r\nSubject: one\r\n"
        assert envelope.startswith(b'(NIL "one" ((NIL NIL "a" "example.org"))')
        assert body == b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 20 2)'
        (bodystructure,) = (await inbox.rendered([uid], [Rendered.BODYSTRUCTURE]))[uid]
        assert bodystructure == body[:-1] + b" NIL NIL NIL NIL)"


async def test_pieces_come_in_order_in_columns_and_without_what_is_gone(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        uids = await deliver(harness.store, count=5)
        fields = [Rendered.ENVELOPE, Rendered.BODY]
        whole = await inbox.rendered(uids, fields)
        await inbox.expunge([uids[2]])
        await inbox.copy([uids[3]], "Trash")
        for wanted in ([*reversed(uids), 77], uids):
            found: dict[int, tuple[bytes, ...]] = {}
            async for there, columns in inbox.pieces(wanted, fields):
                found.update(zip(there, zip(*columns, strict=True), strict=True))
            assert list(found) == [uid for uid in uids if uid != uids[2]]
            assert all(found[uid] == tuple(whole[uid]) for uid in found)
        assert [batch async for batch in inbox.pieces([77], fields)] == []
        async with account.open("Trash") as trash:
            ((_, columns),) = [batch async for batch in trash.pieces([1], fields)]
            assert [list(column) for column in columns] == [[piece] for piece in whole[uids[3]]]


# -- flags -----------------------------------------------------------------------------------------------------------


def flags_of(mailbox: Mailbox, uid: int) -> frozenset[str]:
    return mailbox.flag_table.sets[mailbox.table.flags[mailbox.table.find(uid)]]


async def test_flags_are_added_removed_and_replaced(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        one, two = await deliver(harness.store, count=2)
        result = await inbox.set_flags([one, two, 99], FlagChange.ADD, frozenset({SEEN, "Work"}))
        assert (list(result.changed), list(result.modified)) == ([one, two], [])
        assert flags_of(inbox, one) == {SEEN, "Work"}
        await inbox.set_flags([one], FlagChange.REMOVE, frozenset({"WORK", DELETED}))
        assert flags_of(inbox, one) == {SEEN}
        await inbox.set_flags([two], FlagChange.REPLACE, frozenset({DELETED, "work"}))
        assert flags_of(inbox, two) == {DELETED, "Work"}
        status = await account.status(INBOX)
        assert (status.unseen, status.deleted) == (1, 1)


async def test_a_message_whose_flags_do_not_change_keeps_its_modseq(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        one, two = await deliver(harness.store, count=2)
        await inbox.set_flags([one], FlagChange.ADD, frozenset({SEEN}))
        before, modseqs = inbox.highest_modseq, list(inbox.table.modseqs)
        result = await inbox.set_flags([one, two], FlagChange.ADD, frozenset({SEEN}))
        assert list(result.changed) == [one, two]
        assert inbox.table.modseqs[0] == modseqs[0]
        assert inbox.table.modseqs[1] == inbox.highest_modseq > before
        unchanged = inbox.highest_modseq
        await inbox.set_flags([one, two], FlagChange.ADD, frozenset({SEEN}))
        assert inbox.highest_modseq == unchanged
        assert list(inbox.flags_changed_since(before)) == [two]


async def test_unchangedsince_keeps_back_what_changed_meanwhile(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        one, two, three = await deliver(harness.store, count=3)
        known = inbox.highest_modseq
        await inbox.set_flags([two], FlagChange.ADD, frozenset({FLAGGED}))
        result = await inbox.set_flags(
            [one, two, three], FlagChange.ADD, frozenset({DELETED}), unchanged_since=known
        )
        assert list(result.modified) == [two]
        assert list(result.changed) == [one, three]
        assert flags_of(inbox, two) == {FLAGGED}
        assert flags_of(inbox, three) == {DELETED}


async def test_too_many_keywords_are_refused_and_deliveries_go_on(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        (uid,) = await deliver(harness.store)
        with pytest.raises(LimitReached):
            for start in range(0, 100_000, 500):
                many = frozenset(f"k{number}" for number in range(start, start + 500))
                await inbox.set_flags([uid], FlagChange.REPLACE, many)
        (result,) = await commit(
            harness.store, Target(account=ANNA, flags=frozenset({FLAGGED, *(f"z{n}" for n in range(100_000))}))
        )
        assert isinstance(result, Stored)
        await seen(inbox, result.uid)
        assert FLAGGED in flags_of(inbox, result.uid)


# -- removal and QRESYNC ---------------------------------------------------------------------------------------------


async def test_expunge_removes_whatever_the_flags_and_says_what_existed(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        await deliver(harness.store, count=3)
        before = inbox.highest_modseq
        assert list(await inbox.expunge([3, 1, 50])) == [1, 3]
        assert inbox.highest_modseq > before
        assert list(await inbox.expunge([1])) == []
        assert (await account.status(INBOX)).messages == 1
        assert await deliver(harness.store) == [4]


async def test_changes_and_tombstones_since_a_modseq(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        one, two, three, four = await deliver(harness.store, count=4)
        await inbox.expunge([one])
        known = inbox.highest_modseq
        await inbox.set_flags([two], FlagChange.ADD, frozenset({SEEN}))
        await inbox.expunge([three])
        (five,) = await deliver(harness.store)
        changes = await inbox.changes_since(known)
        assert list(changes.changed) == [two, five]
        assert list(changes.vanished) == [three]
        assert changes.vanished_complete
        nothing = await inbox.changes_since(inbox.highest_modseq)
        assert not nothing.changed and not nothing.vanished
        ancient = await inbox.changes_since(0)
        assert list(ancient.changed) == [two, four, five]
        assert list(ancient.vanished) == ([one, three] if ancient.vanished_complete else [])


# -- copy and move ---------------------------------------------------------------------------------------------------


async def test_copy_keeps_flags_and_dates_and_the_order(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    for number in range(3):
        await append(
            harness.store,
            Target(account=ANNA, into_new=False, flags=frozenset({SEEN, "kw"}), date=1_000_000_000 + number),
        )
    async with account.open(INBOX) as inbox, account.open("Archive") as archive:
        await deliver(harness.store)
        result = await inbox.copy([3, 1, 77], "Archive")
        assert (result.source, result.uid_validity) == ((1, 3), archive.uid_validity)
        assert list(result.target) == list(archive.table.uids)
        assert list(archive.table.dates) == [1_000_000_000, 1_000_000_002]
        assert all(flags_of(archive, uid) == {SEEN, "kw"} for uid in archive.table.uids)
        assert await archive.read(result.target[0]) == MESSAGE
        assert len(inbox.table) == 4
        with pytest.raises(NotFound):
            await inbox.copy([1], "No such")
        again = await inbox.copy([1], "inbox")
        assert again.target == (5,) and len(inbox.table) == 5


async def test_copy_is_all_or_none(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await deliver(harness.store, count=3)
    await account.set_quota(0, 5)
    async with account.open(INBOX) as inbox:
        with pytest.raises(OverQuota):
            await inbox.copy([1, 2, 3], "Archive")
        assert (await account.status("Archive")).messages == 0
        assert (await inbox.copy([1, 2], "Archive")).target == (1, 2)


async def test_move_takes_messages_away_and_needs_no_room(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await deliver(harness.store, count=3)
    await account.set_quota(1, 1)
    async with account.open(INBOX) as inbox, account.open("Trash") as trash:
        known = inbox.highest_modseq
        await inbox.set_flags([2], FlagChange.ADD, frozenset({FLAGGED}))
        result = await inbox.move([2, 3], "Trash")
        assert (result.source, result.target) == ((2, 3), (1, 2))
        assert list(inbox.table.uids) == [1]
        assert list((await inbox.changes_since(known)).vanished) == [2, 3]
        assert list(trash.table.uids) == [1, 2]
        assert flags_of(trash, 1) == {FLAGGED}
        with pytest.raises(NotFound):
            await inbox.move([1], "No such")
        assert list(inbox.table.uids) == [1]
    assert (await account.quota()).messages == 3


# -- quota -----------------------------------------------------------------------------------------------------------


async def test_quota_counts_octets_and_messages_of_all_folders(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await deliver(harness.store, count=2)
    async with account.open(INBOX) as inbox:
        await inbox.copy([1], "Sent")
        usage = await account.quota()
        assert (usage.octets, usage.messages) == (3 * len(MESSAGE), 3)
        assert (usage.octets_limit, usage.messages_limit) == (0, 0)
        await inbox.expunge([1, 2])
        usage = await account.quota()
        assert (usage.octets, usage.messages) == (len(MESSAGE), 1)
    await account.set_quota(len(MESSAGE) * 2, 7)
    usage = await account.quota()
    assert (usage.octets_limit, usage.messages_limit) == (len(MESSAGE) * 2, 7)
    await deliver(harness.store)
    (full,) = await commit(harness.store, Target(account=ANNA))
    assert isinstance(full, OverQuota)


async def test_of_limits_that_are_set_at_once_the_last_ones_count(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await asyncio.gather(account.set_quota(5, 5), account.set_quota(0, 0))
    usage = await account.quota()
    assert (usage.octets_limit, usage.messages_limit) == (0, 0)


async def test_quota_counts_what_is_still_being_committed(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await account.set_quota(0, 1)
    gate = harness.hold()
    first = asyncio.create_task(commit(harness.store, Target(account=ANNA)))
    await gate.reached()
    (second,) = await commit(harness.store, Target(account=ANNA))
    gate.open()
    assert isinstance(second, OverQuota)
    assert isinstance((await first)[0], Stored)


# -- accounts --------------------------------------------------------------------------------------------------------


async def test_accounts_come_with_mail_and_go_for_good(harness: Harness) -> None:
    store = harness.store
    assert await store.accounts() == []
    await deliver(store, ANNA)
    await store.open_account(BERT)
    assert sorted(await store.accounts()) == [ANNA, BERT]
    account = await store.open_account(ANNA)
    async with account.open(INBOX) as inbox:
        validity = inbox.uid_validity
        await store.remove_account(ANNA)
        assert inbox.deleted
    await store.remove_account(ANNA)
    assert sorted(await store.accounts()) == [BERT]
    account = await store.open_account(ANNA)
    status = await account.status(INBOX)
    assert status.messages == 0
    assert status.uid_validity >= validity


async def test_names_that_cannot_be_are_errors_of_ours(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    for name in ("", "a//b", "../x", "a/../b", "x\n", "%", "*", "~root", "/etc", "\ud800"):
        with pytest.raises(NotFound):
            await account.status(name)
        with pytest.raises(InvalidInput):
            await account.create(name)
