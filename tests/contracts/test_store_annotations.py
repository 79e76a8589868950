"""Annotations of mailboxes and accounts, on every store (RFC 5464)."""

from __future__ import annotations

import pytest

from mailserver.model.changes import AccountChange, MetadataChanged
from mailserver.model.errors import LimitReached, NotFound
from mailserver.model.mailbox import INBOX, SpecialUse
from mailserver.model.metadata import MAX_ENTRIES, MAX_TOTAL, MAX_VALUE, SPECIAL_USE, TooManyEntries
from tests.contracts.stores import Harness, OpenStore
from tests.contracts.test_store import ANNA, deliver

COMMENT, SHARED = "/private/comment", "/shared/comment"
ODD_NAME = "/shared/vendor/x/a b=+20 y"
ODD = {COMMENT: bytes(range(256)), SHARED: b"", ODD_NAME: "Grüße\r\nzwei".encode()}


async def test_values_are_octets_and_can_be_taken_away(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    for name in (INBOX, "Archive", None):
        assert await account.annotations(name) == {}
        await account.annotate(name, ODD)
        assert await account.annotations(name) == ODD
        await account.annotate(name, {COMMENT: b"new", SHARED: None, "/private/none": None})
        assert await account.annotations(name) == {COMMENT: b"new", ODD_NAME: ODD[ODD_NAME]}
    await account.annotate("inbox", {COMMENT: None, ODD_NAME: None})
    assert await account.annotations(INBOX) == {}
    for name in ("No such", "a//b"):
        with pytest.raises(NotFound):
            await account.annotations(name)
        with pytest.raises(NotFound):
            await account.annotate(name, {COMMENT: b"x"})


async def test_they_go_with_their_mailbox(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    await deliver(harness.store)
    await account.create("Work/x")
    for name in ("Work", "Work/x", INBOX):
        await account.annotate(name, {COMMENT: name.encode()})
    await account.rename("Work", "Play")
    assert [(await account.annotations(name))[COMMENT] for name in ("Play", "Play/x")] == [b"Work", b"Work/x"]
    await account.delete("Play/x")
    await account.create("Play/x")
    assert await account.annotations("Play/x") == {}
    # RFC 5464 §4.1: INBOX keeps its own, and the new mailbox has a copy.
    await account.rename(INBOX, "Old")
    assert await account.annotations(INBOX) == await account.annotations("Old") == {COMMENT: b"INBOX"}


async def test_bounds(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    for name in (INBOX, None):
        await account.annotate(name, {f"/private/e/{n}": b"x" for n in range(MAX_ENTRIES)})
        with pytest.raises(TooManyEntries):
            await account.annotate(name, {"/private/e/0": b"changed", "/private/one more": b"x"})
        assert (await account.annotations(name))["/private/e/0"] == b"x"
        await account.annotate(name, {"/private/e/0": b"changed"})
        await account.annotate(name, {"/private/e/1": None, "/private/one more": b"x"})
        with pytest.raises(LimitReached):
            await account.annotate(name, {"/private/e/0": b"x" * (MAX_VALUE + 1)})
        with pytest.raises(LimitReached):
            await account.annotate(name, {f"/private/e/{n}": b"x" * MAX_VALUE for n in range(MAX_TOTAL // MAX_VALUE)})
        assert len(await account.annotations(name)) == MAX_ENTRIES


async def test_observers_are_told_the_names(harness: Harness) -> None:
    account = await harness.store.open_account(ANNA)
    changes: list[AccountChange] = []
    account.observe(changes.append)
    await account.annotate("Archive", {COMMENT: b"x", SHARED: None})
    await account.annotate(None, {COMMENT: b"x"})
    with pytest.raises(LimitReached):
        await account.annotate("Archive", {SHARED: b"x" * (MAX_VALUE + 1)})
    await account.set_special_use("Archive", [SpecialUse.SENT])
    await account.create("Junk mail", [SpecialUse.JUNK])
    assert [change for change in changes if isinstance(change, MetadataChanged)] == [
        MetadataChanged("Archive", (COMMENT, SHARED)),
        MetadataChanged("", (COMMENT,)),
        MetadataChanged("Archive", (SPECIAL_USE,)),
        MetadataChanged("Sent", (SPECIAL_USE,)),
        MetadataChanged("Junk", (SPECIAL_USE,)),
    ]


async def test_a_durable_store_keeps_them(open_store: OpenStore, request: pytest.FixtureRequest) -> None:
    if "memory" in request.node.name:
        pytest.skip("the memory store forgets, as it should")
    async with open_store() as harness:
        account = await harness.store.open_account(ANNA)
        for name in (INBOX, "Sent", None):
            await account.annotate(name, {COMMENT: str(name).encode(), SHARED: b"\0\r\n"})
    async with open_store() as harness:
        account = await harness.store.open_account(ANNA)
        for name in (INBOX, "Sent", None):
            assert await account.annotations(name) == {COMMENT: str(name).encode(), SHARED: b"\0\r\n"}


async def test_access_keys_of_mailboxes(open_store: OpenStore, request: pytest.FixtureRequest) -> None:
    """RFC 4467 §2.3: made once, gone with the mailbox, never two the same."""
    async with open_store() as harness:
        account = await harness.store.open_account(ANNA)
        await account.create("Work")
        assert await account.url_key("Work") is None
        keys = [await account.url_key(name, make=True) for name in ("Work", INBOX, "Sent")]
        assert len({key for key in keys if key is not None and len(key) == 32}) == 3
        assert await account.url_key("inbox", make=True) == keys[1] == await account.url_key(INBOX)
        await account.rename("Work", "Play")
        assert await account.url_key("Play") == keys[0]
        await account.reset_url_keys("Sent")
        assert await account.url_key("Sent") is None
        assert await account.url_key("Sent", make=True) != keys[2]
        await account.delete("Play")
        await account.create("Play")
        assert await account.url_key("Play") is None
        for name in ("No such", "a//b"):
            with pytest.raises(NotFound):
                await account.url_key(name, make=True)
            with pytest.raises(NotFound):
                await account.reset_url_keys(name)
    if "memory" in request.node.name:
        return
    async with open_store() as harness:
        account = await harness.store.open_account(ANNA)
        assert await account.url_key(INBOX) == keys[1]
        await account.reset_url_keys(None)
        assert await account.url_key(INBOX) is None and await account.url_key("Sent") is None
