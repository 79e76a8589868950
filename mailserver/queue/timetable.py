"""When to try again. Times in memory are monotonic seconds; those on disk are epoch seconds.

A wait is carried over from the disk as it was meant: whatever the wall clock did since, it is never longer than the
interval that was chosen (ATTACKS G08).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from mailserver.ports.clock import Clock
from mailserver.queue.settings import QueueSettings
from mailserver.queue.state import Item, RecipientState

__all__ = ["Timetable"]


class Timetable:
    """The configured waits, each varied by a tenth so that messages of one moment do not stay together."""

    def __init__(self, settings: QueueSettings, clock: Clock, chance: random.Random) -> None:
        self._retry: Sequence[float] = settings.retry
        self._max_age = settings.max_age
        self._delay_notice = settings.delay_notice
        self._clock = clock
        self._chance = chance

    def wait_after(self, attempts: int) -> float:
        """Seconds until the next attempt when there were `attempts` of them."""
        wait = self._retry[min(max(attempts, 1), len(self._retry)) - 1]
        return wait * self._chance.uniform(0.9, 1.1)

    def due(self, state: RecipientState) -> float:
        """When a recipient is to be tried. Who perhaps has the message already waits as after a failure (RFC 1047)."""
        now, wall = self._clock.monotonic(), self._clock.time()
        wait = max(0.0, state.next_attempt - wall)
        if state.at:
            wait = min(wait, max(0.0, state.next_attempt - state.at))
        if state.doubtful:
            wait = max(wait, self.wait_after(state.attempts + 1))
        return now + wait

    def held(self, until: float) -> float:
        """When a hold until `until` (epoch seconds) is over."""
        return self._clock.monotonic() + max(0.0, until - self._clock.time())

    def expires(self, item: Item) -> float:
        """When to give up: `max_age` after it arrived or its hold ended (RFC 5321 §4.5.4.1)."""
        now = self._clock.time()
        # A message from the future came when the clock was wrong: it gets its time from now on. So is it released.
        left = min(begun(item) - now, max(0.0, hold_ends(item) - now))
        return self._clock.monotonic() + left + self._max_age

    def at_least_from(self, expires: float, begins: float) -> float:
        """When to give up on what could not be sent before `begins`: a hold is no attempt."""
        return max(expires, begins + self._max_age)

    def delay_notice(self, expires: float) -> float | None:
        """When the sender is told that it takes longer; None: never."""
        if not 0 < self._delay_notice < self._max_age:
            return None
        return expires - self._max_age + self._delay_notice

    def wall(self, monotonic: float) -> float:
        """Epoch seconds, for the disk and for people."""
        return self._clock.time() + monotonic - self._clock.monotonic()


def begun(item: Item) -> float:
    """From when on it could be sent, in epoch seconds: its arrival, or the end of its last hold."""
    return max(item.new.arrived, hold_ends(item), max((state.released for state in item.recipients), default=0.0))


def hold_ends(item: Item) -> float:
    """When its hold ends, or ended, by itself, in epoch seconds: the time that its sender asked for (RFC 4865), or an
    operator; 0: nobody did, or it was released, or is held for good."""
    return max((state.held_until for state in item.recipients if not math.isinf(state.held_until)), default=0.0)
