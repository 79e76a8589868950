"""DKIM signatures on mail of other servers (RFC 6376): whose they are, and whether they are good.

`checking.py` examines, `replays.py` counts how often one signature comes. A signature that is not good counts as none
(RFC 6376 §6.3): what follows from it is DMARC's to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.dkim_verify.checking import Checker
from mailserver.plugins.dkim_verify.replays import open_replays
from mailserver.plugins.dkim_verify.settings import DkimVerifySettings

__all__ = ["plugin"]

_THREADS = 2


@asynccontextmanager
async def setup(registry: api.Registry, settings: DkimVerifySettings, host: api.Host) -> AsyncIterator[None]:
    """Nothing is asked of DNS before a signed message comes."""
    workers = api.Workers(asyncio.get_running_loop(), "dkim", _THREADS)
    try:
        async with open_replays(host.data_dir / ".server" / "signatures.db", host.clock, settings) as replays:
            checker = Checker(host, workers, replays)
            registry.on_message(checker.check)
            registry.observe(api.Accepted, replays.accepted)
            yield
    finally:
        workers.close()


plugin = api.Plugin(
    name="dkim_verify", setup=setup, settings=DkimVerifySettings, timeout=60.0,
    doc="Verifies DKIM signatures of mail from other servers, and notices when one signature comes again and again.",
)  # fmt: skip
