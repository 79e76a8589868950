"""The decision about a stranger's message, for each account: deliver it, put it into Junk, or refuse it.

It comes after all checks: their points are added up (`decision.py`), and what the account itself says of a sender
counts more. Copies of refused mail lie in Rejects for some days (`rejects.py`). Honeypots are the one check of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from mailserver import api
from mailserver.plugins.junk.decision import Decision
from mailserver.plugins.junk.honeypots import Honeypots
from mailserver.plugins.junk.ledger import open_ledger
from mailserver.plugins.junk.operations import Operations
from mailserver.plugins.junk.rejects import Cleaning
from mailserver.plugins.junk.settings import JunkSettings
from mailserver.plugins.junk.traps import Traps

__all__ = ["plugin"]


@asynccontextmanager
async def _setup(registry: api.Registry, settings: JunkSettings, host: api.Host) -> AsyncIterator[None]:
    async with open_ledger(host.data_dir / ".server" / "junk.db", host.directory) as ledger:
        honeypots = Honeypots(host, settings, ledger)
        cleaning = Cleaning(host, settings, ledger)
        operations = Operations(host, settings, ledger)
        traps = Traps(host, settings, ledger)
        registry.on_rcpt(honeypots.rcpt)
        registry.on_message(honeypots.message)
        registry.on_delivery(Decision(host, settings, ledger).delivery)
        registry.observe(api.Judged, cleaning.judged)
        registry.operation("junk.list", operations.show)
        registry.operation("junk.set", operations.set)
        registry.operation("sender.allow", operations.allow)
        registry.operation("sender.block", operations.block)
        registry.operation("sender.list", operations.list_senders)
        registry.operation("sender.remove", operations.remove)
        registry.operation("honeypot.add", traps.add)
        registry.operation("honeypot.remove", traps.remove)
        registry.operation("honeypot.list", traps.show)
        registry.operation("honeypot.marks", traps.marks)
        registry.operation("honeypot.lift", traps.lift)
        rounds = asyncio.create_task(cleaning.run(), name="junk cleaning")
        try:
            yield
        finally:
            rounds.cancel()
            with suppress(asyncio.CancelledError):
                await rounds


plugin = api.Plugin(
    name="junk",
    setup=_setup,
    settings=JunkSettings,
    doc="Decides where a stranger's mail goes: inbox, Junk, or back.",
)
