"""What is in the queue, in memory: everything that is durable, nothing that is not. Only touched on the event loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import structlog

from mailserver.model.errors import NotFound
from mailserver.model.ids import AccountId, QueueId
from mailserver.ports.queue import QueuedMessage
from mailserver.queue.codec import FRAME_SIZE, decode_new
from mailserver.queue.record import Record
from mailserver.queue.state import Item, apply, pack, unpack

__all__ = ["Entry", "Mirror", "listed"]

_log = structlog.get_logger()
#: What a listing shows of the last reply.
_ERROR_SHOWN = 200
#: Items that a new watcher is told of in one turn of the loop.
_SLICE = 200
#: Only a NEW that has these octets can be one of a message for a later time.
_HELD = b'"hold_until"'


class Entry:
    """One item as it is kept: `new` is the payload of NEW, `states` as `state.pack` gives them, `end` the file's."""

    __slots__ = ("end", "new", "states")

    def __init__(self, new: bytes, states: bytes | None, end: int) -> None:
        self.new = new
        self.states = states
        self.end = end

    @property
    def start(self) -> int:
        """Where the content begins in the file."""
        return FRAME_SIZE + len(self.new)

    def item(self) -> Item:
        """As others see it."""
        new = decode_new(self.new)
        return Item(new=new, recipients=unpack(self.states, new))


class Mirror:
    """Items by their id, and those who watch them come."""

    def __init__(self) -> None:
        self._entries: dict[QueueId, Entry] = {}
        self._watchers: dict[object, Callable[[Item], None]] = {}
        #: Of messages that were submitted for a later time, who did; and how many of each.
        self._later: dict[QueueId, AccountId] = {}
        self._held: Counter[AccountId] = Counter()

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

    def add(self, queue_id: QueueId, entry: Entry, item: Item | None = None) -> None:
        """It is durable; whoever watches is told. `item` is the same as an Item, if the caller has one."""
        self._entries[queue_id] = entry
        if _HELD in entry.new:
            item = item or entry.item()
            self._count_held(item)
        if self._watchers:
            self._tell(self._watchers.values(), item or entry.item())

    def apply(self, queue_id: QueueId, records: Iterable[Record]) -> None:
        """These things happened to it. Raises NotFound, Damaged (a recipient that is not there)."""
        entry = self[queue_id]
        item = entry.item()
        entry.states = pack(apply(item.recipients, records), item.new)

    def remove(self, queue_id: QueueId) -> None:
        """It is gone."""
        self._entries.pop(queue_id, None)
        account = self._later.pop(queue_id, None)
        if account is not None:
            self._held[account] -= 1
            if not self._held[account]:
                del self._held[account]

    def clear(self) -> None:
        """Forget everything but those who watch."""
        self._entries.clear()
        self._later.clear()
        self._held.clear()

    def held_for(self, account: AccountId) -> int:
        """See `DiskQueue.held_for`."""
        return self._held[account]

    def _count_held(self, item: Item) -> None:
        account = item.envelope.account
        if account is not None and item.envelope.hold_until is not None and item.queue_id not in self._later:
            self._later[item.queue_id] = account
            self._held[account] += 1

    def watch(self, on_item: Callable[[Item], None], then: Callable[[], None] | None = None) -> Callable[[], None]:
        """See `DiskQueue.watch`."""
        key = object()
        self._watchers[key] = on_item
        here = iter(list(self._entries))
        loop = asyncio.get_running_loop()

        def tell_some() -> None:
            for _ in range(_SLICE):
                queue_id = next(here, None)
                if key not in self._watchers:
                    return
                if queue_id is None:
                    if then is not None:
                        then()
                    return
                if queue_id in self._entries:
                    self._tell([on_item], self._entries[queue_id].item())
            loop.call_soon(tell_some)

        loop.call_soon(tell_some)

        def undo() -> None:
            self._watchers.pop(key, None)

        return undo

    def _tell(self, watchers: Iterable[Callable[[Item], None]], item: Item) -> None:
        for watcher in list(watchers):
            try:
                watcher(item)
            except Exception:
                # The item is durable whatever a watcher makes of it; the next start tells it again.
                _log.exception("queue.watcher_failed", queue_id=item.queue_id)


def listed(item: Item) -> QueuedMessage:
    """As `queue list` shows it."""
    states = [item.recipients[position] for position in item.waiting]
    last = max((state for state in item.recipients if state.result), key=lambda state: state.at, default=None)
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
