"""What the records of a message add up to: its `Item`. No I/O. How it is kept in memory is in `packing.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mailserver.model.delivery import Outcome, Result
from mailserver.model.envelope import Envelope
from mailserver.model.ids import QueueId
from mailserver.ports.reports import Action
from mailserver.queue.codec import Damaged
from mailserver.queue.record import Done, Dot, Fail, Free, Hold, New, Plan, Record, Told, Try

__all__ = ["Item", "RecipientState", "apply", "beginning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientState:
    """One recipient. Times are epoch seconds.

    `result` is the last attempt's, `at` its time. `held_until` is infinite for a hold for good, 0 without one;
    `released` is when somebody ended the last one.
    `doubtful`: a DOT without a result, so the message may have arrived (RFC 1047); while a message is being sent, that
    is the ordinary state. `told`: what was reported, and by which message (None: nobody was to be told).
    """

    attempts: int = 0
    next_attempt: float = 0.0
    held_until: float = 0.0
    released: float = 0.0
    doubtful: bool = False
    at: float = 0.0
    result: Result | None = None
    told: tuple[tuple[Action, QueueId | None], ...] = ()

    @property
    def waiting(self) -> bool:
        """Has this recipient no final result yet?"""
        return self.result is None or self.result.outcome is Outcome.DEFERRED

    @property
    def due(self) -> float:
        """When the next attempt may be made."""
        return max(self.next_attempt, self.held_until)

    def was_told(self, action: Action) -> bool:
        """Was this reported?"""
        return any(told is action for told, _ in self.told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One message of the queue: NEW, and a state for each recipient of the envelope, in order."""

    new: New
    recipients: tuple[RecipientState, ...]

    @property
    def queue_id(self) -> QueueId:
        """The message's name everywhere."""
        return self.new.queue_id

    @property
    def envelope(self) -> Envelope:
        """As it was accepted: all recipients, also those that have their result."""
        return self.new.envelope

    @property
    def waiting(self) -> tuple[int, ...]:
        """Positions of the recipients without a final result."""
        return tuple(position for position, state in enumerate(self.recipients) if state.waiting)


_UNTOUCHED = RecipientState()


def beginning(new: New) -> tuple[RecipientState, ...]:
    """Nothing was tried yet."""
    held_until = new.envelope.hold_until
    state = RecipientState(held_until=held_until) if held_until else _UNTOUCHED
    return (state,) * len(new.envelope.recipients)


def apply(states: Sequence[RecipientState], records: Iterable[Record]) -> tuple[RecipientState, ...]:
    """The states after these records, in their order. Raises Damaged: a record names a recipient that is not there."""
    after = list(states)
    for record in records:
        change = _CHANGES[type(record)]
        everyone = isinstance(record, Hold | Free | Plan) and not record.recipients
        positions = [i for i, state in enumerate(after) if state.waiting] if everyone else record.recipients
        for position in positions:
            if not 0 <= position < len(after):
                raise Damaged("a record names a recipient that is not there")
            after[position] = change(after[position], record)
    return tuple(after)


def _attempted(state: RecipientState, record: Any) -> RecipientState:
    trying = isinstance(record, Try)
    return replace(
        state, attempts=state.attempts + 1, doubtful=trying and record.doubtful, at=record.at, result=record.result,
        next_attempt=record.next_attempt if trying else state.next_attempt,
    )  # fmt: skip


def _about_to_end(state: RecipientState, record: Any) -> RecipientState:
    return replace(state, doubtful=True)


def _held(state: RecipientState, record: Any) -> RecipientState:
    return replace(state, held_until=math.inf if record.until is None else record.until)


def _freed(state: RecipientState, record: Any) -> RecipientState:
    return replace(state, held_until=0.0, released=record.at)


def _planned(state: RecipientState, record: Any) -> RecipientState:
    return replace(state, next_attempt=record.next_attempt)


def _told(state: RecipientState, record: Any) -> RecipientState:
    return replace(state, told=(*state.told, (record.action, record.report_id)))


_CHANGES: dict[type[Record], Callable[[RecipientState, Any], RecipientState]] = {
    Try: _attempted, Done: _attempted, Fail: _attempted, Dot: _about_to_end, Hold: _held, Free: _freed,
    Plan: _planned, Told: _told,
}  # fmt: skip
