"""Delivery status notifications (RFC 3461 to 3464): the queue knows when one is due, `outbound/dsn/` how it reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mailserver.model.delivery import Result
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.ids import QueueId

__all__ = ["Action", "Report", "ReportRequest", "ReportWriter", "ReportedRecipient"]


class Action(Enum):
    """Action of RFC 3464 §2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRecipient:
    """One recipient, and what is to be told: the last attempt's result and time; for a delay, how long we go on."""

    recipient: Recipient
    action: Action
    result: Result
    at: float
    will_retry_until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """`head` is the beginning of the original message (64 KiB of it at most), `size` its whole length in octets.

    `at` becomes the report's Date, so that a report that is written again after a crash is the same to the octet.
    """

    report_id: QueueId
    queue_id: QueueId
    arrived: float
    at: float
    envelope: Envelope
    head: bytes
    size: int
    recipients: tuple[ReportedRecipient, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A message to put into the queue under the request's `report_id`."""

    envelope: Envelope
    content: bytes


class ReportWriter(Protocol):
    """Pure: equal requests give equal reports."""

    def write(self, request: ReportRequest) -> Report | None:
        """None when nobody is to be told: the null sender, NOTIFY=NEVER, or nothing that was asked for."""
        ...
