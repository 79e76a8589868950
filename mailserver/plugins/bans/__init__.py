"""Networks that are not listened to for a while: those that guess passwords or addresses, or only waste our time.

What is counted comes from all services (`offences.py`), and a ban holds for all of them. It grows each time, ends by
itself, and says why. Nobody is banned who is trusted, on this machine, or at an address where somebody is logged in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.bans.ledger import open_ledger
from mailserver.plugins.bans.offences import Offences
from mailserver.plugins.bans.operations import Operations
from mailserver.plugins.bans.places import Places
from mailserver.plugins.bans.settings import BanSettings

__all__ = ["plugin"]


@asynccontextmanager
async def _setup(registry: api.Registry, settings: BanSettings, host: api.Host) -> AsyncIterator[None]:
    async with open_ledger(host.data_dir / ".server" / "bans.db", host.clock, settings) as ledger:
        places = Places(host, ledger)
        offences = Offences(host, settings, ledger, places)
        operations = Operations(host, ledger)
        registry.on_connect(offences.connect)
        registry.on_mail(offences.mail)
        registry.on_rcpt(offences.rcpt)
        registry.event_sink(places.event)
        registry.event_sink(offences.event)
        registry.operation("ban.list", operations.show)
        registry.operation("ban.add", operations.add)
        registry.operation("ban.lift", operations.lift)
        yield


plugin = api.Plugin(
    name="bans", setup=_setup, settings=BanSettings,
    doc="Does not listen for a while to networks that guess passwords or addresses, or talk nonsense.",
)  # fmt: skip
