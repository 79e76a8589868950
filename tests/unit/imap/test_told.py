"""What the server tells observers of what users do with their mail."""

from __future__ import annotations

from typing import Any

from mailserver.model.events import Appended, FlagsChanged, Moved
from mailserver.model.flags import FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.numset import NumSet
from tests.helpers.imap_service import ANNA, ImapHarness

MESSAGE = b"Subject: x\r\n\r\ntext\r\n"


def told(server: ImapHarness) -> list[Any]:
    found = [event for event in server.events if isinstance(event, Appended | Moved | FlagsChanged)]
    server.events.clear()
    return found


async def test_moves_copies_and_flags_are_told() -> None:
    async with ImapHarness() as server:
        for _ in range(3):
            await server.deliver(MESSAGE)
        async with server.client(select="INBOX") as imap:
            assert (await imap.command("MOVE 1,3 Junk")).status == "OK"
            assert (await imap.command("UID COPY 2 Archive")).status == "OK"
            assert (await imap.command("STORE 1 +FLAGS.SILENT ($NotJunk)")).status == "OK"
            moved, copied, flagged = told(server)
            assert moved == Moved(
                account=ANNA, mailbox="Junk", uids=NumSet.from_numbers([1, 2]), source_account=ANNA, source="INBOX"
            )
            assert (copied.mailbox, copied.copied) == ("Archive", True)
            assert flagged == FlagsChanged(
                account=ANNA, mailbox="INBOX", uids=NumSet.from_numbers([2]), how=FlagChange.ADD,
                flags=frozenset({"$NotJunk"}),
            )  # fmt: skip
            # What was not done is not told.
            assert (await imap.command("MOVE 9 Junk")).status != "OK"
            assert (await imap.command("MOVE 1 Nowhere")).status == "NO"
            assert (await imap.command("UID MOVE 99 Junk")).status == "OK"
            assert (await imap.command("UID STORE 99 +FLAGS (\\Seen)")).status == "OK"
            assert told(server) == []


async def test_between_accounts_both_are_named() -> None:
    ben = AccountId("ben@example.test")
    async with ImapHarness() as server:
        await server.deliver(MESSAGE)
        async with server.client("ben") as imap:
            assert (await imap.command("SETACL INBOX anna@example.test lri")).status == "OK"
        async with server.client(select="INBOX") as imap:
            assert (await imap.command('MOVE 1 "Other Users/ben@example.test/INBOX"')).status == "OK"
            (moved,) = told(server)
            assert (moved.account, moved.mailbox, moved.source_account, moved.source) == (ben, "INBOX", ANNA, "INBOX")


async def test_what_is_stored_is_told() -> None:
    async with ImapHarness() as server, server.client() as imap:
        message = f" {{{len(MESSAGE)}+}}\r\n{MESSAGE.decode()}"
        assert (await imap.command(f"APPEND Drafts{message}{message}")).status == "OK"
        assert (await imap.command("SELECT Drafts")).status == "OK"
        assert (await imap.command(f"REPLACE 1 Sent{message}")).status == "OK"
        first, second = told(server)
        octets = len(MESSAGE)
        assert first == Appended(
            account=ANNA, mailbox="Drafts", uids=NumSet.from_numbers([1, 2]), octets=2 * octets
        )
        assert second == Appended(account=ANNA, mailbox="Sent", uids=NumSet.from_numbers([1]), octets=octets)
        assert (await imap.command(f"APPEND Nowhere{message}")).status == "NO"
        assert told(server) == []
