"""Answers for those who are away (RFC 3834): once per sender and some days, and never to a program or a list.

Whether a message may be answered is found out while it is placed (`answering.py`); the answer leaves when the message
is in a mailbox. To whom one went is on disk before it is queued: a crash may cost an answer, but never makes two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailserver import api
from mailserver.plugins.vacation.answering import Answering
from mailserver.plugins.vacation.database import open_database
from mailserver.plugins.vacation.ledger import Ledger
from mailserver.plugins.vacation.operations import Operations
from mailserver.plugins.vacation.settings import VacationSettings

__all__ = ["plugin"]


@asynccontextmanager
async def _setup(registry: api.Registry, settings: VacationSettings, host: api.Host) -> AsyncIterator[None]:
    async with api.database_thread(host.data_dir / ".server" / "vacation.db", open_database) as db:
        ledger = Ledger(db, host.directory)
        await ledger.refresh()
        answering = Answering(host, settings, ledger)
        operations = Operations(host, settings, ledger)
        registry.place(answering.place)
        registry.observe(api.Delivered, answering.delivered)
        registry.operation("vacation.set", operations.set)
        registry.operation("vacation.show", operations.show)
        registry.operation("vacation.off", operations.off)
        yield


plugin = api.Plugin(
    name="vacation",
    setup=_setup,
    settings=VacationSettings,
    doc="Answers mail for accounts whose owners are away.",
    on_error="skip",
)
