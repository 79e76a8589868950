"""Addresses that nobody is behind: an account that keeps writing to them is told at once, instead of by a bounce.

They come on the account's list when a server refuses them in an attempt of ours (`Attempted`), or when a bounce comes
that is provably about a message of ours (`bounces.py`, `origin.py`). They are there for a week, and for three months
when it happens again; mail that is proved to come from an address lifts it, and so does the administrator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.suppression.bounces import Bounces
from mailserver.plugins.suppression.ledger import open_ledger
from mailserver.plugins.suppression.operations import Operations
from mailserver.plugins.suppression.policy import Policy
from mailserver.plugins.suppression.settings import SuppressionSettings

__all__ = ["plugin"]


@asynccontextmanager
async def _setup(registry: api.Registry, settings: SuppressionSettings, host: api.Host) -> AsyncIterator[None]:
    async with open_ledger(host.data_dir / ".server" / "suppression.db", host.clock, settings.remember) as ledger:
        policy = Policy(host, settings, ledger)
        bounces = Bounces(host, settings, ledger, policy)
        operations = Operations(host, settings, ledger)
        registry.on_rcpt(policy.rcpt)
        registry.on_message(bounces.message)
        registry.observe(api.Attempted, bounces.attempted)
        registry.observe(api.Judged, policy.judged)
        registry.operation("suppression.list", operations.show)
        registry.operation("suppression.add", operations.add)
        registry.operation("suppression.remove", operations.remove)
        yield


plugin = api.Plugin(
    name="suppression",
    setup=_setup,
    settings=SuppressionSettings,
    doc="Recognises bounces, and refuses mail of our users to addresses that do not exist.",
)
