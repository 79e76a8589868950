"""What `message` hooks change of a message: later hooks, the store and the queue get it so."""

from __future__ import annotations

from mailserver.hooks.contexts import DeliveryContext, MessageContext
from mailserver.model.errors import StorageFailure
from mailserver.model.verdict import Accept, HeaderChange, Quarantine
from mailserver.storage.memory import MemoryContent, MemoryStore
from tests.helpers.smtp_service import DOMAIN, SmtpHarness

ANNA = f"anna@{DOMAIN}"
MAIL = b"From: x@far.test\r\nX-Spam: no\r\n\r\ntext\r\n"


async def send(server: SmtpHarness, *recipients: str, message: bytes = MAIL) -> int:
    async with server.client() as smtp:
        assert (await smtp.command("EHLO client.test")).code == 250
        return (await smtp.message("x@far.test", list(recipients), message)).code


async def test_later_hooks_and_the_recipients_see_the_change() -> None:
    server, seen = SmtpHarness(), list[bytes]()

    async def look(ctx: MessageContext) -> None:
        seen.append(await ctx.content.read(0, 1000))

    async def look_again(ctx: DeliveryContext) -> None:
        seen.append(await ctx.content.read(0, 1000))

    server.registry.on_message(look)
    server.registry.on_message(lambda ctx: Accept(changes=(HeaderChange("X-Spam", "yes", 1), HeaderChange("A", "1"))))
    server.registry.on_message(look)
    server.registry.on_message(lambda ctx: Quarantine("x", changes=(HeaderChange("A", None, 1),), body=b"new\n.\n"))
    server.registry.on_delivery(look_again)
    server.aliases["out"] = ["x@other.test"]
    changed = b"From: x@far.test\r\nX-Spam: yes\r\n\r\nnew\r\n.\r\n"
    async with server:
        assert await send(server, ANNA, f"out@{DOMAIN}") == 250
        assert seen == [MAIL, MAIL.replace(b"no", b"yes").replace(b"\r\n\r\n", b"\r\nA: 1\r\n\r\n"), changed]
        (stored,) = await server.mail(mailbox="Junk")
        assert stored.endswith(b"\r\n" + changed)
        (item,) = server.queue.items
        assert item.message.endswith(b"\r\n" + changed)


async def test_a_message_without_an_empty_line_gets_one_before_its_new_body() -> None:
    server = SmtpHarness()
    server.registry.on_message(lambda ctx: Accept(body=b"body"))
    async with server:
        assert await send(server, ANNA, message=b"From: x@far.test\r\n") == 250
        (stored,) = await server.mail()
        assert stored.endswith(b"From: x@far.test\r\n\r\nbody")


async def test_no_room_for_a_change() -> None:
    class Full(MemoryStore):
        times = 0

        def begin(self, size_hint: int = 0) -> MemoryContent:
            self.times += 1
            if self.times > 1:
                raise StorageFailure("no room for the message, try again later", status="4.3.1")
            return super().begin(size_hint)

    server = SmtpHarness(store=Full())
    server.registry.on_message(lambda ctx: Accept(changes=(HeaderChange("A", "1"),)))
    async with server:
        assert await send(server, ANNA) == 452
        assert await server.count() == 0
