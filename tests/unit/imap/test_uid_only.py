"""UIDONLY (RFC 9586): no message number in either direction, once it is enabled."""

from __future__ import annotations

import pytest

from mailserver.model.flags import FlagChange
from tests.helpers.imap_service import ImapHarness

MESSAGE = b"Subject: x\r\n\r\nhello"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_messages_are_called_by_uid(when: str) -> None:
    async with ImapHarness() as server:
        await server.deliver(*[MESSAGE] * 4)
        await server.expunge(1)
        enable = "UIDONLY" if when == "before" else ""
        async with server.client(select="INBOX", enable=enable) as imap:
            if when == "after":
                assert (await imap.ok("ENABLE UIDONLY")).untagged == (b"* ENABLED UIDONLY",)
            assert (await imap.ok("UID FETCH 2:3 FLAGS")).untagged == (
                b"* 2 UIDFETCH (UID 2 FLAGS ())",
                b"* 3 UIDFETCH (UID 3 FLAGS ())",
            )
            (line,) = (await imap.ok("UID FETCH 4 BODY[TEXT]")).untagged
            assert line == b"* 4 UIDFETCH (UID 4 BODY[TEXT] {5}\r\nhello FLAGS (\\Seen))"
            assert (await imap.ok("UID STORE 2,4 +FLAGS (\\Deleted)")).untagged == (
                b"* 2 UIDFETCH (FLAGS (\\Deleted))",
                b"* 4 UIDFETCH (FLAGS (\\Deleted \\Seen))",
            )
            assert (await imap.ok("UID SEARCH ALL")).untagged == (b"* SEARCH 2 3 4",)
            await server.flag("3", FlagChange.ADD, "\\Flagged")
            assert (await imap.ok("NOOP")).untagged == (b"* 3 UIDFETCH (FLAGS (\\Flagged))",)
            assert (await imap.ok("UID EXPUNGE 2")).untagged == (b"* VANISHED 2",)
            await server.expunge(4)
            assert (await imap.ok("NOOP")).untagged == (b"* VANISHED 4",)
            assert (await imap.ok("UID MOVE 3 Trash")).untagged[-1] == b"* VANISHED 3"
            await imap.ok("APPEND INBOX {14+}\r\nSubject: x\r\n\r\n")
            assert (await imap.command("REPLACE 1 INBOX {14+}\r\nSubject: y\r\n\r\n")).code("UIDREQUIRED") == ""
            assert b"* VANISHED 5" in (await imap.ok("UID REPLACE 5 INBOX {14+}\r\nSubject: y\r\n\r\n")).untagged


async def test_with_condstore_and_a_large_message() -> None:
    async with ImapHarness() as server:
        await server.deliver(MESSAGE, MESSAGE + b"x" * 600_000)
        async with server.client(enable="CONDSTORE UIDONLY", select="INBOX") as imap:
            assert not any(b"UNSEEN" in line for line in (await imap.ok("EXAMINE INBOX")).untagged)
            await imap.ok("SELECT INBOX")
            (line,) = (await imap.ok("UID FETCH 2 BODY.PEEK[]")).untagged
            assert line.startswith(b"* 2 UIDFETCH (UID 2 BODY[] {")
            (line,) = (await imap.ok("UID STORE 2 +FLAGS.SILENT (x)")).only("UIDFETCH")
            assert line.startswith(b"* 2 UIDFETCH (UID 2 MODSEQ (")
            await server.flag("1", FlagChange.ADD, "\\Seen")
            assert (await imap.ok("NOOP")).untagged[-1].startswith(b"* 1 UIDFETCH (MODSEQ (")


@pytest.mark.parametrize(
    "command",
    [
        "UID SEARCH FUZZY 1", "ESEARCH FUZZY (ALL 1)",
        "FETCH 1 FLAGS", "STORE 1 +FLAGS (x)", "SEARCH ALL", "COPY 1 Trash", "MOVE 1 Trash", "UID SEARCH 1",
        "UID SEARCH OR SEEN NOT (ALL 1:*)", "SORT (DATE) UTF-8 ALL", "UID SORT (DATE) UTF-8 1",
        "THREAD REFERENCES UTF-8 ALL", "SELECT INBOX (QRESYNC (1 1 1 (1 1)))",
    ],
)  # fmt: skip
async def test_numbers_are_refused(command: str) -> None:
    async with ImapHarness() as server:
        await server.deliver(MESSAGE)
        async with server.client(enable="QRESYNC UIDONLY", select="INBOX") as imap:
            answer = await imap.command(command)
            assert answer.status == "BAD" and answer.code("UIDREQUIRED") == ""
            await imap.ok("UID SEARCH UID 1:*")
            await imap.ok("SELECT INBOX (QRESYNC (1 1 1))")


@pytest.mark.parametrize("keys", ["FILTER first", "NOT FILTER first", "OR SEEN FILTER second"])
@pytest.mark.parametrize("command", ["UID SEARCH {}", "UID SORT (DATE) UTF-8 {}", "UID THREAD REFERENCES UTF-8 {}"])
async def test_a_filter_with_numbers_is_refused(command: str, keys: str) -> None:
    async with ImapHarness() as server:
        await server.deliver(MESSAGE, MESSAGE)
        await server.expunge(1)
        async with server.client(select="INBOX") as imap:
            await imap.ok('SETMETADATA "" (/private/filters/values/first "1")')
            await imap.ok('SETMETADATA "" (/private/filters/values/second "FILTER first")')
            assert (await imap.ok("UID SEARCH FILTER first")).untagged == (b"* SEARCH 2",)
            await imap.ok("UID SEARCH RETURN (SAVE) ALL")
            await imap.ok("ENABLE UIDONLY")
            answer = await imap.command(command.format(keys))
            assert answer.status == "BAD" and answer.code("UIDREQUIRED") == ""
            assert (await imap.ok("UID SEARCH $")).untagged == (b"* SEARCH 2",)


async def test_searches_by_number_are_no_longer_kept_up_to_date() -> None:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        (by_number,) = (await imap.ok("SEARCH RETURN (UPDATE) ALL")).untagged
        (by_uid,) = (await imap.ok("UID SEARCH RETURN (UPDATE) ALL")).untagged
        line, enabled = (await imap.ok("ENABLE UIDONLY")).untagged
        assert line.startswith(b'* NO [NOUPDATE "%b"] ' % by_number.split(b'"')[1])
        assert enabled == b"* ENABLED UIDONLY"
        await server.deliver(MESSAGE)
        assert (await imap.ok("NOOP")).untagged == (b"* 1 EXISTS", by_uid + b" ADDTO (0 1)")


async def test_it_is_off_until_enabled_and_can_be_switched_off() -> None:
    async with ImapHarness() as server, server.client() as imap:
        assert "UIDONLY" in (await imap.ok("CAPABILITY")).untagged[0].decode().split()
    async with ImapHarness(imap={"disabled_capabilities": ["UIDONLY"]}) as server, server.client() as imap:
        assert (await imap.ok("ENABLE UIDONLY")).untagged == (b"* ENABLED",)
