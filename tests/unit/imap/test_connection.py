"""A connection's life: the greeting, time-outs, the end; what the settings and plugins change; large messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mailserver.hooks.contexts import ConnectContext
from mailserver.hooks.imap import ImapCommand, ImapContext, ImapReply
from mailserver.hooks.registry import Contribution
from mailserver.imap.connection.protocol import ImapProtocol
from mailserver.imap.connection.watch import INTERVAL
from mailserver.model.errors import StorageFailure
from mailserver.model.events import SessionClosed, SessionOpened
from mailserver.model.flags import FlagChange
from mailserver.model.reply import Reply
from mailserver.model.verdict import Reject
from mailserver.storage.memory_mailbox import MemoryMailbox
from tests.helpers.imap import AsyncImap, Closed
from tests.helpers.imap_service import ANNA, PASSWORD, ImapHarness, until

MESSAGE = b"Subject: x\r\n\r\n"


async def test_an_idle_connection_has_no_task() -> None:
    async with ImapHarness() as server:
        before = len(asyncio.all_tasks())
        async with server.client(select="INBOX") as one, server.client(select="INBOX") as two:
            two.writer.write(b"i IDLE\r\n")
            assert (await two.response_line()).startswith(b"+")
            await one.ok("NOOP")
            await until(lambda: all(c._task is None for c in server.connections))
            assert len(asyncio.all_tasks()) == before
            assert len(server.server.services.watch) == 2


async def test_a_slow_upload_is_cut_off() -> None:
    async with ImapHarness() as server, server.client() as imap:
        imap.writer.write(b"a APPEND INBOX {100000}\r\n")
        assert (await imap.response_line()).startswith(b"+")
        imap.writer.write(b"x" * 1000)
        (connection,) = server.connections
        await until(lambda: connection._input._uploaded == 1000)
        now = asyncio.get_running_loop().time()
        connection.check(now + 59)
        await imap_alive(connection)
        connection.check(now + 61)
        with pytest.raises(Closed):
            await imap.response_line()
        await server.settled()


async def imap_alive(connection: ImapProtocol) -> None:
    assert connection._transport is not None and not connection._transport.is_closing()


async def test_autologout() -> None:
    async with ImapHarness() as server, server.client(None) as stranger, server.client() as user:
        now = asyncio.get_running_loop().time()
        for connection in server.connections:
            connection.check(now + 200)
        assert (await stranger.response_line()).startswith(b"* BYE Login took too long")
        await user.ok("NOOP")
        user.writer.write(b"i IDLE\r\n")
        await user.response_line()
        for connection in server.connections:
            connection.check(now + 1700)
            connection.check(asyncio.get_running_loop().time() + 1801)
        assert (await user.response_line()).startswith(b"* BYE Autologout")
        with pytest.raises(Closed):
            await user.response_line()


async def test_the_time_to_log_in_ends_in_the_middle_of_a_login_too() -> None:
    async with ImapHarness() as server, server.client(None) as stranger:
        (connection,) = server.connections
        stranger.writer.write(b"a AUTHENTICATE PLAIN\r\n")
        assert (await stranger.response_line()).startswith(b"+")
        await until(lambda: connection._input.awaited)
        connection.check(asyncio.get_running_loop().time() + 200)
        with pytest.raises(Closed):
            await stranger.response_line()
        await server.settled()


async def test_the_time_to_log_in_is_not_stretched_by_talking() -> None:
    async with ImapHarness() as server, server.client(None) as stranger:
        (connection,) = server.connections
        deadline = connection._deadline
        await stranger.ok("NOOP")
        assert connection._deadline == deadline


async def test_the_shared_timer_stops_when_nobody_is_there() -> None:
    assert INTERVAL <= 10
    async with ImapHarness() as server:
        async with server.client(None):
            assert server.server.services.watch._timer is not None
        await server.settled()
        assert server.server.services.watch._timer is None


async def test_shutdown_finishes_the_command_in_hand() -> None:
    async with ImapHarness() as server, server.client() as busy, server.client() as idle:
        busy.writer.write(b"a APPEND INBOX {3}\r\n")
        assert (await busy.response_line()).startswith(b"+")
        server.stopping.set()
        assert (await idle.response_line()).startswith(b"* BYE The server is stopping")
        busy.writer.write(b"abc\r\n")
        assert (await busy.response_line()).startswith(b"a OK [APPENDUID")
        assert (await busy.response_line()).startswith(b"* BYE")


async def test_events_and_the_greeting_of_a_plugin() -> None:
    async with ImapHarness() as server:
        async with server.client():
            pass
        await server.settled()
        kinds = [type(event) for event in server.events]
        assert kinds.count(SessionOpened) == kinds.count(SessionClosed) == 1
    server = ImapHarness()

    async def refuse(ctx: ConnectContext) -> Reject:
        return Reject(Reply(554, "5.7.1", "Not you"))

    server.registry.on_connect(refuse)
    async with server, server.client(None) as imap:
        assert imap.greeting == b"* BYE Not you"
        assert imap.reader is not None


async def test_a_client_that_half_closes_gets_its_answers() -> None:
    async with ImapHarness() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port())
        writer.write(f'a LOGIN anna "{PASSWORD}"\r\nb SELECT INBOX\r\n'.encode())
        writer.write_eof()
        answer = await reader.read()
        assert b"\r\nb OK [READ-WRITE]" in answer
        writer.close()
        await server.settled()


async def test_a_password_change_ends_the_session() -> None:
    async with ImapHarness() as server, server.client() as imap:
        server.login.credentials_changed(ANNA)
        assert (await imap.response_line()).startswith(b"* BYE")
        await server.settled()


async def test_connections_of_one_account() -> None:
    async with ImapHarness(imap={"connections_per_account": 1}) as server:
        async with server.client(), server.client(None) as second:
            assert (await second.command(f'LOGIN anna "{PASSWORD}"')).code("LIMIT") == ""
            await second.ok(f'LOGIN ben "{PASSWORD}"')
        await server.settled()
        assert server.server.services.counts._counts == {}
        async with server.client():
            pass


async def test_deleting_the_mailbox_that_one_has_selected() -> None:
    async with ImapHarness() as server, server.client() as imap:
        await imap.ok("CREATE box")
        await imap.ok("SELECT box")
        assert (await imap.ok("DELETE box")).code("CLOSED") is not None
        assert (await imap.command("FETCH 1 FLAGS")).status == "BAD"
        await imap.ok("SELECT INBOX")


async def test_an_error_of_ours_costs_one_command_and_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:

        async def broken(self: Any, name: str) -> None:
            raise RuntimeError("secret detail")

        monkeypatch.setattr("mailserver.storage.memory_account.MemoryAccount.status", broken)
        answer = await imap.command("STATUS INBOX (MESSAGES)")
        assert answer.code("SERVERBUG") == "" and "secret" not in answer.text
        await imap.ok("NOOP")


async def test_a_failing_disk_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ImapHarness() as server, server.client(select="INBOX") as imap:
        await server.deliver(MESSAGE)
        await imap.ok("NOOP")

        async def full(self: Any, *args: Any, **kwargs: Any) -> None:
            raise StorageFailure("the disk is full", detail="/secret/path")

        monkeypatch.setattr(MemoryMailbox, "set_flags", full)
        monkeypatch.setattr(MemoryMailbox, "copy", full)
        for command in ("STORE 1 +FLAGS (\\Seen)", "COPY 1 Archive", "FETCH 1 BODY[]"):
            answer = await imap.command(command)
            assert answer.status == "NO" and answer.code("UNAVAILABLE") == "" and "secret" not in answer.text


async def test_a_message_that_goes_while_it_is_sent_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The literal's size was said: nothing but the end of the connection can say that it is not kept."""
    async with ImapHarness() as server:
        await server.deliver(MESSAGE + b"x" * 600_000)
        real = MemoryMailbox.read

        async def short(self: MemoryMailbox, uid: int, start: int = 0, size: int | None = None) -> bytes:
            return await real(self, uid, start, size) if start == 0 else b""

        monkeypatch.setattr(MemoryMailbox, "read", short)
        async with server.client(select="INBOX") as imap:
            imap.writer.write(b"a FETCH 1 BODY.PEEK[]\r\n")
            with pytest.raises(Closed):
                while True:
                    await imap.response_line()
        await server.settled()


@pytest.mark.parametrize(
    ("capability", "command"),
    [
        ("IDLE", "IDLE"),
        ("MOVE", "MOVE 1 Trash"),
        ("UIDPLUS", "UID EXPUNGE 1"),
        ("NAMESPACE", "NAMESPACE"),
        ("ID", "ID NIL"),
    ],
)
async def test_a_capability_that_was_switched_off(capability: str, command: str) -> None:
    async with ImapHarness(imap={"disabled_capabilities": [capability.lower()]}) as server:
        await server.deliver(MESSAGE)
        async with server.client(select="INBOX") as imap:
            (line,) = (await imap.ok("CAPABILITY")).untagged
            assert capability.encode() not in line.split()
            assert (await imap.command(command)).status == "BAD"


async def test_condstore_switched_off_takes_qresync_with_it() -> None:
    async with ImapHarness(imap={"disabled_capabilities": ["CONDSTORE"]}) as server, server.client() as imap:
        (line,) = (await imap.ok("CAPABILITY")).untagged
        assert b"CONDSTORE" not in line and b"QRESYNC" not in line
        assert (await imap.ok("ENABLE QRESYNC CONDSTORE")).untagged == (b"* ENABLED",)


async def test_a_command_of_a_plugin() -> None:
    async def shout(context: ImapContext) -> AsyncIterator[bytes | ImapReply]:
        yield b"* SHOUT\r\n"
        yield ImapReply("OK", f"{context.arguments} {context.account} {context.selected}")

    command = ImapCommand(run=shout)
    async with (
        ImapHarness(contributed=[Contribution("shouter", "XSHOUT", (command, ("XSHOUT",)))]) as server,
        server.client() as imap,
    ):
        assert b"XSHOUT" in (await imap.ok("CAPABILITY")).untagged[0].split()
        answer = await imap.ok('XSHOUT hey ("you there" (x ())) {3+}\r\nall')
        assert answer.untagged == (b"* SHOUT",)
        assert answer.text == "('hey', ('you there', ('x', ())), 'all') anna@example.test None"
        await imap.ok("SELECT Sent")
        assert (await imap.ok("XSHOUT")).text == "() anna@example.test Sent"
        assert (await imap.command("XSHOUT  ")).status == "BAD"
        assert (await imap.command("XSHOUT " + "(" * 60)).status == "BAD"


async def test_a_command_of_a_plugin_with_a_name_that_is_taken() -> None:
    with pytest.raises(ValueError, match="IDLE is an IMAP command already"):
        async with ImapHarness(contributed=[Contribution("p", "idle", (None, ()))]):
            pass


async def test_the_layout_of_an_adopted_mailbox() -> None:
    async with (
        ImapHarness(imap={"namespace_prefix": "INBOX.", "separator": "."}) as server,
        server.client() as imap,
    ):
        assert (await imap.ok("NAMESPACE")).untagged == (
            b'* NAMESPACE (("INBOX." ".")) (("Other Users." ".")) NIL',
        )
        await imap.ok("CREATE INBOX.a.b")
        assert (await imap.command("CREATE c")).status == "NO"
        listed = (await imap.ok('LIST "" "INBOX.a%"')).untagged
        assert listed == (b'* LIST (\\HasChildren) "." "INBOX.a"',)
        assert (await imap.ok('LIST "INBOX." "a.%"')).untagged == (b'* LIST (\\HasNoChildren) "." "INBOX.a.b"',)
        await imap.ok("SELECT INBOX.a.b")
        account = await server.store.open_account(ANNA)
        assert "a/b" in {info.name for info in await account.list_mailboxes()}


async def test_a_pushed_change_reaches_every_idle_session() -> None:
    async with ImapHarness() as server:
        await server.deliver(MESSAGE)
        async with server.client(select="INBOX") as one, server.client(select="INBOX", enable="QRESYNC") as two:
            for imap in (one, two):
                imap.writer.write(b"i IDLE\r\n")
                await imap.response_line()
            await server.flag("1", FlagChange.ADD, "\\Seen")
            assert await one.response_line() == b"* 1 FETCH (FLAGS (\\Seen))"
            assert (await two.response_line()).startswith(b"* 1 FETCH (UID 1 MODSEQ (")
            await server.deliver(MESSAGE)
            await server.expunge(1)
            assert [await one.response_line() for _ in range(2)] in (
                [b"* 1 EXPUNGE", b"* 1 EXISTS"],
                [b"* 2 EXISTS", b"* 1 EXPUNGE"],
            )
            assert {await two.response_line() for _ in range(2)} in (
                {b"* VANISHED 1", b"* 1 EXISTS"},
                {b"* 2 EXISTS", b"* VANISHED 1"},
            )
            for imap in (one, two):
                imap.writer.write(b"DONE\r\n")
                assert (await imap.response_line()).startswith(b"i OK")


async def test_sections_of_a_large_message() -> None:
    """They are found once, and then read by range."""
    attachment = b"y" * 76 + b"\r\n"
    big = (
        b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n\r\nsmall\r\n--q\r\nContent-Type: x/y\r\n\r\n"
        + attachment * 20_000 + b"--q--\r\n"
    )  # fmt: skip
    async with ImapHarness() as server:
        await server.deliver(big)
        async with server.client(select="INBOX") as imap:
            (line,) = (await imap.ok("FETCH 1 (UID BODY.PEEK[1] BODY.PEEK[2]<78000.100> FLAGS)")).untagged
            expected = attachment * 2
            assert line == (
                b"* 1 FETCH (UID 1 BODY[1] {5}\r\nsmall BODY[2]<78000> {100}\r\n%b FLAGS ())" % expected[:100]
            )
            assert len(server.server.services.places._ranges) == 2
            (line,) = (await imap.ok("FETCH 1 BODY.PEEK[]")).untagged
            assert line.endswith(big + b")")
            (line,) = (await imap.ok("FETCH 1 BODY[]<10.5>")).untagged
            assert line == b"* 1 FETCH (BODY[]<10> {5}\r\n%b FLAGS (\\Seen))" % big[10:15]
            (line,) = (await imap.ok("FETCH 1 (BINARY.SIZE[2] BODY.PEEK[3])")).untagged
            assert line == b"* 1 FETCH (BINARY.SIZE[2] %d BODY[3] NIL)" % (len(attachment) * 20_000 - 2)


async def test_nul_octets_go_out_only_as_literal8() -> None:
    async with ImapHarness() as server:
        await server.deliver(b"a: b\r\n\r\nx\0y")
        async with server.client(select="INBOX") as imap:
            imap.writer.write(b"a FETCH 1 (BODY.PEEK[1] BINARY.PEEK[1])\r\n")
            got = await imap.reader.readuntil(b"a OK")
            assert b"BODY[1] {3}\r\nx\x80y BINARY[1] ~{3}\r\nx\0y)" in got


async def test_the_answers_to_a_peer_that_is_refused() -> None:
    async with (
        ImapHarness(limits={"connections_total": 1}) as server,
        server.client(None),
        AsyncImap(server.port()) as imap,
    ):
        assert imap.greeting.startswith(b"* BYE [UNAVAILABLE] too many connections")


async def test_append_opens_no_mailbox(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ImapHarness() as server, server.client() as imap:

        def opened(self: Any, name: str) -> Any:
            raise StorageFailure("it was opened")

        monkeypatch.setattr("mailserver.storage.memory_account.MemoryAccount.open", opened)
        await imap.ok("APPEND inbox {14+}\r\nSubject: x\r\n\r\n {14+}\r\nSubject: y\r\n\r\n")
        answer = await imap.command("APPEND Nowhere {14+}\r\nSubject: x\r\n\r\n")
        assert answer.code("TRYCREATE") == ""
