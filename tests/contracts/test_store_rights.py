"""ACLs: kept with the mailbox, and found by those whom they name (RFC 4314)."""

from __future__ import annotations

import asyncio

import pytest

from mailserver.model.errors import LimitReached, NotFound, OverQuota
from mailserver.model.flags import DELETED, DRAFT, FLAGGED, SEEN, FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import INBOX, Rendered
from mailserver.model.rights import ALL_RIGHTS, NO_RIGHTS, Acl, Rights, RightsChange, parse_rights
from mailserver.ports.store import AccountStore, Mailbox, MailStore, Target
from tests.contracts.stores import Harness, OpenStore
from tests.contracts.test_store import ANNA, MESSAGE, append, flags_of

BEN, CLEO = AccountId("ben@example.test"), AccountId("cleo@elsewhere.test")
LRS = parse_rights("lrs")


async def share(account: AccountStore, name: str, identifier: str, rights: Rights = LRS) -> None:
    await account.grant(name, identifier, RightsChange.REPLACE, rights)


async def acl(account: AccountStore, name: str) -> Acl:
    return (await account.find(name)).acl


async def put(
    store: MailStore, data: bytes, *, flags: frozenset[str] = frozenset(), date: int | None = None,
    enforce_quota: bool = True,
) -> None:  # fmt: skip
    target = Target(account=ANNA, flags=flags, date=date, into_new=False, enforce_quota=enforce_quota)
    await append(store, target, data=data)


def all_flags(box: Mailbox) -> dict[int, frozenset[str]]:
    return {uid: flags_of(box, uid) for uid in box.table.uids}


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
    found = list(await store.sharers(account))
    for owner in (ANNA, BEN, CLEO, AccountId("nobody@example.test")):
        assert await store.shares(owner, account) is (owner in found)
    return found


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


async def test_an_account_that_goes_leaves_no_urls(harness: Harness) -> None:
    store = harness.store
    anna, ben = await store.open_account(ANNA), await store.open_account(BEN)
    kept, lost = [await account.url_key(INBOX, make=True) for account in (anna, ben)]
    assert kept and lost
    await store.revoke(BEN)
    assert (await anna.url_key(INBOX), await ben.url_key(INBOX)) == (kept, None)


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


async def test_flags_without_a_right_stay_as_they_are(harness: Harness) -> None:
    await put(harness.store, MESSAGE, flags=frozenset({SEEN, FLAGGED}))
    account = await harness.store.open_account(ANNA)
    async with account.open(INBOX) as box:
        async def after(how: FlagChange, flags: set[str], rights: str) -> set[str]:
            await box.set_flags([1], how, frozenset(flags), rights=parse_rights(rights))
            return set(all_flags(box)[1])

        assert await after(FlagChange.ADD, {DELETED, DRAFT}, "t") == {SEEN, FLAGGED, DELETED}
        assert await after(FlagChange.REMOVE, {SEEN, FLAGGED, DELETED}, "s") == {FLAGGED, DELETED}
        assert await after(FlagChange.REPLACE, {SEEN, "$New"}, "w") == {DELETED, "$New"}
        assert await after(FlagChange.REPLACE, set(), "st") == {"$New"}
        modseq = box.highest_modseq
        assert await after(FlagChange.REPLACE, {SEEN}, "") == {"$New"}
        assert box.highest_modseq == modseq
        assert await after(FlagChange.REPLACE, {SEEN}, "swt") == {SEEN}


async def test_copies_into_another_account(harness: Harness) -> None:
    store = harness.store
    ben = await store.open_account(BEN)
    await put(store, MESSAGE, flags=frozenset({SEEN, FLAGGED, "$Label"}), date=1_000_000_000)
    await put(store, b"second\n", flags=frozenset({DELETED}))
    await put(store, b"third")
    anna = await store.open_account(ANNA)
    async with anna.open(INBOX) as box, ben.open("Archive") as target:
        woken = asyncio.Event()
        undo = target.subscribe(woken.set)
        before = await anna.quota()
        result = await box.copy([1, 2, 9], "Archive", into=ben, rights=parse_rights("isw"))
        assert (result.source, result.target, result.uid_validity) == ((1, 2), (1, 2), target.uid_validity)
        await asyncio.wait_for(woken.wait(), 5)
        undo()
        assert all_flags(target) == {1: {SEEN, FLAGGED, "$Label"}, 2: frozenset()}
        assert (target.table.dates[0], list(target.table.sizes)) == (1_000_000_000, list(box.table.sizes)[:2])
        assert [await target.read(uid) for uid in (1, 2)] == [await box.read(uid) for uid in (1, 2)]
        fields = [Rendered.ENVELOPE]
        assert (await target.rendered([1], fields))[1] == (await box.rendered([1], fields))[1]
        assert await anna.quota() == before
        assert (await ben.quota()).messages == 2
        # what is changed or removed here is not changed there
        await box.expunge([1])
        assert (await target.read(1)).endswith(b"\r\n")
        with pytest.raises(NotFound):
            await box.copy([2], "nothing", into=ben)


async def test_moves_into_another_account(harness: Harness) -> None:
    store = harness.store
    anna, ben = await store.open_account(ANNA), await store.open_account(BEN)
    for text in (b"one", b"two"):
        await put(store, text)
    async with anna.open(INBOX) as box, ben.open(INBOX) as target:
        result = await box.move([1, 2], INBOX, into=ben)
        assert (result.source, result.target) == ((1, 2), (1, 2))
        assert (len(box.table), len(target.table)) == (0, 2)
        # and back, both ways at once: whoever is first, nobody waits for ever
        await put(store, b"three")
        both = asyncio.gather(target.move([1, 2], INBOX, into=anna), box.move([3], INBOX, into=ben))
        await asyncio.wait_for(both, 10)
        assert (len(box.table), len(target.table)) == (2, 1)
    assert ((await anna.quota()).messages, (await ben.quota()).messages) == (2, 1)


async def test_another_account_has_its_own_limits(harness: Harness) -> None:
    store = harness.store
    anna, ben = await store.open_account(ANNA), await store.open_account(BEN)
    await anna.set_quota(1, 1)
    await ben.set_quota(0, 1)
    async with anna.open(INBOX) as box:
        for text in (b"one", b"two"):
            await put(store, text, enforce_quota=False)
        for change in (box.copy, box.move):
            with pytest.raises(OverQuota):
                await change([1, 2], INBOX, into=ben)
        assert ((await ben.quota()).messages, len(box.table)) == (0, 2)
        # The account whose messages they are grows by nothing.
        await box.copy([2], INBOX, into=ben)
    assert (await ben.quota()).messages == 1


async def test_a_copy_into_another_account_survives(open_store: OpenStore) -> None:
    async with open_store() as harness:
        store = harness.store
        await put(store, MESSAGE, flags=frozenset({FLAGGED}))
        anna, ben = await store.open_account(ANNA), await store.open_account(BEN)
        async with anna.open(INBOX) as box:
            await box.copy([1], "Archive", into=ben)
            await box.move([1], "Archive", into=ben)
    async with open_store() as harness:
        if await harness.store.accounts() != [ANNA, BEN]:
            pytest.skip("this store forgets")
        anna, ben = await harness.store.open_account(ANNA), await harness.store.open_account(BEN)
        assert (await anna.status(INBOX)).messages == 0
        async with ben.open("Archive") as box:
            assert all_flags(box) == {1: {FLAGGED}, 2: {FLAGGED}}
            assert await box.read(2) == await box.read(1) == MESSAGE
