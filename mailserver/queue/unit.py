"""What the schedule moves: recipients of one message that go the same way at the same time."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from mailserver.model.ids import QueueId

if TYPE_CHECKING:
    from mailserver.queue.lanes import Lane

__all__ = ["UNDER_WAY", "Stage", "Unit"]


class Stage(Enum):
    """Where a unit is.

    WAITING for its time; HELD until a time or for good; READY to be given a destination; ROUTING, being given one; in a
    LANE; RUNNING, an attempt; GONE: whoever still refers to it leaves it alone.
    """

    WAITING = auto()
    HELD = auto()
    READY = auto()
    ROUTING = auto()
    LANE = auto()
    RUNNING = auto()
    GONE = auto()


#: In the hands of somebody who says what comes next: `routed`, `ended`, and after it `wait` or `take_away`.
UNDER_WAY = (Stage.ROUTING, Stage.RUNNING, Stage.GONE)


class Unit:
    """`positions` are those of the recipients in the envelope; `attempts` is how many were made for them; `expires`
    (monotonic seconds) when to give up. `sender` is whose turns it uses; `ours`: that is an account, not a stranger."""

    __slots__ = ("attempts", "due", "expires", "lane", "ours", "positions", "queue_id", "sender", "stage")

    def __init__(
        self, queue_id: QueueId, positions: tuple[int, ...], sender: str, attempts: int, expires: float, *, ours: bool
    ) -> None:
        self.queue_id = queue_id
        self.positions = positions
        self.sender = sender
        self.ours = ours
        self.attempts = attempts
        self.expires = expires
        self.stage = Stage.GONE
        self.lane: Lane | None = None
        #: Its time, while it waits for one: of several entries in the heap the one with this is the right one.
        self.due: float | None = None

    def __lt__(self, other: Unit) -> bool:
        """Of two that are due at one time, the message that came first."""
        return self.queue_id < other.queue_id
