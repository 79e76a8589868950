"""NOTIFY (RFC 5465): what is told of the selected mailbox and of others, between commands, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from mailserver.imap import notify
from mailserver.model.flags import FlagChange
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import MailboxInfo
from mailserver.model.rights import ALL_RIGHTS, Right, RightsChange
from mailserver.ports.directory import Directory
from tests.helpers.imap import AsyncImap
from tests.helpers.imap_service import ANNA, ImapHarness, until

MESSAGE = b"Subject: x\r\n\r\n"
BEN = AccountId("ben@example.test")
EVENTS = "MessageNew MessageExpunge"


async def quiet(server: ImapHarness, imap: AsyncImap) -> None:
    """Nothing waits to be told, and nothing was sent that was not read."""
    await until(lambda: all(connection._task is None for connection in server.connections))
    assert (await imap.ok("NOOP")).untagged == ()


async def lines(imap: AsyncImap, count: int) -> list[bytes]:
    return [await imap.response_line() for _ in range(count)]


async def test_the_selected_mailbox_without_idle() -> None:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await imap.ok("NOTIFY SET (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)]) MessageExpunge))")
        await server.deliver(MESSAGE, MESSAGE)
        assert (await imap.response_line()) in (b"* 1 EXISTS", b"* 2 EXISTS")
        got = await lines(imap, 1)
        while not got[-1].startswith(b"* 2 FETCH"):
            got += await lines(imap, 1)
        assert got[-1] == b'* 2 FETCH (UID 2 BODY[HEADER.FIELDS (SUBJECT)] {14}\r\nSubject: x\r\n\r\n)'
        # FlagChange was not asked for.
        await server.flag("1", FlagChange.ADD, "\\Seen")
        await server.expunge(1)
        assert await imap.response_line() == b"* 1 EXPUNGE"
        await quiet(server, imap)
        await imap.ok(f"NOTIFY SET (selected ({EVENTS} FlagChange))")
        await server.flag("2", FlagChange.ADD, "\\Flagged")
        assert await imap.response_line() == b"* 1 FETCH (UID 2 FLAGS (\\Flagged))"


async def test_own_messages_are_not_fetched_again() -> None:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await imap.ok("NOTIFY SET (selected (MessageNew (UID) MessageExpunge))")
        assert (await imap.ok("APPEND INBOX {14+}\r\nSubject: x\r\n\r\n")).untagged == (b"* 1 EXISTS",)
        assert (await imap.ok("COPY 1 INBOX")).untagged == (b"* 2 EXISTS",)
        replaced = (await imap.ok("REPLACE 1 INBOX {14+}\r\nSubject: y\r\n\r\n")).untagged
        assert replaced[1:] == (b"* 1 EXPUNGE", b"* 2 EXISTS")
        await server.deliver(MESSAGE)
        assert await lines(imap, 2) == [b"* 3 EXISTS", b"* 3 FETCH (UID 4)"]


async def test_selected_delayed_keeps_the_numbers_between_commands() -> None:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await server.deliver(MESSAGE, MESSAGE)
        await imap.ok(f"NOTIFY SET (SELECTED-DELAYED ({EVENTS} FlagChange))")
        await server.expunge(1)
        await server.flag("2", FlagChange.ADD, "\\Seen")
        assert await imap.response_line() == b"* 2 FETCH (UID 2 FLAGS (\\Seen))"
        assert (await imap.ok("FETCH 2 UID")).untagged == (b"* 2 FETCH (UID 2)",)
        assert (await imap.ok("NOOP")).untagged == (b"* 1 EXPUNGE",)
        imap.writer.write(b"i IDLE\r\n")
        await imap.response_line()
        await server.expunge(2)
        assert await imap.response_line() == b"* 1 EXPUNGE"


async def test_selected_delayed_with_qresync_says_once_that_something_waits() -> None:
    async with ImapHarness() as server, server.client(enable="QRESYNC", select="INBOX") as imap, asyncio.timeout(60):
        await server.deliver(MESSAGE, MESSAGE)
        await imap.ok(f"NOTIFY SET (SELECTED-DELAYED ({EVENTS} FlagChange))")
        await server.expunge(1)
        assert (await imap.response_line()).startswith(b"* OK [HIGHESTMODSEQ ")
        await until(lambda: all(connection._task is None for connection in server.connections))
        assert (await imap.ok("FETCH 2 UID")).untagged[0] == b"* 2 FETCH (UID 2)"
        await server.flag("2", FlagChange.ADD, "\\Seen")
        fetch, waits = await lines(imap, 2)
        assert fetch.startswith(b"* 2 FETCH (UID 2 MODSEQ (") and waits.startswith(b"* OK [HIGHESTMODSEQ ")
        assert (await imap.ok("NOOP")).untagged == (b"* VANISHED 1",)
        await quiet(server, imap)


@pytest.mark.parametrize("wanted", ["NONE", "SET (selected NONE)", "SET (personal (MailboxName))"])
async def test_a_snapshot(wanted: str) -> None:
    """RFC 5465 §3.1: whoever does not name the selected mailbox hears nothing of it, with NOOP and IDLE neither."""
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await server.deliver(MESSAGE)
        assert (await imap.ok(f"NOTIFY SET (selected ({EVENTS}))")).untagged == (b"* 1 EXISTS",)
        await imap.ok(f"NOTIFY {wanted}")
        await server.deliver(MESSAGE)
        await server.expunge(1)
        assert (await imap.ok("NOOP")).untagged == ()
        imap.writer.write(b"i IDLE\r\n")
        await imap.response_line()
        await server.deliver(MESSAGE)
        imap.writer.write(b"DONE\r\n")
        assert (await imap.response_line()).startswith(b"i OK")
        await imap.ok(f"NOTIFY SET (selected ({EVENTS}))")
        assert (await imap.ok("UID SEARCH ALL")).untagged == (b"* SEARCH 2 3",)


@pytest.mark.parametrize("option", ["UPDATE (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])", "UPDATE(UID BODY.PEEK[1])"])
async def test_what_a_search_wants_of_new_messages(option: str) -> None:
    """RFC 5465 §7: after EXISTS and before the ESEARCH, and not when flags change."""
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await server.deliver(MESSAGE)
        await imap.ok("NOOP")
        (found,) = (await imap.ok(f"SEARCH RETURN (COUNT {option}) UNSEEN")).untagged
        tagged = found.removesuffix(b" COUNT 1")
        await server.deliver(MESSAGE, MESSAGE)
        await server.flag("2", FlagChange.ADD, "\\Seen")
        exists, fetch, change = (await imap.ok("NOOP")).untagged
        assert (exists, change) == (b"* 3 EXISTS", tagged + b" ADDTO (0 3)")
        assert fetch.startswith(b"* 3 FETCH (UID 3 BODY[")
        await server.flag("2", FlagChange.REMOVE, "\\Seen")
        assert (await imap.ok("NOOP")).untagged == (b"* 2 FETCH (FLAGS ())", tagged + b" ADDTO (0 2)")


async def test_nothing_is_shown_twice_of_new_messages() -> None:
    """RFC 5465 §5.2."""
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await imap.ok("UID SEARCH RETURN (UPDATE (UID RFC822.SIZE)) ALL")
        await imap.ok("UID SORT RETURN (UPDATE (UID RFC822.SIZE INTERNALDATE)) (DATE) UTF-8 ALL")
        await imap.ok("ESEARCH RETURN (UPDATE (UID)) YOUNGER 86400")
        await imap.ok("NOTIFY SET (selected (MessageNew (UID) MessageExpunge))")
        await server.deliver(MESSAGE)
        told = await lines(imap, 7)
        assert told[:3] == [b"* 1 EXISTS", b"* 1 FETCH (UID 1)", b"* 1 FETCH (RFC822.SIZE 14)"]
        assert told[4].startswith(b'* 1 FETCH (INTERNALDATE "')
        assert [line.partition(b") ")[2] for line in (told[3], *told[5:])] == [
            b"UID ADDTO (0 1)", b"UID ADDTO (1 1)", b"UID ADDTO (0 1)",
        ]  # fmt: skip
        await quiet(server, imap)


async def test_messages_of_other_mailboxes() -> None:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await server.deliver(MESSAGE, mailbox="Sent")
        answer = await imap.ok(f"NOTIFY SET STATUS (mailboxes (Sent Nowhere INBOX) ({EVENTS}))")
        assert [line.split(b" (")[0] for line in answer.untagged] == [b'* STATUS "Sent"']
        assert b"MESSAGES 1 UIDNEXT 2 UIDVALIDITY" in answer.untagged[0]
        await server.deliver(MESSAGE, mailbox="Trash")
        await server.deliver(MESSAGE, mailbox="Sent")
        assert (await imap.response_line()).startswith(b'* STATUS "Sent" (MESSAGES 2 UIDNEXT 3 UIDVALIDITY ')
        await server.flag("1", FlagChange.ADD, "\\Seen", mailbox="Sent")
        await server.expunge(1, mailbox="Sent")
        assert (await imap.response_line()).startswith(b'* STATUS "Sent" (MESSAGES 1 UIDNEXT 3 ')
        # INBOX is selected: of it, only SELECTED would tell.
        await server.deliver(MESSAGE)
        await quiet(server, imap)
        await imap.ok("UNSELECT")
        await server.deliver(MESSAGE)
        assert (await imap.response_line()).startswith(b'* STATUS "INBOX" (MESSAGES 2 ')


async def test_flags_of_other_mailboxes() -> None:
    async with ImapHarness() as server, server.client(enable="CONDSTORE") as imap:
        await server.deliver(MESSAGE, MESSAGE)
        answer = await imap.ok(f"NOTIFY SET STATUS (inboxes ({EVENTS} FlagChange))")
        assert len(answer.untagged) == 6 and b"HIGHESTMODSEQ" in answer.untagged[0]
        await server.flag("1", FlagChange.ADD, "\\Seen")
        line = await imap.response_line()
        assert line.startswith(b'* STATUS "INBOX" (UIDVALIDITY ') and b" UNSEEN 1 HIGHESTMODSEQ " in line


async def test_a_thousand_messages_are_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ImapHarness() as server, server.client() as imap:
        await imap.ok(f"NOTIFY SET (personal ({EVENTS}))")
        account = await server.store.open_account(ANNA)
        gate = asyncio.Event()
        status = type(account).status

        async def slow(self: Any, name: str) -> Any:
            await gate.wait()
            return await status(self, name)

        monkeypatch.setattr(type(account), "status", slow)
        await server.deliver(*[MESSAGE] * 1000)
        gate.set()
        told = await lines(imap, 1)
        while b"MESSAGES 1000" not in told[-1]:
            told += await lines(imap, 1)
        assert len(told) <= 2
        await quiet(server, imap)


@pytest.mark.parametrize("idle", [False, True])
async def test_what_comes_while_something_is_looked_at(monkeypatch: pytest.MonkeyPatch, *, idle: bool) -> None:
    """A command, or another change: neither may wait until something else happens, when there was nothing to tell."""
    async with ImapHarness() as server, server.client() as imap, asyncio.timeout(60):
        await imap.ok(f"NOTIFY SET (personal ({EVENTS} MailboxName))")
        await server.deliver(MESSAGE)
        assert b"MESSAGES 1 " in await imap.response_line()
        account = await server.store.open_account(ANNA)
        asked, gate = asyncio.Event(), asyncio.Event()
        status = type(account).status

        async def slow(self: Any, name: str) -> Any:
            asked.set()
            await gate.wait()
            return await status(self, name)

        monkeypatch.setattr(type(account), "status", slow)
        if idle:
            imap.writer.write(b"i IDLE\r\n")
            await imap.response_line()
        await server.flag("1", FlagChange.ADD, "\\Seen")
        await asked.wait()
        await account.create("late")
        gate.set()
        assert await imap.response_line() == b'* LIST (\\HasNoChildren) "/" "late"'

        asked.clear()
        gate.clear()
        await server.flag("1", FlagChange.REMOVE, "\\Seen")
        await asked.wait()
        imap.writer.write(b"DONE\r\n" if idle else b"i NOOP\r\n")
        (connection,) = server.connections
        await until(lambda: connection._wire.unread > 0)
        gate.set()
        assert (await imap.response_line()).startswith(b"i OK")


async def test_an_answer_does_not_wait_until_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ImapHarness() as server, server.client() as imap, asyncio.timeout(60):
        await imap.ok(f"NOTIFY SET (personal ({EVENTS}))")
        account = await server.store.open_account(ANNA)
        status, busy = type(account).status, True
        told = 0

        async def while_others_are_busy(self: Any, name: str) -> Any:
            nonlocal told
            if busy:
                told += 1
                await server.deliver(MESSAGE)
                await asyncio.sleep(0)
            return await status(self, name)

        monkeypatch.setattr(type(account), "status", while_others_are_busy)
        await server.deliver(MESSAGE)
        await imap.ok("NOOP")
        busy = False
        # Not as many as it takes to fill the buffer, about a thousand.
        assert told < 100


async def test_names() -> None:
    async with ImapHarness() as server, server.client() as imap, server.client() as other:
        await imap.ok("NOTIFY SET (personal (MailboxName SubscriptionChange))")
        await other.ok("CREATE a/b")
        assert await lines(imap, 3) == [
            b'* LIST (\\HasChildren) "/" "a"',
            b'* LIST (\\HasNoChildren) "/" "a/b"',
            b'* LIST (\\HasChildren) "/" "a"',
        ]
        await other.ok("RENAME a c")
        assert await imap.response_line() == b'* LIST (\\HasChildren) "/" "c" ("OLDNAME" ("a"))'
        await other.ok("SUBSCRIBE c/b")
        assert await imap.response_line() == b'* LIST (\\HasNoChildren \\Subscribed) "/" "c/b"'
        await other.ok("DELETE c/b")
        assert await lines(imap, 2) == [
            b'* LIST (\\NonExistent \\Noselect \\HasNoChildren \\Subscribed) "/" "c/b"',
            b'* LIST (\\HasNoChildren) "/" "c"',
        ]
        await other.ok("UNSUBSCRIBE c/b")
        assert await imap.response_line() == b'* LIST (\\NonExistent \\Noselect \\HasNoChildren) "/" "c/b"'
        # What it does itself it knows.
        for command in ("CREATE x/y", "SUBSCRIBE x", "RENAME x z/w", "UNSUBSCRIBE x", "DELETE z/w"):
            assert (await imap.ok(command)).untagged == ()
        await quiet(server, imap)


async def test_which_mailboxes_a_group_means() -> None:
    async with ImapHarness() as server, server.client() as imap:
        for name in ("a", "a/b", "ab", "c"):
            account = await server.store.open_account(ANNA)
            await account.create(name)
        await account.subscribe("c", True)

        async def seen(groups: str) -> set[str]:
            await imap.ok(f"NOTIFY SET {groups}")
            await until(lambda: all(c._task is None for c in server.connections))
            for name in ("INBOX", "a", "a/b", "ab", "c", "Sent"):
                await server.deliver(MESSAGE, mailbox=name)
            return {line.split()[2].decode().strip('"') for line in (await imap.ok("NOOP")).untagged}

        assert await seen(f"(subtree a ({EVENTS}))") == {"a", "a/b"}
        assert await seen(f"(subtree (a c) ({EVENTS}))") == {"a", "a/b", "c"}
        assert await seen(f"(mailboxes (a c) ({EVENTS}))") == {"a", "c"}
        assert await seen(f"(subscribed ({EVENTS}))") == {"INBOX", "c", "Sent"}
        await account.subscribe("ab", True)
        await account.subscribe("Sent", False)
        assert await seen(f"(subscribed ({EVENTS}))") == {"INBOX", "c", "ab"}
        assert await seen(f"(subtree a NONE) (personal ({EVENTS}))") == {"INBOX", "ab", "c", "Sent"}
        assert await seen("(personal NONE)") == set()


async def test_mailboxes_of_others() -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        anna = await server.store.open_account(ANNA)
        await anna.create("team")
        await anna.create("secret")
        rights = frozenset({Right.LOOKUP, Right.READ})
        await anna.grant("team", "ben@example.test", RightsChange.ADD, rights)
        top = '"Other Users/anna@example.test"'
        answer = await imap.ok(f"NOTIFY SET STATUS (subtree {top} ({EVENTS} MailboxName))")
        assert len(answer.untagged) == 1 and b"anna@example.test/team" in answer.untagged[0]
        await server.deliver(MESSAGE, mailbox="secret")
        await server.deliver(MESSAGE, mailbox="team")
        assert b'/team" (MESSAGES 1' in await imap.response_line()
        await anna.create("hidden")
        await anna.rename("hidden", "veiled")
        await anna.delete("veiled")
        await anna.grant("secret", "ben@example.test", RightsChange.ADD, rights)
        assert await imap.response_line() == (
            b'* LIST (\\HasNoChildren) "/" "Other Users/anna@example.test/secret"'
        )
        await anna.grant("team", "ben@example.test", RightsChange.REMOVE, rights)
        assert b'* LIST (\\NonExistent' in await imap.response_line()
        await server.deliver(MESSAGE, mailbox="team")
        await anna.delete("secret")
        assert await imap.response_line() == (
            b'* LIST (\\NonExistent \\Noselect \\HasNoChildren) "/" "Other Users/anna@example.test/secret"'
        )
        await quiet(server, imap)


async def test_mailboxes_that_may_be_seen_and_not_read() -> None:
    """RFC 5465 §3.1, §5.9."""
    async with ImapHarness() as server, server.client("ben") as imap:
        anna = await server.store.open_account(ANNA)
        for name in ("a", "b"):
            await anna.create(name)
        lookup, read, top = frozenset({Right.LOOKUP}), frozenset({Right.READ}), "Other Users/anna@example.test"
        await anna.grant("a", BEN, RightsChange.ADD, lookup)
        await anna.grant("b", BEN, RightsChange.ADD, lookup | read)
        answer = await imap.ok(f'NOTIFY SET (mailboxes ("{top}/a" "{top}/b" "{top}/c") ({EVENTS}))')
        assert answer.untagged == (b'* LIST (\\NoAccess) "/" "%b/a"' % top.encode(),)
        assert (await imap.ok(f'NOTIFY SET (subtree "{top}" (MailboxName))')).untagged == ()
        await imap.ok(f'NOTIFY SET (subtree "{top}" ({EVENTS}))')
        await anna.grant("a", BEN, RightsChange.ADD, read)
        assert await imap.response_line() == b'* LIST (\\HasNoChildren) "/" "%b/a"' % top.encode()
        await server.deliver(MESSAGE, mailbox="a")
        assert b'/a" (MESSAGES 1' in await imap.response_line()
        await anna.grant("b", BEN, RightsChange.REMOVE, read)
        assert await imap.response_line() == b'* LIST (\\NoAccess \\HasNoChildren) "/" "%b/b"' % top.encode()
        await server.deliver(MESSAGE, mailbox="b")
        await anna.grant("b", BEN, RightsChange.REMOVE, lookup)
        await quiet(server, imap)


async def test_of_others_only_what_concerns_oneself() -> None:
    """Children that may not be looked up, and what others subscribe to, are told to nobody (ATTACKS I15)."""
    async with ImapHarness() as server, server.client("ben") as imap, server.client("ben") as other:
        anna = await server.store.open_account(ANNA)
        await anna.create("team")
        await anna.create("team/secret")
        await anna.grant("Sent", BEN, RightsChange.REPLACE, frozenset({Right.LOOKUP}))
        top = '"Other Users/anna@example.test"'
        await imap.ok(f"NOTIFY SET (subtree {top} ({EVENTS} MailboxName SubscriptionChange))")
        await anna.grant("team", BEN, RightsChange.REPLACE, frozenset({Right.LOOKUP, Right.READ}))
        assert await imap.response_line() == b'* LIST (\\HasNoChildren) "/" "Other Users/anna@example.test/team"'
        await anna.subscribe("team", True)
        # That it is not there, as it is no name of one's own, would be wrong.
        await other.ok('SUBSCRIBE "Other Users/anna@example.test/team"')
        await quiet(server, imap)


class _Disabled:
    """A directory in which nobody may be used any more."""

    def account(self, account: AccountId) -> None: ...


async def test_nothing_of_a_disabled_account() -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        anna = await server.store.open_account(ANNA)
        for name in ("INBOX", "Sent"):
            await anna.grant(name, BEN, RightsChange.REPLACE, ALL_RIGHTS)
        events = f"({EVENTS} MailboxName MailboxMetadataChange)"
        await imap.ok(f'NOTIFY SET (subtree "Other Users/anna@example.test" {events})')
        (connection,) = server.connections
        connection._session.reach._directory = cast(Directory, _Disabled())
        await server.deliver(MESSAGE)
        await anna.annotate("Sent", {"/shared/comment": b"x"})
        await anna.grant("Sent", BEN, RightsChange.REPLACE, frozenset())
        await anna.delete("Sent")
        await quiet(server, imap)


async def test_what_was_told_is_remembered_of_mailboxes_that_are_there() -> None:
    async with ImapHarness() as server, server.client() as imap, server.client() as other:
        await imap.ok(f"NOTIFY SET STATUS (personal ({EVENTS}))")
        (told,) = {id(c._session.notifications): c._session.notifications for c in server.connections
                   if c._session.notifications is not None}.values()
        assert isinstance(told, notify.Notifications)
        before = len(told._told)
        for number in range(5):
            await imap.ok(f"CREATE own{number}")
            await server.deliver(MESSAGE, mailbox=f"own{number}")
            assert b"STATUS" in await imap.response_line()
            await (imap if number % 2 else other).ok(f"DELETE own{number}")
        await imap.ok("NOOP")
        assert len(told._told) == before


async def test_new_messages_of_a_mailbox_that_is_renamed_before_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ImapHarness() as server, server.client() as imap:
        account = await server.store.open_account(ANNA)
        await account.create("a/b")
        await imap.ok(f"NOTIFY SET STATUS (personal ({EVENTS} MailboxName))")
        monkeypatch.setattr(type(server.connections[0]), "wake", lambda self: None)
        await server.deliver(MESSAGE, mailbox="a/b")
        await account.rename("a", "c")
        name, status = (await imap.ok("NOOP")).untagged
        assert name.endswith(b'"c" ("OLDNAME" ("a"))')
        assert status.startswith(b'* STATUS "c/b" (MESSAGES 1 ')


async def test_many_changes_cost_one_look_at_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many looks as changes, in an account of many mailboxes, keep everybody waiting (ATTACKS I17)."""
    looks = 0
    async with ImapHarness() as server, server.client() as imap:
        account = await server.store.open_account(ANNA)
        await imap.ok("NOTIFY SET (personal (MailboxName SubscriptionChange))")
        monkeypatch.setattr(type(server.connections[0]), "wake", lambda self: None)
        for number in range(50):
            await account.subscribe(f"n{number}", True)
        real = account.list_mailboxes

        async def counted() -> list[MailboxInfo]:
            nonlocal looks
            looks += 1
            return await real()

        monkeypatch.setattr(account, "list_mailboxes", counted)
        assert len((await imap.ok("NOOP")).untagged) == 50
        assert looks == 1


async def test_the_entries_of_the_server_alone() -> None:
    async with ImapHarness() as server, server.client() as imap:
        await imap.ok("NOTIFY SET (personal (ServerMetadataChange))")
        anna = await server.store.open_account(ANNA)
        await anna.annotate("Sent", {"/shared/comment": b"y"})
        await anna.annotate(None, {"/private/vendor/x": b"y"})
        assert await imap.response_line() == b'* METADATA "" /private/vendor/x'


async def test_metadata() -> None:
    async with ImapHarness() as server, server.client() as imap, server.client("ben") as ben:
        anna = await server.store.open_account(ANNA)
        await anna.grant("Sent", BEN, RightsChange.ADD, frozenset({Right.LOOKUP, Right.READ}))
        events = "(MailboxMetadataChange ServerMetadataChange)"
        await imap.ok(f"NOTIFY SET (mailboxes Sent {events})")
        await ben.ok(f'NOTIFY SET (subtree "Other Users/anna@example.test" {events})')
        await anna.annotate("Sent", {"/private/comment": b"x", "/shared/comment": b"y"})
        await anna.annotate("INBOX", {"/shared/comment": b"z"})
        await anna.annotate(None, {"/private/vendor/x": None})
        assert await lines(imap, 2) == [
            b'* METADATA "Sent" /private/comment /shared/comment',
            b'* METADATA "" /private/vendor/x',
        ]
        assert await ben.response_line() == b'* METADATA "Other Users/anna@example.test/Sent" /shared/comment'
        assert (await imap.ok('SETMETADATA Sent (/shared/comment "mine")')).untagged == ()
        await quiet(server, imap)
        assert await ben.response_line() == b'* METADATA "Other Users/anna@example.test/Sent" /shared/comment'
        await quiet(server, ben)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("SET (selected (MessageNew))", "BAD", "need MessageNew and MessageExpunge"),
        ("SET (personal (FlagChange))", "BAD", "need MessageNew and MessageExpunge"),
        ("SET (selected (MailboxName))", "BAD", "SELECTED takes"),
        ("SET (personal (MessageNew (UID) MessageExpunge))", "BAD", "FETCH items"),
        (f"SET (selected ({EVENTS})) (selected-delayed ({EVENTS}))", "BAD", "once"),
        ("SET (everything (MailboxName))", "BAD", "NOTIFY watches"),
        ("SET (mailboxes () (MailboxName))", "BAD", ""),
        ("SET ()", "BAD", ""),
        ("SET", "BAD", ""),
        ("ALL", "BAD", "SET or NONE"),
        (f"SET (personal ({EVENTS} AnnotationChange))", "NO", "[BADEVENT (MessageNew MessageExpunge Fl"),
        ("SET (personal (Sunrise))", "NO", "[BADEVENT ("),
        ("SET " + " ".join(["(personal (MailboxName))"] * 101), "NO", "[NOTIFICATIONOVERFLOW]"),
    ],
)
async def test_what_is_refused(arguments: str, status: str, words: str) -> None:
    async with ImapHarness() as server, server.client() as imap:
        await imap.ok(f"NOTIFY SET (personal ({EVENTS}))")
        answer = await imap.command(f"NOTIFY {arguments}")
        assert answer.status == status and words in answer.text
        # What was asked for before is still told.
        await server.deliver(MESSAGE)
        assert (await imap.response_line()).startswith(b'* STATUS "INBOX"')


async def test_too_much_at_once_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "_MOST_NAMES", 10)
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await imap.ok(f"NOTIFY SET (selected ({EVENTS})) (personal (MailboxName))")
        account = await server.store.open_account(ANNA)
        (connection,) = server.connections
        monkeypatch.setattr(type(connection), "wake", lambda self: None)
        for number in range(11):
            await account.create(f"m{number}")
        answer = await imap.ok("NOOP")
        assert len(answer.untagged) == 1 and answer.untagged[0].startswith(b"* OK [NOTIFICATIONOVERFLOW]")
        await server.deliver(MESSAGE)
        await account.create("n")
        assert (await imap.ok("NOOP")).untagged == ()


async def test_the_end_of_the_session_ends_the_observation() -> None:
    async with ImapHarness() as server:
        account = await server.store.open_account(ANNA)
        async with server.client() as imap:
            await imap.ok("NOTIFY SET (personal (MailboxName))")
            await imap.ok("NOTIFY SET (personal (MailboxName)) (subscribed (SubscriptionChange))")
            assert len(account._observers._tells) == 1
            before = len(asyncio.all_tasks())
            await until(lambda: all(c._task is None for c in server.connections))
            assert len(asyncio.all_tasks()) <= before
        await until(lambda: not account._observers._tells)
