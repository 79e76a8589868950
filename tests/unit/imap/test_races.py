"""What a session is told when others remove messages while its command is under way."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from mailserver.storage.memory import MemoryStore
from mailserver.storage.memory_mailbox import MemoryMailbox
from tests.helpers.imap_service import ANNA, ImapHarness

MESSAGES = tuple(b"Subject: %d\r\n\r\n%d\r\n" % (number, number) for number in range(1, 5))


def gone_before(monkeypatch: pytest.MonkeyPatch, operation: str, *uids: int) -> None:
    """Another session removes these just before the store's operation begins."""
    original = getattr(MemoryMailbox, operation)

    async def late(self: MemoryMailbox, *arguments: Any, **more: Any) -> Any:
        await self.expunge(uids)
        return await original(self, *arguments, **more)

    monkeypatch.setattr(MemoryMailbox, operation, late)


async def test_fetch_by_number_of_what_goes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    original = MemoryMailbox.read_many

    async def late(self: MemoryMailbox, uids: Sequence[int], **more: Any) -> AsyncIterator[list[tuple[int, bytes]]]:
        await self.expunge([2])
        async for batch in original(self, uids, **more):
            yield batch

    monkeypatch.setattr(MemoryMailbox, "read_many", late)
    async with ImapHarness() as server:
        await server.deliver(*MESSAGES)
        async with server.client(select="INBOX") as imap:
            response = await imap.command("FETCH 1:3 BODY.PEEK[TEXT]")
            assert response.status == "NO" and response.code("EXPUNGEISSUED") == ""
            assert [line.split()[1] for line in response.only("FETCH")] == [b"1", b"3"]
        async with server.client(select="INBOX") as imap:
            # By UID nobody is promised anything.
            assert len((await imap.ok("UID FETCH 1:3 BODY.PEEK[TEXT]")).only("FETCH")) == 2


async def test_a_rendered_item_of_what_goes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    gone_before(monkeypatch, "rendered", 2)
    async with ImapHarness() as server:
        await server.deliver(*MESSAGES)
        async with server.client(select="INBOX") as imap:
            assert (await imap.command("FETCH 1:3 ENVELOPE")).code("EXPUNGEISSUED") == ""


async def test_store_by_number_of_what_goes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    gone_before(monkeypatch, "set_flags", 2)
    async with ImapHarness() as server:
        await server.deliver(*MESSAGES)
        async with server.client(select="INBOX") as imap:
            response = await imap.command("STORE 1:3 +FLAGS (\\Seen)")
            assert response.status == "NO" and response.code("EXPUNGEISSUED") == ""
            assert [line.split()[1] for line in response.only("FETCH")] == [b"1", b"3"]


@pytest.mark.parametrize("name", ["copy", "move"])
async def test_copy_by_number_of_what_goes_meanwhile(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    gone_before(monkeypatch, name, 2)
    async with ImapHarness() as server:
        await server.deliver(*MESSAGES)
        async with server.client(select="INBOX") as imap:
            response = await imap.command(f"{name} 2 Archive")
            assert response.status == "NO" and response.code("EXPUNGEISSUED") == ""
            # Some of several: what was done is said, and only that.
            assert (await imap.ok(f"{name} 1,2 Archive")).code("COPYUID") is not None


@pytest.mark.parametrize(("owner", "method", "command"), [
    (MemoryMailbox, "copy", "COPY 1 INBOX"),
    (MemoryStore, "replace", "REPLACE 1 INBOX {17+}\r\nSubject: x\r\n\r\nx\r\n"),
])  # fmt: skip
async def test_copy_and_replace_in_a_mailbox_that_is_deleted_meanwhile(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, command: str
) -> None:
    """It is not the destination that should be made."""
    original = getattr(owner, method)
    async with ImapHarness() as server, server.client() as imap:
        await imap.ok("CREATE box")
        await server.deliver(*MESSAGES, mailbox="box")
        await imap.ok("SELECT box")
        account = await server.store.open_account(ANNA)

        async def late(self: Any, *arguments: Any, **more: Any) -> Any:
            await account.delete("box")
            return await original(self, *arguments, **more)

        monkeypatch.setattr(owner, method, late)
        response = await imap.command(command)
        assert response.status == "NO" and response.code("NONEXISTENT") == ""


async def test_a_modseq_does_not_hide_an_expunge_that_waits() -> None:
    """RFC 7162 §6: the client must not count the change as known whose VANISHED it was not told."""
    async with ImapHarness() as server:
        await server.deliver(*MESSAGES)
        async with server.client(enable="QRESYNC", select="INBOX") as imap:
            validity = re.search(r"\d+", (await imap.ok("STATUS INBOX (UIDVALIDITY)")).untagged[0].decode())
            assert validity is not None
            await server.expunge(2)
            response = await imap.ok("STORE 1 +FLAGS (\\Seen)")
            assert response.only("VANISHED") == []
            known = response.code("HIGHESTMODSEQ")
            told = re.search(rb"MODSEQ \((\d+)\)", response.only("FETCH")[0])
            assert known is not None and told is not None and int(known) < int(told[1])
        async with server.client(enable="QRESYNC") as imap:
            response = await imap.ok(f"SELECT INBOX (QRESYNC ({validity[0]} {known}))")
            assert b"* VANISHED (EARLIER) 2" in response.untagged
            # With all of it told there is nothing to take back.
            assert (await imap.ok("NOOP")).code("HIGHESTMODSEQ") is None


async def test_close_does_not_say_what_the_client_has_not_seen() -> None:
    """RFC 7162 §3.2.8"""
    async with ImapHarness() as server:
        await server.deliver(*MESSAGES)
        async with server.client(enable="QRESYNC", select="INBOX") as imap:
            await imap.ok("STORE 2 +FLAGS (\\Deleted)")
            assert (await imap.ok("CLOSE")).code("HIGHESTMODSEQ") is None


async def test_qresync_tells_of_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages go and come while the store looks for what vanished: the answer fits together all the same."""
    async with ImapHarness() as server:
        await server.deliver(*MESSAGES)
        async with server.client(enable="QRESYNC") as imap:
            first = await imap.ok("SELECT INBOX")
            known = f"{first.code('UIDVALIDITY')} {first.code('HIGHESTMODSEQ')}"
            await imap.ok("UNSELECT")
            original = MemoryMailbox.changes_since

            async def late(self: MemoryMailbox, modseq: int) -> Any:
                changes = await original(self, modseq)
                await server.expunge(2, 5)
                await server.deliver(*MESSAGES[:2])
                return changes

            await server.deliver(MESSAGES[0])
            monkeypatch.setattr(MemoryMailbox, "changes_since", late)
            response = await imap.ok(f"SELECT INBOX (QRESYNC ({known}))")
            assert response.only("EXISTS") == [b"* 5 EXISTS"]
            assert b"* VANISHED (EARLIER) 2,5" in response.untagged
            assert [line[: line.index(b" MODSEQ")] for line in response.only("FETCH")] == [
                b"* 4 FETCH (UID 6", b"* 5 FETCH (UID 7",
            ]  # fmt: skip



@pytest.mark.parametrize("command", ["COPY 1 box", "MOVE 1 box", "APPEND box {1+}\r\nx"])
async def test_uids_are_told_though_the_mailbox_gets_another_name(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """What the client put there has these UIDs, whatever it is called by now."""
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await server.deliver(*MESSAGES)
        await imap.ok("NOOP")
        await imap.ok("CREATE box")
        account = await server.store.open_account(ANNA)
        original = MemoryMailbox.visible

        async def late(self: MemoryMailbox, uid: int) -> None:
            await original(self, uid)
            if self.name == "box":
                await account.rename("box", "other")

        monkeypatch.setattr(MemoryMailbox, "visible", late)
        response = await imap.ok(command)
        assert (response.code("COPYUID") or response.code("APPENDUID") or "").endswith(" 1")
