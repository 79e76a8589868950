"""ESEARCH over several mailboxes: rights, limits, and that nothing stays open (RFC 7377 §2.2, §2.4)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mailserver.imap import sources
from mailserver.model.rights import RightsChange, parse_rights
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
