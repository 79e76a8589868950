"""MESSAGELIMIT and SAVELIMIT (RFC 9738), on both stores; the limit is lower here than an operator may have it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.imap.settings import ImapSettings
from mailserver.ports.clock import SystemClock
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.imap import AsyncImap
from tests.helpers.imap_service import ImapHarness

LIMIT = 3


def _limit(server: ImapHarness, **limits: int) -> None:
    services = server.server.services
    services.settings = services.settings.model_copy(update=limits)


@pytest.fixture(params=["memory", "maildir"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ImapHarness]:
    """With messages of UIDs 1 to 7, of which 5 and 6 are flagged, and 2 is gone."""
    async with (
        MaildirStore(tmp_path, StorageSettings(), "mail.example.test", SystemClock()) as maildir,
        ImapHarness(store=maildir if request.param == "maildir" else None) as server,
    ):
        _limit(server, message_limit=LIMIT)
        for number in range(1, 8):
            flags = frozenset({"\\Flagged"} if number in (5, 6) else ())
            await server.deliver(b"Subject: %d\r\n\r\n%d" % (number % 4, number), flags=flags)
        await server.expunge(2)
        yield server


def _uids(lines: list[bytes]) -> list[int]:
    return [int(line.partition(b"UID ")[2].split(b" ")[0].rstrip(b")")) for line in lines]


async def test_fetch_gives_the_last_ones(server: ImapHarness) -> None:
    async with server.client(select="INBOX") as imap:
        for command in ("FETCH 1:* UID", "UID FETCH 1:* FLAGS", "FETCH 2:6 (UID BODY.PEEK[])", "UID FETCH 1,5:* UID"):
            answer = await imap.ok(command)
            assert (_uids(answer.only("FETCH")), answer.code("MESSAGELIMIT")) == ([5, 6, 7], "3 5"), command
        answer = await imap.ok("UID FETCH 1:4 UID")
        assert (_uids(answer.only("FETCH")), answer.code("MESSAGELIMIT")) == ([1, 3, 4], None)
        answer = await imap.ok("UID FETCH 1:* UID (PARTIAL -2:-4)")
        assert (_uids(answer.only("FETCH")), answer.code("MESSAGELIMIT")) == ([4, 5, 6], None)
        refused = await imap.command("UID FETCH 1:* UID (PARTIAL -1:-4)")
        assert (refused.status, refused.untagged, refused.code("MESSAGELIMIT")) == ("NO", (), "3")


async def test_both_codes_are_told(server: ImapHarness) -> None:
    async with server.client(select="INBOX") as imap:
        await server.expunge(6)
        answer = await imap.command("FETCH 1:* UID")
        assert (answer.status, answer.text.split("]")[0]) == ("NO", "[EXPUNGEISSUED")
        assert _uids(answer.only("FETCH")) == [5, 7] and answer.only("NO")[0].startswith(b"* NO [MESSAGELIMIT 3 5]")


async def test_search_looks_among_the_last_ones(server: ImapHarness) -> None:
    async with server.client(select="INBOX") as imap:
        expected = {
            "UID SEARCH NOT FLAGGED": (b"* SEARCH 7", "3 5"),
            "SEARCH FLAGGED": (b"* SEARCH 4 5", "3 5"),
            # It is not the found ones that count.
            "UID SEARCH BODY 1": (b"* SEARCH", "3 5"),
            "UID SEARCH UID 1:4 NOT BODY 3": (b"* SEARCH 1 4", None),
            "UID SEARCH UID 1:5 NOT BODY 3": (b"* SEARCH 4 5", "3 3"),
            "UID SEARCH (1:5 UNFLAGGED) UID 3:*": (b"* SEARCH 4", "3 4"),
            "UID SEARCH UIDBEFORE 5": (b"* SEARCH 1 3 4", None),
            "UID SEARCH UIDBEFORE 1": (b"* SEARCH", None),
            "UID SEARCH UIDAFTER 5 UIDBEFORE 7": (b"* SEARCH 6", None),
            "UID SEARCH UIDAFTER 7": (b"* SEARCH", None),
            "UID SEARCH UIDAFTER 4294967295": (b"* SEARCH", None),
        }
        for command, (line, code) in expected.items():
            answer = await imap.ok(command)
            assert (answer.untagged, answer.code("MESSAGELIMIT")) == ((line,), code), command
        assert (await imap.command("UID SEARCH UIDAFTER 0")).status == "BAD"
        answer = await imap.ok("UID SEARCH RETURN (SAVE UPDATE) ALL")
        assert answer.code("MESSAGELIMIT") == "3 5" and answer.code("NOUPDATE") == '"t15"'
        assert _uids((await imap.ok("UID FETCH $ UID")).only("FETCH")) == [5, 6, 7]
        answer = await imap.ok("UID SEARCH UID $ FLAGGED")
        assert (answer.untagged, answer.code("MESSAGELIMIT")) == ((b"* SEARCH 5 6",), None)


async def test_orders_and_threads_are_of_all_or_none(server: ImapHarness) -> None:
    async with server.client(select="INBOX") as imap:
        for command in ("UID SORT (SUBJECT) UTF-8 ALL", "UID THREAD REFERENCES UTF-8 ALL"):
            answer = await imap.command(command)
            assert (answer.status, answer.untagged, answer.code("MESSAGELIMIT")) == ("NO", (), "3")
        assert (await imap.ok("UID SORT (SUBJECT) UTF-8 UID 3:5")).untagged == (b"* SORT 4 5 3",)
        assert (await imap.ok("UID THREAD ORDEREDSUBJECT UTF-8 5:6")).untagged[0].startswith(b"* THREAD (")


async def test_searches_of_several_mailboxes(server: ImapHarness) -> None:
    await server.deliver(b"Subject: x\r\n\r\n", mailbox="Sent")
    async with server.client(select="INBOX") as imap:
        answer = await imap.ok('ESEARCH IN (mailboxes ("Sent" "INBOX")) RETURN (COUNT) ALL')
        assert [line.rpartition(b" ")[2] for line in answer.untagged] == [b"3", b"1"]
        assert answer.code("MESSAGELIMIT") == "3"
        assert (await imap.ok('ESEARCH IN (mailboxes "Sent") RETURN (COUNT) ALL')).code("MESSAGELIMIT") is None


async def test_store_changes_the_last_ones(server: ImapHarness) -> None:
    async with server.client(select="INBOX", enable="CONDSTORE") as imap:
        answer = await imap.ok("UID STORE 1:* +FLAGS (x)")
        assert (_uids(answer.only("FETCH")), answer.code("MESSAGELIMIT")) == ([5, 6, 7], "3 5")
        assert (await imap.ok("UID SEARCH KEYWORD x")).untagged == (b"* SEARCH 5 6 7",)
        assert (await imap.ok("UID SEARCH UIDBEFORE 5 KEYWORD x")).untagged == (b"* SEARCH",)
        answer = await imap.ok("STORE 1:* (UNCHANGEDSINCE 1) +FLAGS (y)")
        assert (answer.code("MESSAGELIMIT"), answer.text.split("]")[0]) == ("3 5", "[MODIFIED 4:6")


async def test_copy_is_refused_and_move_goes_on(server: ImapHarness) -> None:
    async with server.client(select="INBOX") as imap:
        refused = await imap.command("UID COPY 1:* Sent")
        assert (refused.status, refused.code("MESSAGELIMIT")) == ("NO", "3 5")
        assert (await imap.ok("STATUS Sent (MESSAGES)")).untagged == (b'* STATUS "Sent" (MESSAGES 0)',)
        await imap.ok("UID COPY 5:* Sent")
        moved = await imap.ok("UID MOVE 1:* Trash")
        assert (moved.code("COPYUID") or "").endswith("5:7 1:3") and moved.code("MESSAGELIMIT") == "3 5"
        assert moved.only("EXPUNGE") == [b"* 6 EXPUNGE", b"* 5 EXPUNGE", b"* 4 EXPUNGE"]
        assert (await imap.ok("UID MOVE 1:* Trash")).code("MESSAGELIMIT") is None


async def test_uid_expunge_goes_on_and_expunge_has_no_limit(server: ImapHarness) -> None:
    async with server.client(select="INBOX", enable="QRESYNC") as imap:
        _limit(server, message_limit=0)
        await imap.ok("UID STORE 1,3:6 +FLAGS.SILENT (\\Deleted)")
        _limit(server, message_limit=LIMIT)
        answer = await imap.ok("UID EXPUNGE 1:*")
        assert b"* VANISHED 4:6" in answer.untagged and answer.text.startswith("[HIGHESTMODSEQ")
        assert answer.only("NO")[0].startswith(b"* NO [MESSAGELIMIT 3 4]")
        assert (await imap.ok("UID EXPUNGE 1:2")).code("MESSAGELIMIT") is None
        await server.deliver(*[b"\r\n"] * 4, flags=frozenset({"\\Deleted"}))
        await imap.ok("NOOP")
        answer = await imap.ok("EXPUNGE")
        assert b"* VANISHED 3,8:11" in answer.untagged and answer.code("MESSAGELIMIT") is None


async def _append(imap: AsyncImap, count: int) -> tuple[str, str | None]:
    answer = await imap.command("APPEND Sent" + " {3+}\r\nx\r\n" * count)
    return answer.status, answer.code("MESSAGELIMIT")


@pytest.mark.parametrize("limit", ["message_limit", "save_limit"])
async def test_append_is_all_or_none(server: ImapHarness, limit: str) -> None:
    _limit(server, **({"message_limit": 0, "save_limit": 0} | {limit: LIMIT}))
    async with server.client(select="INBOX") as imap:
        assert await _append(imap, 4) == ("NO", "3")
        assert await _append(imap, 5) == ("NO", "3")
        assert (await imap.ok("STATUS Sent (MESSAGES)")).untagged == (b'* STATUS "Sent" (MESSAGES 0)',)
        assert await _append(imap, 3) == ("OK", None)
        assert (await imap.command("COPY 1:4 Sent")).code("MESSAGELIMIT") == "3 3"
        assert len((await imap.ok("FETCH 1:* UID")).untagged) == (6 if limit == "save_limit" else 3)


@pytest.mark.parametrize(
    ("settings", "announced"),
    [
        ({}, set()),
        ({"message_limit": 1000}, {"MESSAGELIMIT=1000"}),
        ({"save_limit": 5000}, {"SAVELIMIT=5000"}),
        ({"message_limit": 1000, "disabled_for": {"anna@*": ["MESSAGELIMIT"]}}, set()),
    ],
)
async def test_announced_when_there_is_one(settings: dict[str, object], announced: set[str]) -> None:
    async with ImapHarness(imap=settings) as server, server.client() as imap:
        words = (await imap.ok("CAPABILITY")).untagged[0].decode().split()
        assert {word for word in words if "LIMIT=" in word and "APPEND" not in word} == announced
        if "disabled_for" in settings:
            # Who does not know of limits, or is not to be bothered with them, has none.
            _limit(server, message_limit=1)
            await server.deliver(b"\r\n", b"\r\n")
            await imap.ok("SELECT INBOX")
            assert len((await imap.ok("FETCH 1:* UID")).untagged) == 2


@pytest.mark.parametrize(
    "settings", [{"message_limit": 999}, {"save_limit": 1}, {"message_limit": 2000, "save_limit": 1000}]
)
def test_limits_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="limit"):
        ImapSettings(**settings)
