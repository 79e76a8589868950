"""Two servers, over real DNS, that send mail to each other; a stranger who writes to them, and his server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.helpers.daemon import Daemon, free_port
from tests.helpers.dns import DnsServer
from tests.helpers.receiver import Received, Receiver
from tests.helpers.smtp import Reply, Smtp
from tests.helpers.waiting import PATIENCE

__all__ = ["FAR", "HELLO", "OURS", "SENDER", "A", "B", "World", "emptied"]

A, B = "a@one.test", "b@two.test"
SENDER = "x@stranger.test"
HELLO = b"From: <x@stranger.test>\r\nSubject: hello\r\nMessage-ID: <1@stranger.test>\r\n\r\nHello.\r\n"
OURS, FAR = "127.0.0.1", "127.0.0.3"


class World:
    """The servers of one.test and two.test are real, each with a port of its own; each finds others at the port of the
    other one. Whoever else there is, is on another address at both ports."""

    def __init__(self, root: Path, dns: DnsServer) -> None:
        self.root = root
        self.dns = dns
        self.ports = {"one.test": free_port(), "two.test": free_port()}
        for name, address in {"one.test": OURS, "two.test": OURS, "stranger.test": FAR}.items():
            self.leads(name, address)

    def leads(self, name: str, address: str) -> None:
        self.dns.add(name, "MX", f"10 mx.{name}.")
        self.dns.add(f"mx.{name}", "A", address)

    @contextmanager
    def server(
        self, domain: str, *, finds: str = "", trusting: bool = True, **aliases: list[str]
    ) -> Iterator[Daemon]:
        """Serves the domain, with these aliases. `finds`: the domain whose port it takes for that of others;
        `trusting`: clients on this machine are no strangers to it."""
        others = finds or ("two.test" if domain == "one.test" else "one.test")
        settings = {
            "": f'hostname = "mx.{domain}"',
            f'domains."{domain}".aliases': "\n".join(f"{local} = {targets}" for local, targets in aliases.items()),
            "smtp": f'listen = ["{OURS}:{self.ports[domain]}"]',
            "dns": f'servers = ["{self.dns.endpoint}"]',
            "queue": f'port = {self.ports[others]}\nallow_private_addresses = true\nretry = ["1h"]',
        }
        if not trusting:
            settings["limits"] = "trusted = []"
        daemon = Daemon(self.root / domain, settings=settings)
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace('[domains."example.test"]\n', ""))
        with daemon:
            yield daemon

    async def bring(self, to: str, content: bytes = HELLO, parameters: str = "", sender: str = SENDER) -> Reply:
        """A message comes from a stranger."""
        return await asyncio.to_thread(self._bring, to, content, parameters, sender)

    def _bring(self, to: str, content: bytes, parameters: str, sender: str) -> Reply:
        with Smtp(self.ports[to.partition("@")[2]]) as smtp:
            offered = "DSN" in smtp.ehlo().lines
            dsn = " RET=HDRS ENVID=e1" if offered else ""
            assert smtp.command(f"MAIL FROM:<{sender}>{dsn}").code == 250
            reply = smtp.command(f"RCPT TO:<{to}>{parameters}")
            if reply.code == 250:
                assert smtp.command("DATA").code == 354
                smtp.send(content + b".\r\n")
                reply = smtp.reply()
            return reply

    @asynccontextmanager
    async def sender(self) -> AsyncIterator[list[Received]]:
        """The server of who wrote, and what comes there."""
        got: list[Received] = []
        one, two = (Receiver(host=FAR, port=port, messages=got) for port in self.ports.values())
        async with one, two:
            yield got

    def other(self, **arguments: Any) -> Receiver:
        """In place of the real server of two.test."""
        return Receiver(port=self.ports["two.test"], **arguments)


async def emptied(*daemons: Daemon) -> None:
    """Until nothing waits in any queue, and nothing is between them; then they are stopped."""

    def look() -> None:
        deadline = time.monotonic() + PATIENCE
        empty = 0
        while empty < 4:
            # Strangers may open only so many connections in a minute, and may be who we are here.
            empty = 0 if any(daemon.queued() for daemon in daemons) else empty + 1
            assert time.monotonic() < deadline, [daemon.log_text()[-3000:] for daemon in daemons]
            time.sleep(0.02)
        for daemon in daemons:
            daemon.stop()

    # Receivers go on answering meanwhile.
    await asyncio.to_thread(look)
