"""Addresses beside accounts and aliases: temporary ones, blocked ones, domains that stand for others, and folders of
sub-addresses. All look-ups are in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.addresses.database import open_database
from mailserver.plugins.addresses.folders import Folders
from mailserver.plugins.addresses.ledger import Ledger
from mailserver.plugins.addresses.operations import Operations
from mailserver.plugins.addresses.resolving import Resolving
from mailserver.plugins.addresses.settings import AddressesSettings

__all__ = ["plugin"]


@asynccontextmanager
async def _setup(registry: api.Registry, settings: AddressesSettings, host: api.Host) -> AsyncIterator[None]:
    async with api.database_thread(host.data_dir / ".server" / "addresses.db", open_database) as db:
        ledger = Ledger(db, host)
        await ledger.refresh()
        resolving = Resolving(host, ledger)
        operations = Operations(host, settings, ledger)
        registry.resolve(resolving.resolve)
        registry.sender_allowed(resolving.sender_allowed)
        registry.place(Folders(host, settings, ledger).place)
        registry.operation("alias.temporary", operations.temporary)
        registry.operation("alias.temporaries", operations.temporaries)
        registry.operation("alias.drop", operations.drop)
        registry.operation("alias.block", operations.block)
        registry.operation("alias.unblock", operations.unblock)
        registry.operation("alias.blocked", operations.blocked)
        registry.operation("domain.alias", operations.alias_domain)
        registry.operation("domain.unalias", operations.unalias_domain)
        registry.operation("domain.aliases", operations.aliased_domains)
        registry.operation("account.folders", operations.folders)
        yield


plugin = api.Plugin(
    name="addresses",
    setup=_setup,
    settings=AddressesSettings,
    doc="Temporary and blocked addresses, domains that stand for others, folders of sub-addresses.",
)
