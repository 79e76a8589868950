"""What was learned, on disk, with the thread that judges and learns; and its size.

A message is judged in one hop to the thread, its words and their counts together. Learning takes another one for each
message, so that mail that comes in the meantime waits for one message and not for all.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from mailserver import api
from mailserver.plugins.bayes import database
from mailserver.plugins.bayes.database import Owner
from mailserver.plugins.bayes.model import Lesson, Model, Opinion
from mailserver.plugins.bayes.settings import BayesSettings

__all__ = ["Ledger", "open_ledger"]

_log = structlog.get_logger()
#: Seconds between two looks at the size, and between two steps of forgetting.
_PAUSE = 600.0
_STEP_PAUSE = 0.05
_DAY = 86_400
#: Of tokens of fewer messages than this, those that were not seen for so many days; from one round to the next more is
#: given up, until it fits.
_ROUNDS = ((2, 90), (2, 14), (3, 30), (2, 0), (3, 0), (5, 0), (10, 0), (100, 0), (1 << 60, 0))
#: Until so much is free again.
_ENOUGH = 0.9
_MOST_REMEMBERED = 1_000_000


class Ledger:
    """For one database."""

    def __init__(self, db: api.DatabaseThread, model: Model, clock: api.Clock, settings: BayesSettings) -> None:
        self._db = db
        self._model = model
        self._clock = clock
        self._settings = settings

    @property
    def learned(self) -> int:
        """See `Model.learned`."""
        return self._model.learned

    async def judge(
        self, name: str, message: api.MessageView | bytes, account: str, created: float, hop: bytes = b""
    ) -> Opinion:
        """See `Model.judge`. Raises StorageFailure."""
        return await self._db.run(self._model.judge, name, message, account, created, hop)

    async def learn(self, lesson: Lesson) -> bool:
        """See `Model.learn`. Raises StorageFailure."""
        return await self._db.run(self._model.learn, lesson)

    async def forget(self, account: str) -> bool:
        """See `Model.forget`. Raises StorageFailure."""
        return await self._db.run(self._model.forget, account, self._clock.time())

    async def owners(self) -> tuple[list[Owner], int]:
        """Who learned how much, and the octets that all of it takes. Raises StorageFailure."""
        return await self._db.run(_owners)

    async def tidy(self) -> None:
        """While it is too large, forget. Raises StorageFailure."""
        await self._db.run(database.forget_learned, _MOST_REMEMBERED)
        if await self._db.run(database.used) <= self._settings.max_size:
            return
        await self._db.run(database.forget_examples)
        today = int(self._clock.time()) // _DAY
        for least, days in _ROUNDS:
            after: tuple[int, int] | None = (0, -1)
            while after is not None:
                after = await self._db.run(database.forget_some, after, least, today - days + 1)
                await asyncio.sleep(_STEP_PAUSE if after is not None else 0)
            if await self._db.run(database.used) <= _ENOUGH * self._settings.max_size:
                break
        await self._db.run(self._model.refresh)
        _log.info("bayes.forgot", size=await self._db.run(database.used))

    async def tidy_on(self) -> None:
        """Again and again."""
        while True:
            try:
                await self.tidy()
            except api.StorageFailure as error:
                _log.warning("bayes.not_tidied", error=error.for_operator)
            await asyncio.sleep(_PAUSE)


def _owners(db: sqlite3.Connection) -> tuple[list[Owner], int]:
    return database.owners(db), database.used(db)


@asynccontextmanager
async def open_ledger(path: Path, clock: api.Clock, settings: BayesSettings) -> AsyncIterator[Ledger]:
    """Raises StorageFailure."""
    async with api.database_thread(path, database.open_database) as db:
        ledger = Ledger(db, await db.run(Model, clock, shared=settings.shared), clock, settings)
        tidying = asyncio.create_task(ledger.tidy_on(), name="bayes")
        try:
            yield ledger
        finally:
            tidying.cancel()
            with suppress(asyncio.CancelledError):
                await tidying
