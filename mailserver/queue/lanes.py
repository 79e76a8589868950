"""One lane per destination: how much waits for it, how many attempts it takes at once, and when to leave it alone.

    state     means                                        leaves it
    open      up to `limit` attempts at once               push-back at limit 1, UNREACHABLE, BLOCKED → paused
    paused    no attempt until a time                      the time comes → probing
    probing   one attempt at once                          anything but a failure → open; else paused, for longer

The limit begins at 5 and grows: by one with each good attempt until the destination pushed back for the first time,
then by one with each full round; BUSY halves it. What an attempt says counts only if it began after the last change for
the worse: twenty connections that break together are one event. So a destination that is dead costs one attempt per
pause, however much waits for it.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import TYPE_CHECKING

from mailserver.model.delivery import Destination, Feedback
from mailserver.queue.unit import Unit

if TYPE_CHECKING:
    from mailserver.queue.turns import Line, Sender

__all__ = ["FIRST_LIMIT", "LONGEST_PAUSE", "SHORTEST_PAUSE", "Lane"]

FIRST_LIMIT = 5
#: Seconds; each pause is twice as long as the one before.
SHORTEST_PAUSE, LONGEST_PAUSE = 60.0, 1800.0


class Lane:
    """The lane of one destination. Times are monotonic seconds."""

    __slots__ = (
        "_epoch", "_in_hand", "_limit", "_most", "_pause", "_pushed_back", "destination", "failures", "lines", "parked",
        "paused_until", "reason", "waiting",
    )  # fmt: skip

    def __init__(self, destination: Destination, most: int, pause: float = SHORTEST_PAUSE) -> None:
        """`most` attempts at once; `pause` is the first one's length."""
        self.destination = destination
        #: Units that wait, and the lines of `turns.py` that they stand in; of those the ones that stand here, others'
        #: and ours.
        self.waiting = 0
        self.lines: dict[Sender, Line] = {}
        self.parked: tuple[OrderedDict[Line, None], OrderedDict[Line, None]] = (OrderedDict(), OrderedDict())
        #: Attempts in hand, and the epoch in which each began.
        self._in_hand: dict[Unit, int] = {}
        #: None while it is open or probing.
        self.paused_until: float | None = None
        #: Changes for the worse in a row.
        self.failures = 0
        #: What the last failed attempt said.
        self.reason = ""
        self._most = most
        self._pause = pause
        # Our own disk needs no careful beginning.
        self._limit = float(most if destination.local else min(FIRST_LIMIT, most))
        self._pushed_back = False
        self._epoch = 0

    @property
    def running(self) -> int:
        """Attempts in hand."""
        return len(self._in_hand)

    @property
    def limit(self) -> int:
        """How many attempts may run at once."""
        return 1 if self.failures and not self.destination.local else int(self._limit)

    @property
    def room(self) -> int:
        """How many more attempts could begin; none if not above zero."""
        return self.limit - self.running if self.paused_until is None else 0

    @property
    def blocked(self) -> bool:
        """Does everything here wait for the end of a pause, or for a probe?"""
        return self.paused_until is not None or self.failures > 0

    @property
    def idle(self) -> bool:
        """Nothing here is worth remembering."""
        return not self.running and not self.waiting and self.paused_until is None

    def begin(self, unit: Unit) -> None:
        """Its attempt begins now."""
        self._in_hand[unit] = self._epoch

    def end(self, unit: Unit, feedback: Feedback, now: float, chance: random.Random) -> None:
        """An attempt has ended."""
        if self._in_hand.pop(unit) != self._epoch or self.destination.local:
            return
        if feedback is Feedback.FINE:
            self.failures = 0
            self._limit = min(self._most, self._limit + (1 / self._limit if self._pushed_back else 1))
            return
        self._epoch += 1
        if feedback is Feedback.BUSY and self.limit > 1:
            self._pushed_back = True
            self._limit = max(1.0, self._limit / 2)
            return
        self.failures += 1
        self._limit = 1.0
        self._pushed_back = False
        pause = min(LONGEST_PAUSE, self._pause * 2 ** min(self.failures - 1, 16)) * chance.uniform(0.9, 1.1)
        self.paused_until = now + pause
