"""One folder in memory, as delivery needs it: where it is, the next UID, and which UIDs are visible.

UIDs are given in threads, under `lock`, after the file's fsync; everything else happens on the event loop. A UID that
was given is resolved later, as a message or as abandoned, and a message becomes visible when every lower UID is
resolved. A client that was told UIDNEXT = n has therefore seen every message below n that will ever exist.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mailserver.model.errors import LimitReached
from mailserver.model.mailbox import SpecialUse
from mailserver.model.rights import Acl
from mailserver.storage.maildir.counts import Counts
from mailserver.storage.maildir.folder_state import MAX_UID, FolderState
from mailserver.storage.maildir.keywords import Keywords

if TYPE_CHECKING:
    from mailserver.storage.maildir.mailbox import MaildirMailbox

__all__ = ["Arrival", "Folder", "Seen"]

_UID_BLOCK = 1_000
#: Raised when fewer than half of it are left; one operation uses one MODSEQ, one arrival one.
_MODSEQ_BLOCK = 1 << 20


@dataclass(slots=True)
class Arrival:
    """A message put into a folder: durable, not yet in the index. `info` as in its name, `date` is INTERNALDATE."""

    uid: int
    base: str
    in_new: bool
    info: str
    size: int
    wire: int
    date: int
    saved: int
    flags: frozenset[str]
    modseq: int = 0


@dataclass(slots=True)
class Seen:
    """What the directories were when they were last listed; `trusted` if nothing can hide behind these mtimes."""

    new_mtime: int = -1
    cur_mtime: int = -1
    trusted: bool = False
    entries: int = 0
    seconds: float = 0.0
    at: float = 0.0


class Folder:
    """Where messages are put. `on_visible` gets each arrival when it becomes visible, in the order of UIDs."""

    __slots__ = (
        "_expecting",
        "_held",
        "_resolved",
        "baseline",
        "counts",
        "cur",
        "dirname",
        "drained",
        "highest_modseq",
        "jobs",
        "keywords",
        "lock",
        "mailbox",
        "name",
        "new",
        "next_uid",
        "number",
        "on_visible",
        "path",
        "seen",
        "state",
        "synced",
        "tmp",
        "uid_field",
        "unindexed",
        "unrendered",
        "visible_next",
    )

    def __init__(self, name: str, dirname: str, path: str, state: FolderState) -> None:
        self.name = name
        self.dirname = dirname
        self.lock = threading.Lock()
        self.state = state
        self.next_uid = self.visible_next = state.uid_floor
        self.highest_modseq = state.modseq_floor - 1
        self._resolved: dict[int, Arrival | None] = {}
        self._held = False
        self._expecting: list[asyncio.Future[None]] = []
        #: Visible messages that are not in the index yet, in the order of UIDs.
        self.unindexed: list[Arrival] = []
        #: Ascending spans of UIDs, from first to last, among which there may be messages without rendered pieces.
        self.unrendered: list[tuple[int, int]] = []
        self.keywords = Keywords(path)
        #: Octets and messages by which the account's usage counts this folder until its numbers are exact; None: what
        #: the index says.
        self.baseline: tuple[int, int] | None = None
        #: Numbers for STATUS, None while unknown.
        self.counts: Counts | None = None
        self.seen = Seen()
        #: Its number in the index; 0 while unknown, or after the index was lost.
        self.number = 0
        #: The generation of the index that was brought together with the directory; -1: none yet.
        self.synced = -1
        #: The live mailbox, while someone has it open (mailbox.py).
        self.mailbox: MaildirMailbox | None = None
        #: Commits that use this folder's paths now; it is not renamed or deleted meanwhile.
        self.jobs = 0
        #: Set when `jobs` comes down to zero, for a rename or removal that waits for it.
        self.drained: Callable[[], None] | None = None
        self.on_visible: Callable[[list[Arrival]], None] = _nobody
        self.uid_field = f",V={state.uid_validity:x}"
        self.move_to(name, dirname, path)

    def move_to(self, name: str, dirname: str, path: str) -> None:
        """The folder is at another place now."""
        self.name, self.dirname, self.path = name, dirname, path
        self.tmp = f"{path}/tmp"  # noqa: S108 Maildir's
        self.new, self.cur = f"{path}/new", f"{path}/cur"
        self.keywords.move_to(path)

    def take_uids(self, count: int = 1) -> int:
        """The first of `count` new UIDs in a row. In a thread. Raises OSError, LimitReached (there are no more)."""
        with self.lock:
            first = self.next_uid
            if first + count > self.state.uid_floor or self._modseqs_left() < _MODSEQ_BLOCK // 2:
                self._raise_floors(first + count)
            self.next_uid = first + count
        return first

    def reserve_modseqs(self) -> None:
        """Make sure that the next operation's MODSEQ is below the durable floor. In a thread. Raises OSError."""
        if self._modseqs_left() < _MODSEQ_BLOCK // 2:
            with self.lock:
                self._raise_floors(self.next_uid)

    def _modseqs_left(self) -> int:
        return self.state.modseq_floor - self.highest_modseq

    def _raise_floors(self, uid_next: int) -> None:
        if uid_next > MAX_UID:
            raise LimitReached("the mailbox has given all its UIDs; move its mail to a new mailbox")
        state = self.state
        uid_floor, modseq_floor = state.uid_floor, state.modseq_floor
        state.uid_floor = max(uid_floor, min(uid_next + _UID_BLOCK, MAX_UID))
        state.modseq_floor = max(modseq_floor, self.highest_modseq + _MODSEQ_BLOCK)
        try:
            state.save(self.path)
        except BaseException:
            state.uid_floor, state.modseq_floor = uid_floor, modseq_floor
            raise

    def set_acl(self, acl: Acl) -> None:
        """Durably. In a thread. Raises OSError: then it is as it was."""
        with self.lock:
            state = replace(self.state, acl=acl)
            state.save(self.path)
            self.state = state

    def set_special_use(self, uses: frozenset[SpecialUse]) -> None:
        """Durably. In a thread. Raises OSError: then it is as it was."""
        with self.lock:
            state = replace(self.state, special_use=uses)
            state.save(self.path)
            self.state = state

    @property
    def lead(self) -> int:
        """By how much MODSEQs are ahead of UIDs. Messages that become visible never add to it. On the loop."""
        return self.highest_modseq - self.visible_next

    def settle(self, lead: int) -> None:
        """Write the exact numbers, at a clean stop or when the folder leaves memory. In a thread."""
        with self.lock:
            state = self.state
            # Messages on their way take MODSEQs when they become visible, and nobody looks at the floor then.
            modseq_floor = lead + self.next_uid + 1
            if (state.uid_floor, state.modseq_floor) != (self.next_uid, modseq_floor):
                state.uid_floor, state.modseq_floor = self.next_uid, modseq_floor
                state.save(self.path)

    def job_done(self) -> None:
        """A commit does not use the folder any more."""
        self.jobs -= 1
        if not self.jobs and self.drained is not None:
            self.drained()

    def resolve(self, uid: int, arrival: Arrival | None) -> None:
        """This UID is a message now, or (None) will never be one."""
        if uid != self.visible_next or self._held:
            self._resolved[uid] = arrival
            return
        self.visible_next = uid + 1
        self._show([] if arrival is None else [arrival])

    async def visible(self, uid: int) -> None:
        """Wait until this UID, which was given, is visible or abandoned: for the lower ones that are on their way."""
        while self.visible_next <= uid:
            self._expecting.append(asyncio.get_running_loop().create_future())
            await self._expecting[-1]

    def resolve_all(self, resolved: Mapping[int, Arrival | None]) -> None:
        """As `resolve`, for UIDs that one operation was given while it holds the folder."""
        self._resolved.update(resolved)
        if not self._held:
            self._show([])

    def hold(self) -> None:
        """Let nothing become visible: an operation in a thread has the next MODSEQ, and must be seen first."""
        self._held = True

    def release(self) -> None:
        """Show what came meanwhile."""
        self._held = False
        self._show([])

    def _show(self, shown: list[Arrival]) -> None:
        resolved, uid = self._resolved, self.visible_next
        while uid in resolved:
            following = resolved.pop(uid)
            uid += 1
            if following is not None:
                shown.append(following)
        self.visible_next = uid
        if shown:
            # Here and not with the UID: who knows a MODSEQ has seen everything below it.
            for modseq, message in enumerate(shown, self.highest_modseq + 1):
                message.modseq = modseq
            self.highest_modseq += len(shown)
            self.on_visible(shown)
        if self._expecting:
            expecting, self._expecting = self._expecting, []
            for future in expecting:
                if not future.done():
                    future.set_result(None)

    def waiting(self, uid: int) -> bool:
        """Was this UID given, and is not visible yet?"""
        return self.visible_next <= uid < self.next_uid


def _nobody(arrivals: list[Arrival]) -> None:
    """Before the account listens."""
