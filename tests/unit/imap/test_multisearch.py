"""ESEARCH over several mailboxes: rights, limits, and that nothing stays open (RFC 7377 §2.2, §2.4)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from mailserver.imap.search import sources
from mailserver.imap.search.evaluate import Found
from mailserver.imap.search.evaluate import find as really_find
from mailserver.model.mailbox import MailboxInfo
from mailserver.model.rights import NO_RIGHTS, RightsChange, parse_rights
from mailserver.storage.memory import MemoryStore
from tests.helpers.imap import Response
from tests.helpers.imap_service import ANNA, ImapHarness
from tests.helpers.maildir import open_store

BEN = "ben@example.test"
SHARED = "Other Users/anna@example.test"


@pytest.fixture(params=["memory", "maildir"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ImapHarness]:
    async with AsyncExitStack() as stack:
        store = MemoryStore() if request.param == "memory" else await stack.enter_async_context(open_store(tmp_path))
        harness = await stack.enter_async_context(ImapHarness(store=store))
        account = await store.open_account(ANNA)
        for name, rights in (("Read", "lr"), ("Read/Deep", "lr"), ("Blind", "r"), ("Seen", "l"), ("Own", "")):
            await account.create(name)
            await account.grant(name, BEN, RightsChange.REPLACE, parse_rights(rights))
            await harness.deliver(b"Subject: x\r\n\r\n", mailbox=name)
        yield harness


def searched(response: Response) -> list[str]:
    found = [re.search(rb'MAILBOX "?([^"]+)"? UIDVALIDITY', line) for line in response.only("ESEARCH")]
    return [match[1].decode().removeprefix(SHARED + "/") for match in found if match]


async def test_what_may_not_be_read_is_not_there(server: ImapHarness) -> None:
    async with server.client("ben") as ben:
        names = " ".join(f'"{SHARED}/{name}"' for name in ("Read", "Blind", "Seen", "Own", "Nothing"))
        assert searched(await ben.ok(f"ESEARCH IN (mailboxes ({names})) ALL")) == ["Read", "Blind"]
        # What is not named must be one that may be looked up, too.
        assert searched(await ben.ok(f'ESEARCH IN (subtree "{SHARED}") ALL')) == ["Read", "Read/Deep"]
        assert searched(await ben.ok(f'ESEARCH IN (subtree-one "{SHARED}") ALL')) == ["Read"]
        assert searched(await ben.ok("ESEARCH IN (personal) ALL")) == []
        await ben.ok(f'SUBSCRIBE "{SHARED}/Read/Deep"')
        assert searched(await ben.ok("ESEARCH IN (subscribed) ALL")) == ["Read/Deep"]


async def test_the_selected_mailbox_stays_selected(server: ImapHarness) -> None:
    async with server.client(select="Own") as anna:
        assert searched(await anna.ok("ESEARCH IN (personal) ALL")) == ["Own", "Blind", "Read", "Read/Deep", "Seen"]
        assert (await anna.ok("SEARCH ALL")).untagged == (b"* SEARCH 1",)


async def test_as_many_mailboxes_as_are_granted(server: ImapHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    async with server.client() as anna:
        monkeypatch.setattr(sources, "MAX_MAILBOXES", 3)
        assert (await anna.command("ESEARCH IN (personal) ALL")).code("LIMIT") == ""
        assert len(searched(await anna.ok("ESEARCH IN (mailboxes (Read Blind Seen)) ALL"))) == 3


async def test_no_mailbox_stays_open(server: ImapHarness) -> None:
    async with server.client() as anna:
        await anna.ok("ESEARCH IN (personal) TEXT x")
        # A mailbox that a session has open tells it when it is deleted.
        await anna.ok("DELETE Blind")
        assert searched(await anna.ok("ESEARCH IN (personal) ALL")) == ["Own", "Read", "Read/Deep", "Seen"]


async def test_rights_that_go_while_others_are_searched(server: ImapHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await server.store.open_account(ANNA)

    async def find(*arguments: Any, **more: Any) -> Found:
        await account.grant("Read/Deep", BEN, RightsChange.REPLACE, NO_RIGHTS)
        return await really_find(*arguments, **more)

    monkeypatch.setattr("mailserver.imap.commands.multisearch.find", find)
    async with server.client("ben") as imap:
        assert searched(await imap.ok(f'ESEARCH IN (subtree "{SHARED}") ALL')) == ["Read"]


async def test_many_names_cost_one_look_at_the_mailboxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """ATTACKS I17: thousands of trees in an account of thousands of mailboxes."""
    looks = 0
    async with ImapHarness() as server, server.client() as imap:
        account = await server.store.open_account(ANNA)
        await account.create("a/b/c")
        await server.deliver(b"x", mailbox="a/b/c")
        real = account.list_mailboxes

        async def counted() -> list[MailboxInfo]:
            nonlocal looks
            looks += 1
            return await real()

        monkeypatch.setattr(account, "list_mailboxes", counted)
        trees = " ".join(f"subtree (x{number} a) subtree-one (a/b {number})" for number in range(50))
        assert searched(await imap.ok(f"ESEARCH IN ({trees}) ALL")) == ["a/b/c"]
        assert looks == 1
        assert searched(await imap.ok("ESEARCH IN (subtree-one (a INBOX) subtree a/b/c/d) ALL")) == []
