"""A message to the user whose mailbox is nearly full, while mail still comes in.

Room is looked at when something came: mail, what a mail program stored or copied, or a sender who was put off. Nothing
tells when a user makes room, so that is found out with the next message, from what there was before it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.quota_warning.database import open_database, warned
from mailserver.plugins.quota_warning.settings import QuotaWarningSettings
from mailserver.plugins.quota_warning.watching import Watching

__all__ = ["plugin"]


@asynccontextmanager
async def _setup(registry: api.Registry, settings: QuotaWarningSettings, host: api.Host) -> AsyncIterator[None]:
    if not settings.percent:
        yield
        return
    async with api.database_thread(host.data_dir / ".server" / "quota_warning.db", open_database) as db:
        watching = Watching(host, settings, db, await db.run(warned))
        registry.observe(api.Delivered, watching.delivered)
        registry.observe(api.Appended, watching.appended)
        registry.observe(api.Moved, watching.moved)
        registry.observe(api.Refused, watching.refused)
        yield


plugin = api.Plugin(
    name="quota_warning",
    setup=_setup,
    settings=QuotaWarningSettings,
    doc="Tells users that their mailbox is nearly full.",
)
