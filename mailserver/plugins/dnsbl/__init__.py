"""Lists in DNS of addresses and domains that send junk, or that do not (RFC 5782). None is asked unless it is named.

All lists are asked at once, through the server's own resolver, which remembers their answers. What they say is points,
and a list that does not work says nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress

from mailserver import api
from mailserver.plugins.dnsbl.asking import AskedList
from mailserver.plugins.dnsbl.settings import DnsblSettings, DnsList

__all__ = ["DnsList", "DnsblSettings", "plugin"]

_CHECK = "dnsbl"
#: Addresses that nobody lists.
_LOCAL = api.NetworkSet((
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "::1/128",
    "fc00::/7", "fe80::/10",
))  # fmt: skip
#: Domains of one message that are asked for, and octets and parts of it where links are looked for.
_DOMAINS, _TEXT, _PARTS = 12, 128 << 10, 50
_LINK = re.compile(r"https?://([A-Za-z0-9.-]{3,253})", re.ASCII)


class _Dnsbl:
    """The hooks."""

    def __init__(self, settings: DnsblSettings, host: api.Host) -> None:
        self._settings = settings
        lists = [AskedList(one, host.resolver, host.clock) for one in settings.lists]
        self.lists = lists
        self._addresses = [one for one in lists if one.settings.of == "addresses"]
        self._domains = [one for one in lists if one.settings.of == "domains"]

    def mail(self, ctx: api.MailContext) -> Awaitable[api.Verdict | None] | None:
        """The client's address."""
        if not self._addresses or not ctx.session.from_stranger:
            return None
        ip = api.parse_ip(ctx.session.peer)
        if ip is None or ctx.session.peer in _LOCAL:
            return None
        name = ip.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
        return self._ask(self._addresses, [(name, f"The server that brought it, {ip},")], ctx.findings)

    def message(self, ctx: api.MessageContext) -> Awaitable[api.Verdict | None] | None:
        """The domains of its sender, and those that its links lead to."""
        if not self._domains or not ctx.session.from_stranger:
            return None
        names = _domains(ctx)
        return self._ask(self._domains, names, ctx.findings) if names else None

    async def _ask(
        self, lists: Sequence[AskedList], names: Sequence[tuple[str, str]], findings: api.Findings
    ) -> api.Verdict | None:
        asked = [(one, words, one.ask(name)) for one in lists if one.usable for name, words in names]
        tasks = [asyncio.create_task(question, name="dnsbl") for _, _, question in asked]
        if not tasks:
            return None
        try:
            await asyncio.wait(tasks, timeout=self._settings.wait)
        finally:
            for task in tasks:
                task.cancel()
        room = self._settings.most_points
        total = sum(reason.points for reason in findings.reasons if reason.check == _CHECK)
        reasons: list[api.Reason] = []
        seen: set[tuple[str, str]] = set()
        for (one, words, _), task in zip(asked, tasks, strict=True):
            if not task.done() or task.cancelled():
                continue
            points, codes = task.result()
            points = min(max(total + points, -room), room) - total
            if not codes or (one.settings.zone, words) in seen:
                continue
            seen.add((one.settings.zone, words))
            total += points
            reasons.append(_reason(one.settings.zone, words, points, codes))
        return api.Accept(findings=api.Findings((), tuple(reasons))) if reasons else None


def _reason(zone: str, words: str, points: float, codes: str) -> api.Reason:
    advice = "Its operator can ask there why, and to be taken off" if points > 0 else ""
    return api.Reason(_CHECK, points, f"{words} is on the list {zone} ({codes})", advice)


def _domains(ctx: api.MessageContext) -> list[tuple[str, str]]:
    """Each domain once, with the words that it is told with."""
    authors = ctx.message.authors[:3]
    found = [(one.address.domain, "of the author") for one in authors if one.address is not None]
    if ctx.envelope.sender is not None:
        found.append((ctx.envelope.sender.domain, "of the sender"))
    found += [(host, "that a link leads to") for host in _links(ctx.message)]
    names: dict[str, str] = {}
    for domain, words in found:
        name = api.base_domain(api.public_domain(domain))
        if name and len(names) < _DOMAINS:
            names.setdefault(name, f"The domain {api.readable_domain(name)}, {words},")
    return list(names.items())


def _links(message: api.MessageView) -> list[str]:
    hosts: list[str] = []
    for number, part in enumerate(message.structure.walk()):
        if number >= _PARTS:
            break
        if part.children:
            continue
        if part.media_type == "text/html":
            hosts += [link.host for link in api.html_links(message.text(part, _TEXT))]
        elif part.media_type == "text/plain":
            hosts += _LINK.findall(message.text(part, _TEXT))
    return list(dict.fromkeys(host.lower().rstrip(".") for host in hosts))[:_DOMAINS]


async def _keep_testing(one: AskedList) -> None:
    while True:
        pause = await one.test()
        await asyncio.sleep(pause)


@asynccontextmanager
async def _setup(registry: api.Registry, settings: DnsblSettings, host: api.Host) -> AsyncIterator[None]:
    dnsbl = _Dnsbl(settings, host)
    if settings.lists:
        registry.on_mail(dnsbl.mail)
        registry.on_message(dnsbl.message)
    tests = [asyncio.create_task(_keep_testing(one), name="dnsbl tests") for one in dnsbl.lists if one.settings.test]
    try:
        yield
    finally:
        for test in tests:
            test.cancel()
        for test in tests:
            with suppress(asyncio.CancelledError):
                await test


plugin = api.Plugin(
    name="dnsbl", on_error="skip", setup=_setup, settings=DnsblSettings, timeout=40.0,
    doc="Asks lists in DNS about servers and domains.",
)  # fmt: skip
