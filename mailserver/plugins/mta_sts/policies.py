"""Which policy a domain has now (RFC 8461 §3, §5.1): the cached one, a new one, or none.

A policy in the cache that has not expired holds, whatever DNS and its web server say or do not say: only a new policy
replaces it. Mail looks at the record each time (the resolver keeps it for its TTL), and a new id has the policy fetched
before the mail goes. A fetch that failed is not tried again for five minutes, unless the id changes (§3.3).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

import structlog

from mailserver import api
from mailserver.plugins.mta_sts.cache import CachedPolicy, PolicyCache
from mailserver.plugins.mta_sts.policy import Invalid, StsPolicy, parse_policy, parse_record
from mailserver.plugins.mta_sts.settings import MtaStsSettings

__all__ = ["FetchFailed", "Found", "Policies"]

_log = structlog.get_logger()
_LARGEST = 64 << 10
_PAUSE = 300.0
_MOST_FAILURES = 10_000
#: `used` is written down when it is older than this.
_DAY = 86400.0


class FetchFailed(Exception):
    """There is no new policy; `failure` is a result type of RFC 8460 §4.3.2.2."""

    def __init__(self, failure: str, text: str) -> None:
        super().__init__(text)
        self.failure = failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`cached` is the policy in force; `id` what DNS says; `error` why there is no newer one, `remark` why no id."""

    cached: CachedPolicy | None
    id: str = ""
    error: FetchFailed | None = None
    remark: str = ""


class Policies:
    """Finds and fetches policies."""

    def __init__(self, settings: MtaStsSettings, host: api.Host, cache: PolicyCache) -> None:
        self._settings = settings
        self._resolver = host.resolver
        self._web = host.web
        self._clock = host.clock
        self._cache = cache
        self._fetching: dict[str, asyncio.Task[CachedPolicy | FetchFailed]] = {}
        #: Domain → id, time of the failure, the failure.
        self._failed: OrderedDict[str, tuple[str, float, FetchFailed]] = OrderedDict()

    async def aclose(self) -> None:
        """Break off what is being fetched."""
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def find(self, domain: str) -> Found:
        """The policy for mail to `domain` (A-labels, lower case). Raises StorageFailure."""
        now = self._clock.time()
        cached = await self._cache.get(domain)
        if cached is not None and cached.expires <= now:
            cached = None
        found, remark = await self._record(domain)
        if not found or (cached is not None and cached.id == found):
            return Found(cached=await self._use(cached, now), id=found, remark=remark)
        known = self._failed.get(domain)
        if known is not None and known[0] == found and now < known[1] + _PAUSE:
            return Found(cached=await self._use(cached, now), id=found, error=known[2])
        try:
            return Found(cached=await self.fetch(domain, found, used=now), id=found)
        except FetchFailed as error:
            return Found(cached=await self._use(cached, now), id=found, error=error)

    async def refresh(self, domain: str, cached: CachedPolicy | None) -> CachedPolicy:
        """Fetch it in any case, whatever the record says (RFC 8461 §10.2). Raises FetchFailed."""
        found, _ = await self._record(domain)
        last = self._clock.time() if cached is None else cached.used
        return await self.fetch(domain, found or ("" if cached is None else cached.id), used=last)

    async def fetch(self, domain: str, given: str, *, used: float) -> CachedPolicy:
        """Get the policy and keep it; who asks while it is under way gets the same. Raises FetchFailed."""
        task = self._fetching.get(domain)
        if task is None:
            task = self._fetching[domain] = asyncio.create_task(
                self._fetch(domain, given, used), name=f"mta-sts {domain}"
            )
            task.add_done_callback(lambda _: self._fetching.pop(domain, None))
        # Whoever gives up waiting must not take it from the others.
        result = await asyncio.shield(task)
        if isinstance(result, FetchFailed):
            raise result
        return result

    async def _record(self, domain: str) -> tuple[str, str]:
        """The id in DNS, or "" and why there is none."""
        try:
            answer = await self._resolver.txt(f"_mta-sts.{domain}")
            found = parse_record(answer.records)
        except api.LookupFailed as error:
            return "", f"its record cannot be looked up: {error.text}"
        except Invalid as error:
            return "", str(error)
        return found, "" if found else "there is no record"

    async def _use(self, cached: CachedPolicy | None, now: float) -> CachedPolicy | None:
        if cached is None or now - cached.used < _DAY:
            return cached
        try:
            return await self._cache.used(cached, now)
        except api.StorageFailure as error:
            _log.error("mta_sts.not_kept", domain=cached.domain, reason=error.for_operator)
            return cached

    async def _fetch(self, domain: str, given: str, used: float) -> CachedPolicy | FetchFailed:
        try:
            policy = await self._policy(domain)
        except FetchFailed as error:
            _log.info("mta_sts.fetch_failed", domain=domain, reason=str(error))
            self._failed[domain] = (given, self._clock.time(), error)
            self._failed.move_to_end(domain)
            while len(self._failed) > _MOST_FAILURES:
                self._failed.popitem(last=False)
            return error
        self._failed.pop(domain, None)
        now = self._clock.time()
        cached = CachedPolicy(domain=domain, id=given, policy=policy, fetched=now, used=used, tried=now)
        try:
            await self._cache.put(cached)
        except api.StorageFailure as error:
            # This mail is protected all the same; the next will fetch it again.
            _log.error("mta_sts.not_kept", domain=domain, reason=error.for_operator)
        return cached

    async def _policy(self, domain: str) -> StsPolicy:
        port = "" if self._settings.port == 443 else f":{self._settings.port}"
        try:
            answer = await self._web.get(
                f"https://mta-sts.{domain}{port}/.well-known/mta-sts.txt", most=_LARGEST,
                within=self._settings.fetch_timeout, ca_file=self._settings.ca_file,
            )  # fmt: skip
        except api.WebFailed as error:
            kind = "sts-webpki-invalid" if error.untrusted else "sts-policy-fetch-error"
            raise FetchFailed(kind, f"mta-sts.{domain}: {error.text}") from None
        if answer.status != 200:
            # RFC 8461 §3.3: 200 and nothing else; a redirect is not followed.
            raise FetchFailed("sts-policy-fetch-error", f"mta-sts.{domain} answers with HTTP status {answer.status}")
        if answer.media_type != "text/plain":
            raise FetchFailed("sts-policy-fetch-error", f"what mta-sts.{domain} has there is not text/plain")
        try:
            return parse_policy(answer.body)
        except Invalid as error:
            raise FetchFailed("sts-policy-invalid", f"the policy of {domain} is not valid: {error}") from None
