"""UNAUTHENTICATE, INPROGRESS, LANGUAGE, JMAPACCESS; and push of new mail as a plugin does it."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mailserver import api
from mailserver.hooks.registry import Contribution
from mailserver.imap.settings import ImapSettings
from mailserver.storage.memory_mailbox import MemoryMailbox
from tests.helpers.imap_deflate import compressed
from tests.helpers.imap_service import ANNA, PASSWORD, ImapHarness, until

MESSAGE = b"Subject: x\r\n\r\n"


async def test_unauthenticate_forgets_everything() -> None:
    async with ImapHarness() as server, server.client(enable="QRESYNC", select="INBOX") as imap:
        await imap.ok("NOTIFY SET (personal (MailboxName))")
        await imap.ok('ID ("name" "x")')
        assert server.login.sessions(ANNA) == 1
        await imap.ok("UNAUTHENTICATE")
        assert server.login.sessions(ANNA) == 0 and not server.server.services.counts._counts
        (connection,) = server.connections
        session = connection.session
        assert session is not None and not (session.qresync or session.condstore or session.notifications)
        assert "AUTH=PLAIN" in (await imap.ok("CAPABILITY")).untagged[0].decode()
        for command in ("UNAUTHENTICATE", "SELECT INBOX", "NOOP x"):
            assert (await imap.command(command)).status == "BAD"
        await server.deliver(MESSAGE)
        await imap.ok(f'LOGIN ben "{PASSWORD}"')
        assert b"* 0 EXISTS" in (await imap.ok("SELECT INBOX")).untagged
        assert (await imap.ok("NOOP")).untagged == ()
        assert server.login.sessions(ANNA) == 0
        # Limits are those of a stranger in between, and again of a user.
        assert connection._deadline > asyncio.get_running_loop().time() + 1000


async def test_unauthenticate_ends_compression() -> None:
    async with ImapHarness() as server, server.client() as imap:
        plain = imap.reader, imap.writer
        await compressed(imap)
        await imap.ok("NOOP")
        deflate: Any = imap.writer
        data = deflate._stream.compress(b"u UNAUTHENTICATE\r\n") + deflate._stream.flush(zlib.Z_FINISH)
        # Pipelined as §3 allows it: what follows is not compressed.
        plain[1].write(data + f'l LOGIN ben "{PASSWORD}"\r\n'.encode())
        assert (await imap.response_line()).startswith(b"u OK")
        inflating: Any = imap.reader
        await until(lambda: bool(inflating.rest))
        assert inflating.rest.startswith(b"l OK [CAPABILITY") and inflating.rest.endswith(b"\r\n")
        await inflating.stop()
        imap.reader, imap.writer = plain
        await imap.ok("COMPRESS DEFLATE")


async def test_a_long_command_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ImapHarness() as server:
        await server.deliver(MESSAGE)
        async with server.client(select="INBOX") as imap:
            gate, copy = asyncio.Event(), MemoryMailbox.copy

            async def slow(self: Any, *args: Any, **named: Any) -> Any:
                await gate.wait()
                return await copy(self, *args, **named)

            monkeypatch.setattr(MemoryMailbox, "copy", slow)
            (connection,) = server.connections
            loop = asyncio.get_running_loop()
            imap.writer.write(b"c COPY 1 Sent\r\n")
            await until(lambda: connection._task is not None)
            now = loop.time()
            connection.check(now + 5)
            connection.check(now + 11)
            connection.check(now + 14)
            connection.check(now + 22)
            gate.set()
            for _ in range(2):
                assert await imap.response_line() == b'* OK [INPROGRESS ("c" 0 1)] Still working on this'
            assert (await imap.response_line()).startswith(b"c OK")
            # Not while it waits for the client, and not when nothing runs.
            imap.writer.write(b"a APPEND INBOX {3}\r\n")
            assert (await imap.response_line()).startswith(b"+")
            connection.check(now + 44)
            imap.writer.write(b"abc\r\n")
            assert await imap.response_line() == b"* 2 EXISTS"
            assert (await imap.response_line()).startswith(b"a OK")
            connection.check(now + 66)
            assert (await imap.ok("NOOP")).untagged == ()


@pytest.mark.parametrize(
    ("ranges", "answer"),
    [
        ("", b"* LANGUAGE (en i-default)"),
        (" de", None),
        (" fr-CA en-CA", b"* LANGUAGE (en)"),
        (' "default"', b"* LANGUAGE (en)"),
        (" I-Default", b"* LANGUAGE (i-default)"),
        (' ""', None),
    ],
)
async def test_languages(ranges: str, answer: bytes | None) -> None:
    async with ImapHarness() as server, server.client(None) as imap:
        got = await imap.command(f"LANGUAGE{ranges}")
        assert got.untagged == ((answer,) if answer else ()) and got.status == ("OK" if answer else "NO")


async def test_jmap_access() -> None:
    url = "https://mail.example.test/.well-known/jmap"
    async with ImapHarness(imap={"jmap_url": url}) as server, server.client() as imap:
        assert "JMAPACCESS" in (await imap.ok("CAPABILITY")).untagged[0].decode().split()
        assert (await imap.ok("GETJMAPACCESS")).untagged == (f'* JMAPACCESS "{url}"'.encode(),)
    async with ImapHarness() as server, server.client() as imap:
        assert "JMAPACCESS" not in (await imap.ok("CAPABILITY")).untagged[0].decode()
        assert (await imap.command("GETJMAPACCESS")).status == "BAD"
    with pytest.raises(ValueError, match="pattern"):
        ImapSettings(jmap_url="https://x\r\n* BYE")


class Push:
    """Apple's XAPPLEPUSHSERVICE in a plugin: nothing but `mailserver.api`."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self._undo: list[Any] = []

    async def command(self, context: api.ImapContext) -> AsyncIterator[bytes | api.ImapReply]:
        pairs = dict(zip(context.arguments[::2], context.arguments[1::2], strict=False))
        token, mailboxes = pairs.get("aps-device-token"), pairs.get("mailboxes")
        if not isinstance(token, str) or not isinstance(mailboxes, tuple) or context.mail is None:
            yield api.ImapReply("BAD", "what is missing?")
            return

        def tell(change: api.AccountChange) -> None:
            if isinstance(change, api.MessagesChanged) and change.name in mailboxes:
                self.sent.append((token, change.name))

        self._undo.append(context.mail.observe(tell))
        yield b'* XAPPLEPUSHSERVICE "aps-version" "2" "aps-topic" "com.example.topic"\r\n'
        yield api.ImapReply("OK", "XAPPLEPUSHSERVICE completed")


async def test_a_plugin_pushes_new_mail() -> None:
    push = Push()
    contributed = [
        Contribution("push", "XAPPLEPUSHSERVICE", (api.ImapCommand(run=push.command), ("XAPPLEPUSHSERVICE",)))
    ]
    async with ImapHarness(contributed=contributed) as server, server.client() as imap:
        assert "XAPPLEPUSHSERVICE" in (await imap.ok("CAPABILITY")).untagged[0].decode()
        answer = await imap.ok(
            "XAPPLEPUSHSERVICE aps-version 2 aps-account-id A aps-device-token t0 aps-subtopic com.apple.mobilemail"
            " mailboxes (INBOX Notes)"
        )
        assert answer.untagged[0].startswith(b"* XAPPLEPUSHSERVICE")
        await server.deliver(MESSAGE)
        await server.deliver(MESSAGE, mailbox="Sent")
        assert push.sent == [("t0", "INBOX")]
        assert (await imap.command("XAPPLEPUSHSERVICE aps-version 2")).status == "BAD"
