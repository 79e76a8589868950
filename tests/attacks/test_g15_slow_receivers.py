"""ATTACKS G15: receivers that hold each connection for as long as they may, and who has to wait for them."""

from __future__ import annotations

import asyncio

from tests.conftest import DaemonMaker
from tests.helpers.daemon import Daemon, free_port
from tests.helpers.dns import DnsServer
from tests.helpers.receiver import SILENCE, Receiver
from tests.helpers.smtp import Smtp
from tests.helpers.submitting import ANNA, arrived, submit
from tests.helpers.waiting import PATIENCE

CONNECTIONS = 8


def strangers_mail(daemon: Daemon, count: int) -> None:
    """Mail that asks to be told of its arrival, each with a return path in another domain; by a client that we trust
    enough to tell it."""
    with Smtp(daemon.ports["smtp"]) as smtp:
        smtp.ehlo()
        for number in range(count):
            assert smtp.command(f"MAIL FROM:<x@evil{number}.test>").code == 250
            assert smtp.command(f"RCPT TO:<{ANNA}> NOTIFY=SUCCESS").code == 250
            assert smtp.command("DATA").code == 354
            smtp.send(f"Message-ID: <{number}@evil.test>\r\n\r\nx\r\n.\r\n".encode())
            assert smtp.reply().code == 250


async def test_g15_forged_return_paths_leave_connections_for_our_users(make_daemon: DaemonMaker) -> None:
    """Thirty domains of a stranger, whose server never says a word: they get half, and anna's mail goes at once."""
    with DnsServer() as dns:
        for number in range(30):
            dns.add(f"evil{number}.test", "A", "127.0.0.2")
        dns.add("far.test", "A", "127.0.0.1")
        async with Receiver(port=free_port()) as mx, Receiver(
            host="127.0.0.2", port=mx.port, answers={"GREETING": SILENCE}
        ) as silent:
            settings = {
                "dns": f'servers = ["{dns.endpoint}"]',
                "queue": f"port = {mx.port}\nallow_private_addresses = true\nconnections = {CONNECTIONS}",
            }
            with await asyncio.to_thread(make_daemon, settings=settings) as daemon:
                await asyncio.to_thread(strangers_mail, daemon, 30)
                async with asyncio.timeout(PATIENCE):
                    # What does not get one of them has been routed by then: routing is not bounded by connections.
                    while silent.open < 2 or await asyncio.to_thread(waiting, daemon) < 30:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                await asyncio.to_thread(submit, daemon, "ben@far.test")
                await arrived(mx, 1)
                assert 2 <= silent.open <= CONNECTIONS / 2
                daemon.kill9()


def waiting(daemon: Daemon) -> int:
    """Messages in the queue."""
    return len(daemon.command_json("queue", "list"))
