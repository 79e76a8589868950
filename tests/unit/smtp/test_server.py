"""The fence around aiosmtpd, and the life of a connection."""

from __future__ import annotations

import asyncio
import inspect

import aiosmtpd.smtp
import pytest

from mailserver.hooks.contexts import ConnectContext, HeloContext, MailContext
from mailserver.model.events import SessionClosed, SessionOpened
from mailserver.model.reply import Reply
from mailserver.model.verdict import Defer, Reject
from mailserver.smtp.server import SmtpConnection
from mailserver.storage.memory import MemoryContent
from tests.helpers.smtp import AsyncSmtp, Closed
from tests.helpers.smtp_service import DOMAIN, SmtpHarness

ANNA = f"anna@{DOMAIN}"

#: What we override of the library, private names included.
OVERRIDDEN = [
    "__init__", "connection_made", "connection_lost", "eof_received", "push", "handle_exception", "_handle_client",
]  # fmt: skip
#: What the base classes of the library have, and we override.
INHERITED = ["data_received", "pause_writing", "resume_writing"]


def test_the_library_still_has_every_name_that_we_touch() -> None:
    library = aiosmtpd.smtp.SMTP
    assert aiosmtpd.__version__ == "1.4.6"
    for name in OVERRIDDEN:
        assert name in vars(library), name
        assert vars(SmtpConnection)[name] is not vars(library)[name]
    for name in INHERITED:
        assert callable(getattr(library, name))
        assert name in vars(SmtpConnection)
    for name in ("push", "handle_exception", "_handle_client"):
        assert inspect.iscoroutinefunction(getattr(library, name)), name
    assert issubclass(library, asyncio.StreamReaderProtocol)


def test_no_command_of_the_library_is_reachable() -> None:
    commands = {name for name in dir(aiosmtpd.smtp.SMTP) if name.startswith("smtp_")}
    assert commands == {
        f"smtp_{verb}"
        for verb in (
            "HELO",
            "EHLO",
            "NOOP",
            "QUIT",
            "STARTTLS",
            "AUTH",
            "MAIL",
            "RCPT",
            "DATA",
            "RSET",
            "VRFY",
            "EXPN",
            "HELP",
        )
    }
    for name in dir(SmtpConnection):
        if name.startswith("smtp_"):
            assert getattr(SmtpConnection, name).__module__.startswith("mailserver.smtp."), name


async def test_a_bug_of_ours_is_not_told_to_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with SmtpHarness() as server, server.client() as smtp:

        async def broken(*args: object) -> None:
            raise RuntimeError("secret/path")

        monkeypatch.setattr(server.service.listeners[0].connections[0].receiver, "mail", broken)  # type: ignore[attr-defined]
        assert (await smtp.command("EHLO client.test")).code == 250
        reply = await smtp.command("MAIL FROM:<x@far.test>")
        assert (reply.code, reply.status) == (451, "4.3.0") and "secret" not in reply.text
        assert (await smtp.command("NOOP")).code == 250


async def test_a_bug_in_a_message_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with SmtpHarness() as server, server.client() as smtp:

        async def broken(*args: object) -> None:
            raise RuntimeError("secret/path")

        monkeypatch.setattr(server.service.listeners[0].connections[0].receiver, "finish", broken)  # type: ignore[attr-defined]
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.message("x@far.test", [ANNA], b"A: b\r\n\r\n")).code == 451
        with pytest.raises(Closed):
            await smtp.reply()


@pytest.mark.parametrize("point", ["on_connect", "on_helo", "on_mail"])
async def test_hooks_refuse_early(point: str) -> None:
    def hook(ctx: ConnectContext | HeloContext | MailContext) -> Reject:
        return Reject(Reply(554, "5.7.1", "Not you"), reason="listed")

    server = SmtpHarness()
    getattr(server.registry, point)(hook)
    async with server, AsyncSmtp(server.port()) as smtp:
        code = smtp.greeting.code
        if point == "on_connect":
            assert code == 554
            with pytest.raises(Closed):
                await smtp.reply()
            return
        code = (await smtp.command("EHLO client.test")).code
        if point == "on_mail":
            assert code == 250
            code = (await smtp.command("MAIL FROM:<x@far.test>")).code
        assert code == 554
        assert (await smtp.command(f"RCPT TO:<{ANNA}>")).code == 503


async def test_a_deferral_with_421_closes() -> None:
    server = SmtpHarness()
    server.registry.on_mail(lambda ctx: Defer(Reply(421, "4.7.0", "Too fast")))
    async with server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 421
        with pytest.raises(Closed):
            await smtp.reply()


async def test_sessions_are_opened_and_closed() -> None:
    async with SmtpHarness() as server:
        async with server.client() as smtp:
            await smtp.command("QUIT")
        await server.settled()
        opened, closed = server.events
        assert isinstance(opened, SessionOpened) and isinstance(closed, SessionClosed)
        assert opened.session == closed.session and opened.peer == "127.0.0.1" and not opened.tls


async def test_stopping_says_421_to_idle_ones_and_finishes_messages() -> None:
    async with SmtpHarness() as server, server.client() as idle, server.client() as busy:
        assert (await busy.command("EHLO client.test")).code == 250
        assert (await busy.command("MAIL FROM:<x@far.test>")).code == 250
        assert (await busy.command(f"RCPT TO:<{ANNA}>")).code == 250
        assert (await busy.command("DATA")).code == 354
        busy.writer.write(b"A: b\r\n\r\n")
        server.stopping.set()
        assert (await idle.reply()).code == 421
        with pytest.raises((Closed, ConnectionError)):
            async with server.client():
                pass
        assert (await busy.command(b"text\r\n.\r\n")).code == 250
        assert (await busy.reply()).code == 421
        assert len(await server.mail("anna")) == 1


async def test_stopping_does_not_wait_for_a_client_that_is_being_greeted() -> None:
    server, asked, answer = SmtpHarness(), asyncio.Event(), asyncio.Event()

    async def on_connect(ctx: ConnectContext) -> None:
        asked.set()
        await answer.wait()

    server.registry.on_connect(on_connect)
    async with server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port())
        await asked.wait()
        server.stopping.set()
        await asyncio.sleep(0)
        answer.set()
        assert [line[:3] for line in (await reader.read()).split(b"\r\n")] == [b"220", b"421", b""]
        writer.close()


async def test_content_that_cannot_be_thrown_away_keeps_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*arguments: object) -> None:
        raise OSError("the disk failed")

    async with SmtpHarness() as server:
        async with server.client() as smtp:
            assert (await smtp.command("EHLO client.test")).code == 250
            assert (await smtp.command("MAIL FROM:<x@far.test>")).code == 250
            assert (await smtp.command(f"RCPT TO:<{ANNA}>")).code == 250
            assert (await smtp.command(b"BDAT 1\r\nx")).code == 250
            monkeypatch.setattr(MemoryContent, "__aexit__", fail)
        await server.settled()
        assert isinstance(server.events[-1], SessionClosed)


async def test_a_half_closed_connection_gets_its_replies() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        smtp.writer.write(f"MAIL FROM:<x@far.test>\r\nRCPT TO:<{ANNA}>\r\nBDAT 8 LAST\r\nA: b\r\n\r\n".encode())
        smtp.writer.write_eof()
        assert [(await smtp.reply()).code for _ in range(3)] == [250, 250, 250]
        assert len(await server.mail("anna")) == 1


async def test_a_large_message_byte_for_byte() -> None:
    message = b"A: b\r\n\r\n" + b"".join(b".%d line of text\r\n" % n for n in range(100_000))
    async with SmtpHarness() as server, server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        assert (await smtp.message("x@far.test", [ANNA], message)).code == 250
        (stored,) = await server.mail("anna")
        assert stored.endswith(b"\r\n" + message)


async def test_the_same_dialogue_octet_by_octet() -> None:
    wire = (
        b"EHLO client.test\r\n", f"MAIL FROM:<x@far.test> BODY=8BITMIME\r\nRCPT TO:<{ANNA}>\r\nDATA\r\n".encode(),
        b"A: b\r\n\r\n..dot\r\n.\r\n", b"QUIT\r\n",
    )  # fmt: skip
    async with SmtpHarness() as server, server.client() as smtp:
        codes = []
        for group, replies in zip(wire, (1, 3, 1, 1), strict=True):
            for at in range(len(group)):
                smtp.writer.write(group[at : at + 1])
                await asyncio.sleep(0)
            codes += [(await smtp.reply()).code for _ in range(replies)]
        assert codes == [250, 250, 250, 354, 250, 221]
        (stored,) = await server.mail("anna")
        assert stored.endswith(b"A: b\r\n\r\n.dot\r\n")
