"""Policies are fetched again long before they expire (RFC 8461 §3.3, §10.2), and the operator hears when that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import structlog

from mailserver import api
from mailserver.plugins.mta_sts.cache import CachedPolicy, PolicyCache
from mailserver.plugins.mta_sts.policies import FetchFailed, Policies
from mailserver.plugins.mta_sts.policy import Mode

__all__ = ["Refresher"]

_log = structlog.get_logger()
_HOUR = 3600.0
#: Nobody wrote to the domain for so long: its policy may expire.
_FORGOTTEN = 60 * 86400.0
_AT_ONCE, _A_ROUND = 4, 1000


class Refresher:
    """`run` looks every hour; the first look is an hour away, so that a command that runs by itself never fetches."""

    def __init__(self, policies: Policies, cache: PolicyCache, clock: api.Clock, after: float) -> None:
        self._policies = policies
        self._cache = cache
        self._clock = clock
        self._after = after

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(_HOUR)
            try:
                await self.once()
            except api.MailError as error:
                _log.error("mta_sts.refresh_stopped", reason=error.for_operator)

    async def once(self) -> None:
        """What is due now. Raises StorageFailure."""
        now = self._clock.time()
        await self._cache.expire(now)
        due = await self._cache.due(now, after=self._after, again=_HOUR, used=_FORGOTTEN, most=_A_ROUND)
        waiting: Iterator[CachedPolicy] = iter(due)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(_AT_ONCE, len(due))):
                group.create_task(self._work(waiting))

    async def _work(self, waiting: Iterator[CachedPolicy]) -> None:
        for cached in waiting:
            await self.refresh(cached)

    async def refresh(self, cached: CachedPolicy) -> None:
        """One of them. Raises StorageFailure."""
        try:
            await self._policies.refresh(cached.domain, cached)
        except FetchFailed as error:
            await self._cache.failed(cached.domain, self._clock.time(), str(error))
            # RFC 8461 §10.2: a domain that gives MTA-STS up may take its web server away.
            if cached.policy.mode is not Mode.NONE:
                left = (cached.expires - self._clock.time()) / 86400
                _log.warning(
                    "mta_sts.refresh_failed", domain=cached.domain, reason=str(error), expires_in_days=round(left, 1)
                )
