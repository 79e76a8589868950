"""After a start: what is on the disk comes into memory slice by slice, while the queue is already in use."""

from __future__ import annotations

import asyncio
import errno
import functools
from collections.abc import Callable, Sequence

import structlog

from mailserver.net.workers import Workers
from mailserver.queue.mirror import Entry, Mirror
from mailserver.queue.reading import Found, SetAside, Unreadable, read_items
from mailserver.queue.spool import Spool

__all__ = ["Recovery"]

_log = structlog.get_logger()
#: Items that are read in one hop to a thread, and taken in during one turn of the loop: some milliseconds.
_SLICE = 100
#: Hops at once: the disk is busy while others are decoded, and a thread is left for mail that is being sent.
_AT_ONCE = 3
#: Seconds until what the disk refused is tried again.
_AGAIN = 60.0


class Recovery:
    """Reads items that were there when the queue was opened. `unread` are the names that it does not know yet."""

    def __init__(
        self, spool: Spool, workers: Workers, mirror: Mirror, names: Sequence[str], aside: Callable[[SetAside], None]
    ) -> None:
        self._spool = spool
        self._workers = workers
        self._mirror = mirror
        self._names = names
        self._aside = aside
        self.unread = set(names)
        #: All that can be read has been.
        self.finished = asyncio.Event()

    async def run(self) -> None:
        """Until nothing is unread."""
        await self._pass(self._names)
        # Lists and sets of a hundred thousand names are not kept.
        self._names = ()
        self.unread = set(self.unread)
        self._mirror.complete()
        self.finished.set()
        while self.unread:
            _log.error("queue.unreadable_items", count=len(self.unread), next_try_in=_AGAIN)
            await asyncio.sleep(_AGAIN)
            await self._pass(sorted(self.unread))

    async def _pass(self, names: Sequence[str]) -> None:
        slices = iter([names[start : start + _SLICE] for start in range(0, len(names), _SLICE)])

        async def work() -> None:
            for some in slices:
                for name, outcome in await self._workers.run(functools.partial(read_items, self._spool, some)):
                    self._take(name, outcome)

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))

    def _take(self, name: str, outcome: Found | SetAside | Unreadable) -> None:
        if isinstance(outcome, Unreadable):
            if outcome.error.errno == errno.ENOENT:
                self.unread.discard(name)
            else:
                # It stays where it is: perhaps it is well, and only the disk or our descriptors are not.
                _log.error("queue.unreadable", name=outcome.name, error=str(outcome.error))
            return
        self.unread.discard(name)
        if isinstance(outcome, SetAside):
            self._aside(outcome)
            return
        item = outcome.item
        if outcome.cut:
            _log.warning("queue.torn_record_cut", queue_id=item.queue_id, octets=outcome.cut)
        if doubtful := sum(state.doubtful for state in item.recipients):
            _log.warning("queue.possible_duplicate", queue_id=item.queue_id, recipients=doubtful)
        self._mirror.add(Entry(outcome.start, outcome.end, outcome.packed), item)
