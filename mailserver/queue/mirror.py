"""What is in the queue, in memory: everything that is durable, nothing that is not. Only touched on the event loop.

An item takes some 300 octets here while it waits (`packing.py`); the few that something happens to are kept as the
values that they are, so that a message which is sent at once is never packed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import structlog

from mailserver.model.errors import NotFound
from mailserver.model.ids import AccountId, QueueId
from mailserver.ports.queue import QueuedMessage
from mailserver.queue.packing import pack, unpack
from mailserver.queue.record import Record
from mailserver.queue.state import Item, apply

__all__ = ["Entry", "Mirror", "decoded", "listed"]

_log = structlog.get_logger()
#: What a listing shows of the last reply.
_ERROR_SHOWN = 200
#: Items that a new watcher is told of in one turn of the loop.
_SLICE = 200
#: Items that are kept decoded.
_MAX_LIVE = 512


class Entry:
    """One item as it is kept: where its content begins in the file, where the file ends, and the item, packed; None
    while it is kept as it is."""

    __slots__ = ("end", "packed", "start")

    def __init__(self, start: int, end: int, packed: bytes | None) -> None:
        self.start = start
        self.end = end
        self.packed = packed


def decoded(kept: Item | tuple[QueueId, bytes]) -> Item:
    """The item, from what `Mirror.snapshot` has of it."""
    return kept if isinstance(kept, Item) else unpack(*kept)


class _Watcher:
    """Who wants to know of items, and `then` that all which were on the disk have been told."""

    def __init__(self, on_item: Callable[[Item], None], then: Callable[[], None]) -> None:
        self.on_item = on_item
        self.then = then
        self.caught_up = False


class Mirror:
    """Items by their id, and those who watch them come."""

    def __init__(self) -> None:
        self._entries: dict[QueueId, Entry] = {}
        self._live: dict[QueueId, Item] = {}
        self._watchers: dict[_Watcher, None] = {}
        self._complete = False
        #: Of messages that were submitted for a later time, who did; and how many of each.
        self._later: dict[QueueId, AccountId] = {}
        self._held: Counter[AccountId] = Counter()
        #: What was unpacked last: who does something to a message looks at it several times.
        self._last: tuple[bytes, Item] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, queue_id: QueueId) -> bool:
        return queue_id in self._entries

    def __iter__(self) -> Iterator[QueueId]:
        return iter(self._entries)

    def __getitem__(self, queue_id: QueueId) -> Entry:
        """Raises NotFound."""
        try:
            return self._entries[queue_id]
        except KeyError:
            raise NotFound(f"no message {queue_id} waits in the queue") from None

    def item(self, queue_id: QueueId) -> Item:
        """As it is now. Raises NotFound."""
        packed = self[queue_id].packed
        if packed is None:
            return self._live[queue_id]
        if self._last is None or self._last[0] is not packed:
            self._last = packed, unpack(queue_id, packed)
        return self._last[1]

    def snapshot(self) -> list[Item | tuple[QueueId, bytes]]:
        """All items as they are now, for `decoded` in another thread."""
        return [
            self._live[queue_id] if entry.packed is None else (queue_id, entry.packed)
            for queue_id, entry in self._entries.items()
        ]

    def add(self, entry: Entry, item: Item) -> None:
        """It is durable; whoever watches is told. An entry that is not packed: something will happen to it soon."""
        self._entries[item.queue_id] = entry
        self._count_held(item)
        if entry.packed is None:
            self._keep(item)
        self._tell(self._watchers, item)

    def apply(self, queue_id: QueueId, records: Iterable[Record]) -> None:
        """These things happened to it. Raises NotFound, Damaged (a recipient that is not there)."""
        item = self.item(queue_id)
        self._keep(Item(new=item.new, recipients=apply(item.recipients, records)))

    def remove(self, queue_id: QueueId) -> None:
        """It is gone."""
        self._entries.pop(queue_id, None)
        self._live.pop(queue_id, None)
        account = self._later.pop(queue_id, None)
        if account is not None:
            self._held[account] -= 1
            if not self._held[account]:
                del self._held[account]

    def clear(self) -> None:
        """Forget everything but those who watch."""
        self._entries.clear()
        self._live.clear()
        self._later.clear()
        self._held.clear()
        self._last = None
        self._complete = False

    def held_for(self, account: AccountId) -> int:
        """See `DiskQueue.held_for`."""
        return self._held[account]

    def complete(self) -> None:
        """All that was on the disk has been added."""
        self._complete = True
        for watcher in list(self._watchers):
            if watcher.caught_up:
                watcher.then()

    def watch(self, on_item: Callable[[Item], None], then: Callable[[], None]) -> Callable[[], None]:
        """See `DiskQueue.watch`."""
        watcher = _Watcher(on_item, then)
        self._watchers[watcher] = None
        here = iter(list(self._entries))
        loop = asyncio.get_running_loop()

        def tell_some() -> None:
            for _ in range(_SLICE):
                queue_id = next(here, None)
                if watcher not in self._watchers:
                    return
                if queue_id is None:
                    watcher.caught_up = True
                    if self._complete:
                        then()
                    return
                if queue_id in self._entries:
                    self._tell([watcher], self.item(queue_id))
            loop.call_soon(tell_some)

        def undo() -> None:
            self._watchers.pop(watcher, None)

        loop.call_soon(tell_some)
        return undo

    def _count_held(self, item: Item) -> None:
        account = item.envelope.account
        if account is not None and item.envelope.hold_until is not None and item.queue_id not in self._later:
            self._later[item.queue_id] = account
            self._held[account] += 1

    def _keep(self, item: Item) -> None:
        live = self._live
        live.pop(item.queue_id, None)
        live[item.queue_id] = item
        self._entries[item.queue_id].packed = None
        if len(live) > _MAX_LIVE:
            oldest = live.pop(next(iter(live)))
            self._entries[oldest.queue_id].packed = pack(oldest)

    def _tell(self, watchers: Iterable[_Watcher], item: Item) -> None:
        for watcher in list(watchers):
            try:
                watcher.on_item(item)
            except Exception:
                # The item is durable whatever a watcher makes of it; the next start tells it again.
                _log.exception("queue.watcher_failed", queue_id=item.queue_id)


def listed(item: Item) -> QueuedMessage:
    """As `queue list` shows it."""
    states = [item.recipients[position] for position in item.waiting]
    last = max((state for state in states if state.result), key=lambda state: state.at, default=None)
    return QueuedMessage(
        queue_id=item.queue_id,
        sender=str(item.envelope.sender or ""),
        recipients=tuple(str(item.envelope.recipients[position].address) for position in item.waiting),
        size=item.new.size,
        arrived=item.new.arrived,
        next_attempt=max(item.new.arrived, min((state.next_attempt for state in states), default=0.0)),
        held_until=min((state.held_until for state in states), default=0.0),
        attempts=max((state.attempts for state in states), default=0),
        last_error=last.result.reply[:_ERROR_SHOWN] if last is not None and last.result is not None else "",
    )
