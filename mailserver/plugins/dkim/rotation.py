"""Keys come and go without a gap: the next ones sign only after the whole world can read their records.

`dkim.rotate` makes the next keys and says which records to publish. Every hour DNS is asked; when the records are
there, the new keys sign and the old ones are retired. The old records stay in DNS for `_OVERLAP`, as long as signatures
made with them may be checked; then the operator is told to remove them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import structlog

from mailserver import api
from mailserver.plugins.dkim.keys import Key, KeyState, KeyStore, Unusable

__all__ = ["Rotation"]

log = structlog.get_logger()

_DAY = 86400.0
_CHECK_EVERY = 3600.0
#: Longer than a signature is good, and than a message waits in anybody's queue.
_OVERLAP = 14 * _DAY
#: How long a retired key is still listed after its record may go.
_REMEMBER = 30 * _DAY

Arguments = Mapping[str, Any]


class Rotation:
    """Looks after the keys of all domains while the server runs, and does what the operator asks."""

    def __init__(self, keys: KeyStore, host: api.Host) -> None:
        self._keys = keys
        self._directory = host.directory
        self._resolver = host.resolver
        self._clock = host.clock
        self._task: asyncio.Task[None] | None = None
        self._told: set[str] = set()

    async def __aenter__(self) -> Self:
        # Not awaited: making keys takes a second, and a message that is to be signed waits for them by itself.
        self._task = asyncio.get_running_loop().create_task(self._look_after(), name="dkim rotation")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def operations(self) -> Mapping[str, Callable[[Arguments], Awaitable[Any]]]:
        """What the command line asks for."""
        return {"dkim.list": self._list, "dkim.rotate": self._rotate, "dkim.activate": self._activate}

    async def check(self) -> None:
        """One round over all domains: new ones get keys, awaited records are looked for, old leftovers go."""
        for domain in self._directory.domains():
            keys = await self._load(domain.name)
            coming = [key for key in keys if key.state is KeyState.NEXT]
            if coming and all([await self._published(key) for key in coming]):
                await self._keys.activate(domain.name)
                log.info("dkim.activated", domain=domain.name, selectors=[key.selector for key in coming])
            for key in keys:
                if key.state is KeyState.RETIRED and key.since + _OVERLAP + _REMEMBER < self._clock.time():
                    await self._keys.forget(key)

    async def _look_after(self) -> None:
        while True:
            try:
                await self.check()
            except (api.MailError, Unusable) as error:
                log.warning("dkim.check_failed", error=str(error))
            await asyncio.sleep(_CHECK_EVERY)

    async def _load(self, domain: str) -> Sequence[Key]:
        try:
            return await self._keys.load(domain)
        except Unusable as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                log.error("dkim.key_unusable", domain=domain, error=str(error), effect="its mail waits in the queue")
            return ()

    async def _published(self, key: Key) -> bool:
        """Is this very record in DNS?"""
        try:
            answer = await self._resolver.txt(key.name)
        except api.LookupFailed:
            return False
        return key.record.encode("ascii") in answer.records

    # what the operator asks

    async def _list(self, arguments: Arguments) -> Any:
        named = arguments.get("domain")
        domains = [self._domain(arguments)] if named else [domain.name for domain in self._directory.domains()]
        return await self._rows([key for domain in domains for key in await self._read(domain)])

    async def _rotate(self, arguments: Arguments) -> Any:
        domain = self._domain(arguments)
        await self._read(domain)
        try:
            keys = await self._keys.add_next(domain)
        except Unusable as error:
            raise api.StorageFailure(str(error)) from error
        return await self._rows(keys)

    async def _activate(self, arguments: Arguments) -> Any:
        domain = self._domain(arguments)
        coming = [key for key in await self._read(domain) if key.state is KeyState.NEXT]
        if not coming:
            raise api.InvalidInput(f"{domain} has no keys that wait; make some: mailserver domain dkim rotate {domain}")
        if arguments.get("force") is not True:
            missing = [key.name for key in coming if not await self._published(key)]
            if missing:
                raise api.NotPermitted(
                    f"DNS does not have {' and '.join(missing)} yet: mail signed with these keys would fail."
                    " Publish the records, wait, or say --force"
                )
        return await self._rows(await self._keys.activate(domain))

    def _domain(self, arguments: Arguments) -> str:
        name = api.normalize_domain(str(arguments.get("domain", "")))
        if self._directory.domain(name) is None:
            raise api.NotFound(f"{name} is not served; see all domains: mailserver domain list")
        return name

    async def _read(self, domain: str) -> Sequence[Key]:
        try:
            return await self._keys.load(domain)
        except Unusable as error:
            raise api.StorageFailure(f"{error}; mail of {domain} waits until this is mended") from error

    async def _rows(self, keys: Sequence[Key]) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(self._row(key) for key in keys)))

    async def _row(self, key: Key) -> dict[str, Any]:
        return {
            "domain": key.domain,
            "selector": key.selector,
            "algorithm": key.algorithm,
            "state": {"key": "signing"}.get(key.state.value, key.state.value),
            "since": key.since,
            "remove_after": key.since + _OVERLAP if key.state is KeyState.RETIRED else None,
            "name": key.name,
            "record": key.record,
            "in_dns": await self._published(key),
        }
