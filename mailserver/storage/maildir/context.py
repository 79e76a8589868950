"""What all accounts of a store share."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from mailserver.model.errors import NotFound
from mailserver.model.ids import AccountId
from mailserver.net.faults import Faults
from mailserver.net.workers import Workers
from mailserver.ports.clock import Clock
from mailserver.storage.maildir.commit import Committer
from mailserver.storage.maildir.index import IndexPool
from mailserver.storage.maildir.names import NameMaker
from mailserver.storage.maildir.rendering import Rendering
from mailserver.storage.maildir.shares import Shares
from mailserver.storage.settings import StorageSettings

__all__ = ["Context", "LimitsOf"]

if TYPE_CHECKING:
    from mailserver.storage.maildir.account import MaildirAccount
    from mailserver.storage.maildir.live_table import LiveTable
    from mailserver.storage.maildir.mailbox import MaildirMailbox

_T = TypeVar("_T")
LimitsOf = Callable[[AccountId], tuple[int, int] | None]
#: Of all idle mailboxes together, at about 40 octets each.
_IDLE_MESSAGES = 250_000
_BOX = 250
_log = structlog.get_logger()


@dataclass(slots=True)
class Context:
    """`epoch` is the number of this run of unbroken trust: it changes at every start that was not preceded by a clean
    stop, and what the index says of another epoch is compared with the directories before it is believed."""

    loop: asyncio.AbstractEventLoop
    settings: StorageSettings
    clock: Clock
    names: NameMaker
    faults: Faults
    reading: Workers
    committer: Committer
    indexes: IndexPool
    shares: Shares
    #: Octets and messages by the account's entry; None: there is none, and the account's own file counts.
    limits: LimitsOf
    epoch: int
    #: No account that was removed ever had a higher UIDVALIDITY: who gets its name begins above it.
    validity_floor: int
    #: The loaded accounts, by name.
    accounts: dict[AccountId, MaildirAccount] = field(default_factory=dict)
    #: Mailboxes whose sessions want to hear of changes by other programs.
    watched: set[LiveTable] = field(default_factory=set)
    #: Mailboxes that nobody has open, the longest unused first; kept because they may be opened again soon.
    idle_boxes: OrderedDict[MaildirMailbox, None] = field(default_factory=OrderedDict)
    #: When (loop time) anything was last delivered to any account.
    last_arrival: float = 0.0
    rendering: Rendering = field(init=False)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rendering = Rendering(self)

    def idle(self, box: MaildirMailbox) -> None:
        """Nobody has this mailbox open any more. The tables of the longest unused ones are let go, never this one."""
        self.idle_boxes[box] = None
        self.idle_boxes.move_to_end(box)
        while len(self.idle_boxes) > 1 and sum(len(idle.table) + _BOX for idle in self.idle_boxes) > _IDLE_MESSAGES:
            oldest, _ = self.idle_boxes.popitem(last=False)
            if oldest.folder.mailbox is oldest:
                oldest.folder.mailbox = None

    async def finish(self, operation: Coroutine[Any, Any, _T]) -> _T:
        """Run an operation to its end, also if the one who waits for it is cancelled."""
        return await asyncio.shield(self.start(operation))

    def start(self, operation: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """An operation of the store's own, which `drain` waits for."""
        task = self.loop.create_task(operation)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def background(self, operation: Callable[[], Awaitable[None]], what: str) -> None:
        """Start something that nobody waits for; what goes wrong is logged, but for that its mailbox is gone."""

        async def guarded() -> None:
            try:
                await operation()
            except NotFound:
                # Removed meanwhile, and with it what there was to do.
                pass
            except Exception:
                _log.exception("storage.background_failed", what=what)

        self.start(guarded())

    async def drain(self) -> None:
        """Wait until nothing runs any more."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whoever waits sees it too; this keeps asyncio from reporting it when nobody waits any more.
            task.exception()
