"""How often one signature came (ATTACKS L08).

Who gets one message signed by a good domain can send it to everybody: the signature stays good, and it does not name
the recipients of the envelope. So good signatures are counted, by the recipients for whom they were accepted and by
the time since the first. Counts are kept in memory and on disk; what was counted is on disk some seconds later, and
when the disk refuses, counting goes on from memory.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from mailserver import api
from mailserver.plugins.dkim_verify import database
from mailserver.plugins.dkim_verify.database import MOST_KEPT, Seen
from mailserver.plugins.dkim_verify.settings import DkimVerifySettings

__all__ = ["Replays", "open_replays"]

_log = structlog.get_logger()
_DAY = 86_400.0
#: Seconds between a count and its row.
_PAUSE = 5.0
#: Messages that were examined, and not accepted yet.
_MOST_PENDING = 1_000
_POINTS = 1.5
_ADVICE = "Do not take it for a message to you unless you know why it came: the signature only proves who wrote it."


class Replays:
    """Good signatures by a short hash of theirs: when they came first, and for how many recipients."""

    def __init__(
        self, db: api.DatabaseThread, seen: dict[bytes, Seen], clock: api.Clock, settings: DkimVerifySettings
    ) -> None:
        self._db = db
        self._seen: OrderedDict[bytes, Seen] = OrderedDict(seen)
        self._clock = clock
        self._settings = settings
        self._pending: OrderedDict[api.QueueId, tuple[bytes, ...]] = OrderedDict()
        self._changed: set[bytes] = set()
        self._batches = api.Batches(self._write, lambda: bool(self._changed), pause=_PAUSE, name="signatures")

    def reasons(self, queue_id: api.QueueId, signatures: Sequence[bytes], recipients: int) -> tuple[api.Reason, ...]:
        """What the counts say of a message with these good signatures; it is counted once it is accepted."""
        keys = tuple(hashlib.blake2b(octets, digest_size=16).digest() for octets in signatures)
        self._pending[queue_id] = keys
        if len(self._pending) > _MOST_PENDING:
            self._pending.popitem(last=False)
        known = [seen for key in keys if (seen := self._seen.get(key)) is not None]
        most = recipients + max((seen.recipients for seen in known), default=0)
        oldest = max((self._clock.time() - seen.first for seen in known), default=0.0)
        if most > self._settings.replay_recipients:
            text = f"The very same signed message was sent to {most} recipients here"
        elif oldest > self._settings.replay_after:
            text = f"The very same signed message came here for the first time {int(oldest / _DAY)} days ago"
        else:
            return ()
        return (api.Reason("dkim_verify", _POINTS, text, _ADVICE),)

    def accepted(self, event: api.Accepted) -> None:
        """The observer."""
        now = self._clock.time()
        for key in self._pending.pop(event.queue_id, ()):
            seen = self._seen.get(key, Seen(now, 0, now))
            self._seen[key] = Seen(seen.first, seen.recipients + len(event.recipients), now)
            self._seen.move_to_end(key)
            self._changed.add(key)
        while len(self._seen) > MOST_KEPT:
            self._changed.discard(self._seen.popitem(last=False)[0])
        if self._changed:
            self._batches.soon()

    async def flush(self) -> None:
        """Everything is written, or given up."""
        await self._batches.flush()

    async def _write(self) -> None:
        rows = {key: self._seen[key] for key in self._changed}
        self._changed.clear()
        try:
            await self._db.run(database.write, rows, self._clock.time())
        except api.StorageFailure as error:
            _log.warning("signatures.db cannot be written; a restart forgets some counts", error=error.detail)


@asynccontextmanager
async def open_replays(path: Path, clock: api.Clock, settings: DkimVerifySettings) -> AsyncIterator[Replays]:
    """Raises StorageFailure."""
    async with api.database_thread(path, database.open_signatures) as db:
        replays = Replays(db, await db.run(database.read, clock.time()), clock, settings)
        try:
            yield replays
        finally:
            await replays.flush()
