"""What observers of an account are told: every change, with the name that the mailbox has then, once it is visible."""

from __future__ import annotations

from mailserver.model.changes import (
    AccountChange,
    MailboxCreated,
    MailboxDeleted,
    MailboxRenamed,
    MessagesChanged,
    RightsChanged,
    SubscriptionChanged,
)
from mailserver.model.flags import SEEN, FlagChange
from mailserver.model.rights import Right, RightsChange
from mailserver.ports.store import AccountStore, Target
from tests.contracts.stores import Harness
from tests.contracts.test_store import ANNA, append, deliver


async def observed(harness: Harness) -> tuple[AccountStore, list[AccountChange]]:
    account = await harness.store.open_account(ANNA)
    changes: list[AccountChange] = []
    account.observe(changes.append)
    return account, changes


async def test_messages(harness: Harness) -> None:
    account, changes = await observed(harness)

    def told() -> set[AccountChange]:
        out = set(changes)
        changes.clear()
        return out

    await deliver(harness.store)
    assert told() == {MessagesChanged("INBOX")}
    await append(harness.store, Target(account=ANNA, mailbox="Sent", into_new=False))
    assert told() == {MessagesChanged("Sent")}
    async with account.open("INBOX") as inbox:
        assert told() == set()
        await inbox.set_flags([1], FlagChange.ADD, frozenset({SEEN}))
        assert told() == {MessagesChanged("INBOX")}
        await inbox.set_flags([1], FlagChange.ADD, frozenset({SEEN}))
        assert told() == set()
        await inbox.copy([1], "Archive")
        assert told() == {MessagesChanged("Archive")}
        await inbox.move([1], "Junk")
        assert told() == {MessagesChanged("INBOX"), MessagesChanged("Junk")}
    await deliver(harness.store)
    async with account.open("INBOX") as inbox:
        changes.clear()
        await inbox.expunge([2])
        assert told() == {MessagesChanged("INBOX")}


async def test_what_is_told_is_visible(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    async with account.open("INBOX") as inbox:
        seen: list[int] = []
        account.observe(lambda change: seen.append(len(inbox.table)))
        await deliver(harness.store)
    assert seen == [1]


async def test_a_look_that_finds_nothing_new_is_told_to_nobody(harness: Harness) -> None:
    """Else whoever looks because something was told is told again, and looks for ever."""
    account, changes = await observed(harness)
    await deliver(harness.store)
    async with account.open("INBOX") as inbox:
        changes.clear()
        # The directory was written to just now, so that its time of change is not trusted: it is read again.
        await account.status("INBOX")
        await inbox.refresh()
    assert changes == []


async def test_names_subscriptions_and_rights(harness: Harness) -> None:
    account, changes = await observed(harness)
    await account.create("a/b")
    await account.subscribe("a/b", True)
    await account.subscribe("a/b", True)
    await account.grant("a/b", "ben@example.test", RightsChange.ADD, frozenset({Right.LOOKUP}))
    await account.rename("a", "c/d")
    await account.delete("c/d/b")
    await account.subscribe("a/b", False)
    rights = changes.pop(3)
    assert changes == [
        MailboxCreated("a"),
        MailboxCreated("a/b"),
        SubscriptionChanged("a/b"),
        MailboxCreated("c"),
        MailboxRenamed("a", "c/d"),
        MailboxDeleted("c/d/b"),
        SubscriptionChanged("a/b"),
    ]
    assert isinstance(rights, RightsChanged) and rights.name == "a/b"
    assert not rights.before and rights.after == {"ben@example.test": {Right.LOOKUP}}


async def test_whoever_stopped_observing_is_told_nothing(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    first: list[AccountChange] = []
    second: list[AccountChange] = []
    undo = account.observe(first.append)
    account.observe(second.append)
    await account.create("a")
    undo()
    undo()
    await account.create("b")
    assert first == [MailboxCreated("a")] and second == [MailboxCreated("a"), MailboxCreated("b")]
