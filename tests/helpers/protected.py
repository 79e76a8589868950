"""A sender that protects its connections: real DNS, HTTPS and SMTP dialogues on loopback, plugins dane and mta_sts.

The domain far.test has the mail server mx.far.test (127.0.0.1) and, if a test wants it, an MTA-STS policy; `signed`
says whether DNSSEC proves its names. One authority stands for those of the system.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.web import Request, Response, StreamResponse

from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import HookOptions, Registry
from mailserver.model.delivery import Destination, Result
from mailserver.model.dns import Tlsa
from mailserver.model.events import Event, TlsAttempted
from mailserver.net.dns.resolver import DnsResolver
from mailserver.net.dns.servers import Servers
from mailserver.net.settings import DnsSettings
from mailserver.net.web import HttpsClient
from mailserver.outbound import tls
from mailserver.outbound.exchangers import Exchangers
from mailserver.outbound.sender import Sender
from mailserver.outbound.settings import SendingSettings
from mailserver.plugins import dane, mta_sts
from mailserver.wire.tlsa import written
from tests.helpers.authority import Issued, issue
from tests.helpers.clock import FakeClock
from tests.helpers.dns import DnsServer
from tests.helpers.plugins import make_host
from tests.helpers.sending import job
from tests.helpers.web_server import WebServer

__all__ = ["DOMAIN", "MX", "Protected", "policy_text"]

DOMAIN, MX = "far.test", "mx.far.test"


def policy_text(mode: str = "enforce", mx: str = "*.far.test", max_age: int = 604800) -> str:
    """A policy file."""
    return f"version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: {max_age}\r\n"


class Protected:
    """`async with Protected.running(...)`. What web servers answer is `policy` (text) or `web.answer`."""

    web: WebServer
    resolver: DnsResolver
    hooks: Hooks

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.dns = DnsServer()
        self.root = issue(authority=True)
        self.good = issue(MX, by=self.root)
        self.policy = policy_text()
        self.events: list[Event] = []
        file, made = self.root.write_ca(directory), tls._verifying
        self.ca_file = file
        monkeypatch.setattr(tls, "_verifying", lambda ca_file: made(ca_file or file))

    @classmethod
    @asynccontextmanager
    async def running(
        cls, directory: Path, monkeypatch: pytest.MonkeyPatch, *, signed: bool = False,
        certificate: Issued | None = None, private_web: bool = True, endpoint: str = "", **settings: Any,
    ) -> AsyncIterator[Protected]:
        """`certificate` is the policy host's; `endpoint` another name server's; `settings` those of mta_sts."""
        self = cls(directory, monkeypatch)
        async with AsyncExitStack() as stack:
            stack.enter_context(self.dns)
            self.dns.add(DOMAIN, "MX", f"10 {MX}.", authentic=signed)
            self.dns.add(MX, "A", "127.0.0.1", authentic=signed)
            own = certificate or issue(f"mta-sts.{DOMAIN}", by=self.root)
            self.web = await stack.enter_async_context(WebServer(own.server_context(directory), self._answer))
            self.dns.add(f"mta-sts.{DOMAIN}", "A", "127.0.0.1")
            asked = DnsSettings(servers=[endpoint or self.dns.endpoint])
            self.resolver = DnsResolver(Servers(asked, self.clock), self.clock)
            stack.push_async_callback(self.resolver.close)
            client = await stack.enter_async_context(HttpsClient(self.resolver, allow_private=private_web))
            host = make_host(
                hostname="mail.example.test", data_dir=directory, clock=self.clock, resolver=self.resolver, web=client
            )
            registries = [Registry(HookOptions(plugin=name)) for name in ("dane", "mta_sts", "test")]
            await stack.enter_async_context(dane.plugin.setup(registries[0], dane.DaneSettings(), host))
            chosen = {"port": self.web.port, "ca_file": self.ca_file} | settings
            await stack.enter_async_context(
                mta_sts.plugin.setup(registries[1], mta_sts.plugin.settings(**chosen), host)
            )
            registries[2].event_sink(self.events.append)
            self.hooks = Hooks(registries)
            yield self

    def publishes(self, given: str = "1") -> None:
        """The record of MTA-STS."""
        self.dns.add(f"_mta-sts.{DOMAIN}", "TXT", f'"v=STSv1; id={given};"', ttl=0)

    def pins(self, port: int, *records: Tlsa, name: str = MX, authentic: bool = True) -> None:
        """TLSA records."""
        self.dns.add(f"_{port}._tcp.{name}", "TLSA", *written(records), authentic=authentic)

    async def send(self, port: int, domain: str = DOMAIN, **message: Any) -> Result:
        """One message for a domain, where mail servers are at this port."""
        exchangers = Exchangers(self.resolver, port=port, allow_private=True)
        async with Sender(SendingSettings(), self.hooks, "mail.example.test", exchangers) as sender:
            report = await sender.deliver(job(destination=Destination(name=domain), **message))
        (result,) = report.results
        return result

    def told(self) -> list[tuple[str, str]]:
        """Source of the policy and failure, of each connection."""
        return [(each.policy.source, each.failure) for each in self.events if isinstance(each, TlsAttempted)]

    async def _answer(self, request: Request) -> StreamResponse:
        assert request.path == "/.well-known/mta-sts.txt"
        return Response(text=self.policy)
