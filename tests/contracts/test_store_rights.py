"""ACLs: kept with the mailbox, and found by those whom they name (RFC 4314)."""

from __future__ import annotations

import asyncio

import pytest

from mailserver.model.errors import LimitReached, NotFound
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX
from mailserver.model.rights import ALL_RIGHTS, NO_RIGHTS, Acl, Rights, RightsChange, parse_rights
from mailserver.ports.store import AccountStore, MailStore
from tests.contracts.stores import Harness, OpenStore
from tests.contracts.test_store import ANNA

BEN, CLEO = AccountId("ben@example.test"), AccountId("cleo@elsewhere.test")
LRS = parse_rights("lrs")


async def share(account: AccountStore, name: str, identifier: str, rights: Rights = LRS) -> None:
    await account.grant(name, identifier, RightsChange.REPLACE, rights)


async def acl(account: AccountStore, name: str) -> Acl:
    return (await account.find(name)).acl


async def test_an_entry_is_set_added_to_taken_from_and_removed(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    assert await acl(account, INBOX) == {}
    await share(account, "inbox", BEN)
    await share(account, INBOX, "-" + CLEO, ALL_RIGHTS)
    await account.grant(INBOX, BEN, RightsChange.ADD, parse_rights("ie"))
    await account.grant(INBOX, BEN, RightsChange.REMOVE, parse_rights("sx"))
    assert await acl(account, INBOX) == {BEN: parse_rights("lrie"), "-" + CLEO: ALL_RIGHTS}
    await account.grant(INBOX, BEN, RightsChange.REMOVE, ALL_RIGHTS)
    await share(account, INBOX, "-" + CLEO, NO_RIGHTS)
    await share(account, INBOX, "nobody@example.test", NO_RIGHTS)
    assert await acl(account, INBOX) == {}
    for name in ("nothing", "a//b"):
        with pytest.raises(NotFound):
            await share(account, name, BEN)


async def test_the_live_mailbox_tells_and_wakes(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await account.create("Shared")
    async with account.open("Shared") as box:
        before, woken = box.acl, asyncio.Event()
        undo = box.subscribe(woken.set)
        await share(account, "Shared", BEN)
        await asyncio.wait_for(woken.wait(), 5)
        assert before == {}
        assert box.acl == {BEN: LRS}
        undo()
        await account.rename("Shared", "Elsewhere")
        assert box.acl == {BEN: LRS}


async def test_new_mailboxes_inherit_and_renamed_ones_keep(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await account.create("Team")
    await share(account, "Team", BEN)
    await account.create("Team/a/b")
    assert await acl(account, "Team/a") == await acl(account, "Team/a/b") == {BEN: LRS}
    await share(account, "Team/a", CLEO)
    assert await acl(account, "Team") == {BEN: LRS}
    await account.rename("Team/a", "Mine")
    assert await acl(account, "Mine") == {BEN: LRS, CLEO: LRS}
    assert await acl(account, "Mine/b") == {BEN: LRS}
    await account.create("Teams")
    assert await acl(account, "Teams") == {}
    await account.delete("Mine")
    await account.create("Mine")
    assert await acl(account, "Mine") == {}


async def test_an_acl_is_bounded(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    for number in range(100):
        await share(account, INBOX, f"user{number}@example.test")
    with pytest.raises(LimitReached):
        await share(account, INBOX, BEN)
    await share(account, INBOX, "user5@example.test", ALL_RIGHTS)
    assert len(await acl(account, INBOX)) == 100
    for number in range(60):
        await share(account, "Sent", f"{number:064d}@{'d' * 60}.{'e' * 60}.{'f' * 60}.test")
        if (await acl(account, "Sent")).keys() >= {"x"}:
            break
    with pytest.raises(LimitReached):
        for number in range(60, 100):
            await share(account, "Sent", f"{number:064d}@{'d' * 60}.{'e' * 60}.{'f' * 60}.test")


async def sharers(store: MailStore, account: AccountId) -> list[AccountId]:
    return list(await store.sharers(account))


async def test_who_shares_with_whom(harness: Harness) -> None:
    store = harness.store
    anna, ben = await store.open_account(ANNA), await store.open_account(BEN)
    assert await sharers(store, CLEO) == []
    await share(anna, INBOX, BEN)
    assert (await sharers(store, BEN), await sharers(store, CLEO)) == ([ANNA], [])
    await share(ben, INBOX, "@elsewhere.test")
    await share(anna, "Sent", "anyone")
    assert (await sharers(store, CLEO), await sharers(store, ANNA)) == ([ANNA, BEN], [])
    await share(anna, "Sent", "anyone", NO_RIGHTS)
    await share(anna, "Sent", CLEO)
    await anna.rename("Sent", "Posted")
    assert await sharers(store, CLEO) == [ANNA, BEN]
    await anna.delete("Posted")
    assert await sharers(store, CLEO) == [BEN]


async def test_an_account_that_goes_leaves_no_rights(harness: Harness) -> None:
    store = harness.store
    anna, ben = await store.open_account(ANNA), await store.open_account(BEN)
    await share(anna, INBOX, BEN)
    await share(anna, INBOX, "-" + BEN, parse_rights("t"))
    await share(anna, INBOX, CLEO)
    await share(ben, "Sent", CLEO)
    async with ben.open("Sent") as box:
        await store.revoke(BEN)
        assert box.acl == {}
    assert await acl(anna, INBOX) == {CLEO: LRS}
    assert (await sharers(store, BEN), await sharers(store, CLEO)) == ([], [ANNA])
    await share(ben, "Sent", CLEO)
    await share(anna, INBOX, BEN)
    await store.remove_account(BEN)
    assert (await sharers(store, CLEO), await acl(anna, INBOX)) == ([ANNA], {CLEO: LRS})


async def test_naming_an_account_makes_none(harness: Harness) -> None:
    store = harness.store
    await store.open_account(ANNA)
    for name in (BEN, AccountId("../x@example.test"), AccountId("anna@"), AccountId("x" * 300 + "@example.test")):
        with pytest.raises(NotFound):
            await store.existing_account(name)
        await store.revoke(name)
    assert await store.accounts() == [ANNA]
    assert (await (await store.existing_account(ANNA)).find(INBOX)).name == INBOX


async def test_a_durable_store_finds_all_of_it_again(open_store: OpenStore) -> None:
    odd = AccountId('a b=%"ü@example.test')
    async with open_store() as harness:
        account = await harness.store.open_account(ANNA)
        await share(account, INBOX, BEN)
        await share(account, "Sent", odd, ALL_RIGHTS)
        await share(account, "Sent", "anyone")
    async with open_store() as harness:
        if await harness.store.accounts() != [ANNA]:
            pytest.skip("this store forgets")
        assert await sharers(harness.store, BEN) == [ANNA]
        account = await harness.store.open_account(ANNA)
        assert await acl(account, INBOX) == {BEN: LRS}
        assert await acl(account, "Sent") == {odd: ALL_RIGHTS, "anyone": LRS}
