"""The folders of an account: names, trees, subscriptions, special use; and what a durable store finds again."""

from __future__ import annotations

import pytest

from mailserver.model.errors import AlreadyExists, InvalidInput, LimitReached, NotFound, NotPermitted
from mailserver.model.flags import DELETED, FLAGGED, SEEN, FlagChange
from mailserver.model.mailbox import INBOX, MailboxInfo, SpecialUse
from mailserver.ports.store import AccountStore, Target
from tests.contracts.stores import Harness, OpenStore
from tests.contracts.test_store import ANNA, MESSAGE, Alarm, append, deliver, flags_of

OWN = ["Archive", "Drafts", "Junk", "Sent", "Trash"]


async def names(account: AccountStore) -> list[str]:
    return [info.name for info in await account.list_mailboxes()]


async def info_of(account: AccountStore, name: str) -> MailboxInfo:
    return next(info for info in await account.list_mailboxes() if info.name == name)


async def test_a_new_account_has_the_special_folders_subscribed(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    listed = await account.list_mailboxes()
    assert [info.name for info in listed] == [INBOX, *OWN]
    assert all(info.selectable and info.subscribed and info.mailbox_id for info in listed)
    assert len({info.mailbox_id for info in listed}) == 6
    uses = [info.special_use for info in listed]
    assert uses == [
        frozenset(),
        {SpecialUse.ARCHIVE},
        {SpecialUse.DRAFTS},
        {SpecialUse.JUNK},
        {SpecialUse.SENT},
        {SpecialUse.TRASH},
    ]
    assert await account.subscriptions() == {INBOX, *OWN}


async def test_create_makes_parents_and_refuses_a_second_one(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    made = await account.create("Work/2026/März", [SpecialUse.ARCHIVE])
    assert (made.name, made.selectable) == ("Work/2026/März", True)
    assert made.special_use == {SpecialUse.ARCHIVE}
    assert await names(account) == [INBOX, *OWN, "Work", "Work/2026", "Work/2026/März"]
    assert (await account.status("Work")).messages == 0
    for name in ("Work/2026/März", "Work", "inbox", INBOX):
        with pytest.raises(AlreadyExists):
            await account.create(name)
    await account.create("INBOX/below")
    assert (await names(account))[:2] == [INBOX, "Archive"]
    assert (await account.status("Inbox/below")).uid_next == 1


async def test_names_with_every_kind_of_character(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    odd = ["a.b", "&", "a&b", "x~", "日本語", "é", "e\u0301", "cur", "new/tmp", "-", "\U0001f4e7", "a b", '"\\']
    for name in odd:
        await account.create(name)
    listed = await names(account)
    assert set(odd) <= set(listed)
    for name in odd:
        assert (await account.status(name)).messages == 0
        await account.delete(name)
    assert await names(account) == [INBOX, *OWN, "new"]


async def test_a_name_that_is_too_long_is_refused(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    with pytest.raises(LimitReached):
        await account.create("n" * 300)
    with pytest.raises(LimitReached):
        await account.rename("Archive", "/".join(["part"] * 49) + "x" * 200)
    assert await names(account) == [INBOX, *OWN]


async def test_delete(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await account.create("A/B")
    await append(harness.store, Target(account=ANNA, mailbox="A", into_new=False))
    with pytest.raises(NotPermitted):
        await account.delete(INBOX)
    with pytest.raises(NotFound):
        await account.delete("No such")
    async with account.open("A") as mailbox:
        alarm = Alarm(mailbox)
        await account.delete("A")
        assert mailbox.deleted
        await alarm.rings()
        with pytest.raises(NotFound):
            await mailbox.set_flags([1], FlagChange.ADD, frozenset({SEEN}))
        with pytest.raises(NotFound):
            await mailbox.read(1)
    # With a child it stays as a name, and is none that can be opened or deleted.
    assert not (await info_of(account, "A")).selectable
    assert (await info_of(account, "A/B")).selectable
    assert (await account.quota()).messages == 0
    for attempt in (account.status("A"), account.delete("A")):
        with pytest.raises(NotFound):
            await attempt
    made = await account.create("A")
    assert made.selectable
    await account.delete("A")
    await account.delete("A/B")
    assert await names(account) == [INBOX, *OWN]


async def test_a_mailbox_made_again_has_a_new_identity(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    seen = set()
    last = 0
    for _ in range(3):
        info = await account.create("Again")
        status = await account.status("Again")
        assert status.uid_validity > last
        last = status.uid_validity
        seen.add((info.mailbox_id, status.mailbox_id))
        await account.delete("Again")
    assert len(seen) == 3 and all(one == two for one, two in seen)


async def test_rename_takes_the_tree_along(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await account.create("Work/a/b", [SpecialUse.FLAGGED])
    await account.create("Workshop")
    await append(
        harness.store, Target(account=ANNA, mailbox="Work/a/b", into_new=False, flags=frozenset({FLAGGED, "kw"}))
    )
    before = await account.status("Work/a/b")
    async with account.open("Work/a/b") as mailbox:
        await account.rename("Work", "Old/Work")
        assert mailbox.name == "Old/Work/a/b" and not mailbox.deleted
        await mailbox.set_flags([1], FlagChange.ADD, frozenset({SEEN}))
        assert await mailbox.read(1) == MESSAGE
        async with account.open("Old/Work/a/b") as same:
            assert same is mailbox
            assert flags_of(same, 1) == {FLAGGED, SEEN, "kw"}
    after = await account.status("Old/Work/a/b")
    assert (after.mailbox_id, after.uid_validity, after.uid_next) == (before.mailbox_id, before.uid_validity, 2)
    assert (await info_of(account, "Old/Work/a/b")).special_use == {SpecialUse.FLAGGED}
    found = [name for name in await names(account) if name not in OWN]
    assert found == [INBOX, "Old", "Old/Work", "Old/Work/a", "Old/Work/a/b", "Workshop"]


async def test_rename_refuses_what_cannot_be(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await account.create("A/B")
    for old, new, error in (
        ("No such", "X", NotFound),
        ("A", "Sent", AlreadyExists),
        ("A", "inbox", AlreadyExists),
        ("A", "A", AlreadyExists),
        ("A", "A/C", InvalidInput),
        ("A", "x//y", InvalidInput),
    ):
        with pytest.raises(error):
            await account.rename(old, new)
    assert await names(account) == [INBOX, "A", "A/B", *OWN]


async def test_rename_of_a_name_that_only_has_children(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await account.create("A/B")
    await account.delete("A")
    await account.rename("A", "C")
    assert await names(account) == [INBOX, "Archive", "C", "C/B", *OWN[1:]]
    assert not (await info_of(account, "C")).selectable


async def test_rename_of_the_inbox_moves_its_messages(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await account.create("INBOX/child")
    await deliver(harness.store, count=2)
    async with account.open(INBOX) as inbox:
        await inbox.set_flags([2], FlagChange.ADD, frozenset({DELETED, "kw"}))
        identity = (inbox.mailbox_id, inbox.uid_validity)
        await account.rename("inbox", "Moved")
        assert (inbox.mailbox_id, inbox.uid_validity, inbox.deleted, len(inbox.table)) == (*identity, False, 0)
        assert await deliver(harness.store) == [3]
    async with account.open("Moved") as moved:
        assert len(moved.table) == 2
        assert flags_of(moved, moved.table.uids[1]) == {DELETED, "kw"}
    assert "INBOX/child" in await names(account)
    with pytest.raises(AlreadyExists):
        await account.rename(INBOX, "Moved")


async def test_subscriptions_are_names_and_outlive_mailboxes(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await account.subscribe("Nowhere/at all", True)
    await account.subscribe("Sent", False)
    await account.subscribe("Sent", False)
    await account.create("X")
    await account.subscribe("X", True)
    await account.rename("X", "Y")
    await account.subscribe("Junk", True)
    await account.delete("Junk")
    assert await account.subscriptions() == {INBOX, "Archive", "Drafts", "Junk", "Trash", "Nowhere/at all", "X"}
    assert not (await info_of(account, "Sent")).subscribed
    assert not (await info_of(account, "Y")).subscribed
    with pytest.raises(InvalidInput):
        await account.subscribe("a//b", True)


async def test_status_counts(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await deliver(harness.store, count=3)
    async with account.open(INBOX) as inbox:
        await inbox.set_flags([1], FlagChange.ADD, frozenset({SEEN}))
        await inbox.set_flags([2], FlagChange.ADD, frozenset({SEEN, DELETED}))
        expected = (inbox.uid_next, inbox.uid_validity, inbox.highest_modseq, inbox.mailbox_id)
    status = await account.status("INBOX")
    assert (status.messages, status.unseen, status.deleted) == (3, 1, 1)
    assert status.size == 3 * len(MESSAGE)
    assert (status.uid_next, status.uid_validity, status.highest_modseq, status.mailbox_id) == expected


async def test_a_durable_store_finds_everything_again(open_store: OpenStore, request: pytest.FixtureRequest) -> None:
    if "memory" in request.node.name:
        pytest.skip("the memory store forgets, as it should")
    async with open_store() as harness:
        account = await harness.store.open_account(ANNA)
        await account.create("Work/März", [SpecialUse.FLAGGED])
        await account.subscribe("Elsewhere", True)
        await account.set_quota(1_000_000, 1_000)
        await deliver(harness.store, count=4)
        async with account.open(INBOX) as inbox:
            await inbox.set_flags([1, 2], FlagChange.ADD, frozenset({SEEN, "kw"}))
            known = inbox.highest_modseq
            await inbox.expunge([4])
            await inbox.move([2], "Work/März")
            table, modseq = inbox.table, inbox.highest_modseq
        listed, quota = await account.list_mailboxes(), await account.quota()
        statuses = [await account.status(info.name) for info in listed]
    async with open_store() as harness:
        account = await harness.store.open_account(ANNA)
        assert await account.list_mailboxes() == listed
        assert await account.quota() == quota
        assert "Elsewhere" in await account.subscriptions()
        assert [await account.status(info.name) for info in listed] == statuses
        async with account.open(INBOX) as inbox:
            assert (inbox.table.uids, inbox.table.dates, inbox.table.sizes) == (table.uids, table.dates, table.sizes)
            assert inbox.table.modseqs == table.modseqs and inbox.highest_modseq == modseq
            assert flags_of(inbox, 1) == {SEEN, "kw"}
            assert list((await inbox.changes_since(known)).vanished) == [2, 4]
        assert await deliver(harness.store) == [5]


async def test_find_a_mailbox_without_opening_it(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    made = await account.create("A/B")
    assert await account.find("A/B") == made
    assert (await account.find("inBox")).name == INBOX
    await account.delete("A")
    for name in ("A", "nothing", "", "a//b", "*"):
        with pytest.raises(NotFound):
            await account.find(name)


async def uses_of(account: AccountStore) -> dict[str, frozenset[SpecialUse]]:
    return {info.name: info.special_use for info in await account.list_mailboxes() if info.special_use}


async def test_a_special_use_belongs_to_one_mailbox(open_store: OpenStore, request: pytest.FixtureRequest) -> None:
    async with open_store() as harness:
        account = await harness.store.open_account(ANNA)
        await account.create("Gesendet", [SpecialUse.SENT, SpecialUse.JUNK])
        before = await uses_of(account)
        assert before["Gesendet"] == {SpecialUse.SENT, SpecialUse.JUNK}
        assert "Sent" not in before and "Junk" not in before and before["Trash"] == {SpecialUse.TRASH}
        with pytest.raises(AlreadyExists):
            await account.create("Gesendet", [SpecialUse.TRASH])
        await account.set_special_use("Sent", [SpecialUse.SENT])
        await account.set_special_use("Trash", [])
        await account.set_special_use("Archive", [SpecialUse.ARCHIVE, SpecialUse.DRAFTS])
        with pytest.raises(NotPermitted):
            await account.set_special_use("inbox", [SpecialUse.SENT])
        with pytest.raises(NotFound):
            await account.set_special_use("No such", [SpecialUse.SENT])
        after = await uses_of(account)
        assert after == {
            "Archive": {SpecialUse.ARCHIVE, SpecialUse.DRAFTS},
            "Gesendet": {SpecialUse.JUNK},
            "Sent": {SpecialUse.SENT},
        }
    if "memory" not in request.node.name:
        async with open_store() as harness:
            assert await uses_of(await harness.store.open_account(ANNA)) == after
