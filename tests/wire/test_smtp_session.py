from __future__ import annotations

from tests.helpers.smtp_service import SmtpHarness

MESSAGE = b"From: x@far.test\r\nSubject: hello\r\n\r\nText\r\n.dot\r\n"


async def test_a_message_reaches_the_mailbox() -> None:
    async with SmtpHarness() as server, server.client() as smtp:
        assert smtp.greeting.code == 220
        assert (await smtp.command("EHLO client.test")).code == 250
        reply = await smtp.message("x@far.test", ["anna@example.test"], MESSAGE)
        assert reply.code == 250
        (stored,) = await server.mail("anna")
        assert stored.endswith(MESSAGE)
        assert stored.startswith(b"Return-Path: <x@far.test>\r\nReceived: from client.test ([127.0.0.1])")
        assert b"for <anna@example.test>" in stored
        assert (await smtp.command("QUIT")).code == 221
