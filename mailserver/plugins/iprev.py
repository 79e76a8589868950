"""Has the client's address a name that leads back to it? (RFC 8601 §3, `iprev`)

Nearly every real mail server has; many machines that send without their owners' knowledge have not. It proves nothing
about the sender, so it only counts a little.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from mailserver import api

__all__ = ["plugin"]

#: Addresses of which the world's DNS knows no names.
_LOCAL = api.NetworkSet((
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "::1/128",
    "fc00::/7", "fe80::/10",
))  # fmt: skip
_MOST_NAMES = 10
#: Connections of which the result is kept.
_MOST_KNOWN = 1_000
_MAX_SECONDS = 15.0
_REASONS = {
    "fail": api.Reason("iprev", 0.7, "The server that brought it has a name which does not lead back to it"),
    "permerror": api.Reason("iprev", 1.0, "The server that brought it has no name in DNS, as real mail servers have"),
}


class _Iprev:
    """The hook."""

    def __init__(self, host: api.Host) -> None:
        self._resolver = host.resolver
        self._known: OrderedDict[api.SessionId, api.Verdict] = OrderedDict()

    def mail(self, ctx: api.MailContext) -> Awaitable[api.Verdict] | api.Verdict | None:
        """At the first MAIL of a connection: whoever only connects costs no lookups, and a client keeps its address."""
        session = ctx.session
        if not session.from_stranger:
            return None
        known = self._known.get(session.session)
        if known is not None:
            return known
        ip = api.parse_ip(session.peer)
        return None if ip is None or session.peer in _LOCAL else self._mail(session.session, ip)

    async def _mail(self, session: api.SessionId, ip: Any) -> api.Verdict:
        try:
            async with asyncio.timeout(_MAX_SECONDS):
                result, name = await self._check(ip)
        except TimeoutError:
            result, name = "temperror", ""
        found = api.AuthResult(
            method="iprev", result=result, properties=(("policy.iprev", str(ip)), ("policy.ptr", name))
        )
        reason = _REASONS.get(result)
        verdict = api.Accept(findings=api.Findings((found,), () if reason is None else (reason,)))
        if result != "temperror":
            self._known[session] = verdict
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return verdict

    async def _check(self, ip: Any) -> tuple[str, str]:
        """The result (RFC 8601 §2.7.3), and the name if it is a pass."""
        try:
            names = (await self._resolver.ptr(str(ip))).records[:_MOST_NAMES]
        except api.LookupFailed:
            return "temperror", ""
        uncertain = False
        for name in names:
            try:
                found = await self._resolver.query(name, "A" if ip.version == 4 else "AAAA")
            except api.LookupFailed:
                uncertain = True
                continue
            if any(api.parse_ip(text) == ip for text in found.records):
                return "pass", name
        if uncertain:
            return "temperror", ""
        return ("fail" if names else "permerror"), ""


@asynccontextmanager
async def _setup(registry: api.Registry, settings: api.PluginSettings, host: api.Host) -> AsyncIterator[None]:
    registry.on_mail(_Iprev(host).mail)
    yield


plugin = api.Plugin(
    name="iprev", on_error="skip", setup=_setup, timeout=20.0,
    doc="Looks whether the client's address has a name that leads back to it.",
)  # fmt: skip
