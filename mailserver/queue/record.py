"""What is written about a message in the queue: values. How they look in a file is in `codec.py`.

A record names recipients by their position in NEW. Times are epoch seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailserver.model.delivery import Result
from mailserver.model.envelope import Envelope
from mailserver.model.ids import QueueId
from mailserver.ports.reports import Action

__all__ = ["Done", "Dot", "Fail", "Free", "Hold", "New", "Plan", "Record", "Told", "Try"]


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """The item as it was accepted. `arrived` is in epoch seconds, `size` in octets, `crc` the content's CRC-32."""

    queue_id: QueueId
    arrived: float
    envelope: Envelope
    size: int
    crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """An attempt ended without a final result for these recipients; the next one is due at `next_attempt`.

    `doubtful`: they may have the message all the same, after this attempt or an earlier one (RFC 1047).
    """

    at: float
    recipients: tuple[int, ...]
    next_attempt: float
    result: Result
    doubtful: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """About to send the final dot for these recipients: without a result after it, they may have the message."""

    at: float
    recipients: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The message has left our hands for these recipients: the next server, or a mailbox, has it."""

    at: float
    recipients: tuple[int, ...]
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """These recipients will not get the message."""

    at: float
    recipients: tuple[int, ...]
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """No attempt for these recipients (none named: all that wait) before `until`; None: before a FREE."""

    at: float
    recipients: tuple[int, ...] = ()
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """The end of a HOLD, or of the time that the sender asked for, for these recipients (none named: all that wait)."""

    at: float
    recipients: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The next attempt for these recipients (none named: all that wait) is due at another time."""

    at: float
    recipients: tuple[int, ...] = ()
    next_attempt: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of these recipients was reported by the message `report_id`; None: nobody is to be told."""

    at: float
    recipients: tuple[int, ...]
    action: Action
    report_id: QueueId | None = None


Record = Try | Dot | Done | Fail | Hold | Free | Plan | Told
