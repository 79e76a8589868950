"""MTA-STS: domains say over HTTPS which mail servers are theirs, and that these have good certificates (RFC 8461).

`policy.py` reads records and policies, `cache.py` keeps them, `policies.py` finds the one that is in force,
`refresh.py` renews them in the background, `judging.py` says what a policy means for a host.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from mailserver import api
from mailserver.plugins.mta_sts.cache import CachedPolicy, PolicyCache
from mailserver.plugins.mta_sts.judging import judge
from mailserver.plugins.mta_sts.policies import FetchFailed, Policies
from mailserver.plugins.mta_sts.refresh import Refresher
from mailserver.plugins.mta_sts.settings import MtaStsSettings

__all__ = ["plugin"]


class _MtaSts:
    """The hook and the operations."""

    def __init__(self, policies: Policies, cache: PolicyCache, clock: api.Clock) -> None:
        self._policies = policies
        self._cache = cache
        self._clock = clock

    def tls_policy(self, ctx: api.TlsPolicyContext) -> Awaitable[api.TlsPolicy | None] | None:
        """What the domain's policy asks for; None without one. RFC 8461 §3.4: never the policy of a parent domain."""
        domain = api.public_domain(ctx.domain)
        return self._judge(domain, ctx.host) if domain else None

    async def _judge(self, domain: str, host: str) -> api.TlsPolicy | None:
        return judge(await self._policies.find(domain), domain, host)

    async def show(self, arguments: Mapping[str, Any]) -> Any:
        """The policy that mail to a domain gets now, fetched if need be, or why it has none."""
        domain = _demanded(arguments)
        found = await self._policies.find(domain)
        policy = None if found.cached is None else {**_row(found.cached), "text": list(found.cached.policy.text)}
        error = "" if found.error is None else str(found.error)
        return {"domain": domain, "id": found.id, "policy": policy, "error": error, "remark": found.remark}

    async def list(self, arguments: Mapping[str, Any]) -> Any:
        """All cached policies that have not expired."""
        now = self._clock.time()
        return [_row(cached) for cached in await self._cache.overview() if cached.expires > now]

    async def refresh(self, arguments: Mapping[str, Any]) -> Any:
        """Fetch the policy of a domain now, whatever its record says."""
        domain = _demanded(arguments)
        try:
            return _row(await self._policies.refresh(domain, await self._cache.get(domain)))
        except FetchFailed as error:
            raise api.MailError(f"{domain}: no policy could be fetched: {error}", temporary=True) from None


def _demanded(arguments: Mapping[str, Any]) -> str:
    domain = arguments.get("domain")
    found = api.public_domain(domain) if isinstance(domain, str) else ""
    if not found:
        raise ValueError("a domain is needed, such as example.org")
    return found


def _row(cached: CachedPolicy) -> dict[str, Any]:
    return {
        "domain": cached.domain, "id": cached.id, "mode": cached.policy.mode.value,
        "mx": list(cached.policy.patterns), "max_age": cached.policy.max_age, "fetched": cached.fetched,
        "expires": cached.expires, "trouble": cached.trouble,
    }  # fmt: skip


@asynccontextmanager
async def _setup(registry: api.Registry, settings: MtaStsSettings, host: api.Host) -> AsyncIterator[None]:
    async with PolicyCache(host.data_dir / ".server" / "mta_sts.db") as cache:
        policies = Policies(settings, host, cache)
        mta_sts = _MtaSts(policies, cache, host.clock)
        registry.tls_policy(mta_sts.tls_policy)
        registry.operation("mta_sts.show", mta_sts.show)
        registry.operation("mta_sts.list", mta_sts.list)
        registry.operation("mta_sts.refresh", mta_sts.refresh)
        refresher = asyncio.create_task(
            Refresher(policies, cache, host.clock, settings.refresh).run(), name="mta-sts refresh"
        )
        try:
            yield
        finally:
            refresher.cancel()
            with suppress(asyncio.CancelledError):
                await refresher
            await policies.aclose()


plugin = api.Plugin(
    name="mta_sts", setup=_setup, settings=MtaStsSettings, timeout=100.0,
    doc="Mail servers are those that their domain's MTA-STS policy names, and have good certificates.",
)  # fmt: skip
