"""Aliases and catch-all addresses, of the configuration and of `accounts.db`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailserver import api

__all__ = ["plugin"]

_MAX_DEPTH = 10
_MAX_ADDRESSES = 1000


class _Aliases:
    """The hooks; all look-ups are in memory."""

    def __init__(self, directory: api.Directory) -> None:
        self._directory = directory

    def resolve(self, ctx: api.ResolveContext) -> api.Resolution | None:
        """The targets of an alias; for an address that is nobody's, the domain's catch-all."""
        targets = self._targets(ctx.address)
        if not targets:
            return None
        return api.Resolution(destinations=tuple(api.Redirect(address=target) for target in targets))

    def sender_allowed(self, ctx: api.SenderContext) -> bool | None:
        """Whoever gets the mail of an alias may write as it, through other aliases too."""
        waiting, seen = [ctx.address], {ctx.address.key}
        for _ in range(_MAX_DEPTH):
            following: list[api.EmailAddress] = []
            for address in waiting:
                for target in self._targets(address):
                    match = api.find_address(self._directory, target)
                    if isinstance(match, api.AccountMatch):
                        if match.account.account == ctx.account:
                            return True
                    elif target.key not in seen and len(seen) < _MAX_ADDRESSES:
                        seen.add(target.key)
                        following.append(target)
            waiting = following
        return None

    def _targets(self, address: api.EmailAddress) -> tuple[api.EmailAddress, ...]:
        match = api.find_address(self._directory, address)
        if isinstance(match, api.AliasMatch):
            return match.alias.targets
        domain = self._directory.domain(address.domain)
        # postmaster and abuse have a place of their own, so that a catch-all cannot swallow them.
        if match is not None or domain is None or not domain.catch_all or api.is_role(address):
            return ()
        target = api.EmailAddress.parse(domain.catch_all)
        return () if target.key == address.key else (target,)


@asynccontextmanager
async def _setup(registry: api.Registry, settings: api.PluginSettings, host: api.Host) -> AsyncIterator[None]:
    aliases = _Aliases(host.directory)
    registry.resolve(aliases.resolve)
    registry.sender_allowed(aliases.sender_allowed)
    yield


plugin = api.Plugin(
    name="aliases", setup=_setup, doc="Addresses that stand for others, with several targets, and catch-all addresses."
)
