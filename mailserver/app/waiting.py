"""One waiting message for people and programs: what happened to each recipient, and when it goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from mailserver.model.delivery import Outcome, Result
from mailserver.model.envelope import Recipient
from mailserver.queue.control import Status
from mailserver.queue.state import Item, RecipientState
from mailserver.queue.timetable import begun
from mailserver.queue.unit import Stage, Unit

__all__ = ["describe_item"]

_UNDER_WAY = (Stage.READY, Stage.ROUTING, Stage.RUNNING, Stage.GONE)


def describe_item(
    item: Item, status: Status, units: Iterable[Unit], max_age: float, wall: Callable[[float], float]
) -> dict[str, Any]:
    """JSON values. `wall` makes monotonic seconds into epoch seconds."""
    by_position = {position: unit for unit in units for position in unit.positions}
    envelope = item.envelope
    held = max((item.recipients[position].held_until for position in item.waiting), default=0.0)
    for_good = status is Status.HELD and math.isinf(held)
    return {
        "queue_id": item.queue_id,
        "sender": str(envelope.sender or ""),
        "account": envelope.account or "",
        "own": envelope.own,
        "size": item.new.size,
        "arrived": item.new.arrived,
        # The time for which it is tried begins when somebody releases it.
        "expires": None if for_good else begun(item) + max_age,
        "status": status.value,
        "held_until": None if for_good else held if status is Status.HELD else 0.0,
        "held_by_sender": envelope.hold_until,
        "recipients": [
            _recipient(recipient, state, by_position.get(position), status, wall)
            for position, (recipient, state) in enumerate(zip(envelope.recipients, item.recipients, strict=True))
        ],
    }


def _recipient(
    recipient: Recipient, state: RecipientState, unit: Unit | None, status: Status, wall: Callable[[float], float]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "address": str(recipient.address),
        "state": _state(state, unit, status),
        "attempts": state.attempts,
        "next_attempt": None,
        "possible_duplicate": state.doubtful and state.waiting and (unit is None or unit.stage not in _UNDER_WAY),
        "last": _last(state.at, state.result),
        "reports": [{"action": action.value, "report": report} for action, report in state.told],
        "destination": "",
        "paused_until": None,
        "paused_because": "",
    }
    if state.waiting and status is Status.WAITING:
        row["next_attempt"] = state.due or None
    lane = unit.lane if unit is not None else None
    if lane is not None:
        row["destination"] = lane.destination.name
        if lane.paused_until is not None:
            until = wall(lane.paused_until)
            row |= {"paused_until": until, "paused_because": lane.reason}
            if row["next_attempt"] is not None:
                row["next_attempt"] = until
    return row


def _state(state: RecipientState, unit: Unit | None, status: Status) -> str:
    if not state.waiting:
        return "delivered" if state.result is not None and state.result.outcome is Outcome.DELIVERED else "failed"
    if unit is not None and unit.stage in _UNDER_WAY:
        return "active"
    return Status.HELD.value if status is Status.HELD else Status.WAITING.value


def _last(at: float, result: Result | None) -> dict[str, Any] | None:
    if result is None:
        return None
    return {"at": at, **asdict(result), "outcome": result.outcome.value, "success": result.success.value}
