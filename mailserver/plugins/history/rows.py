"""Events as rows of the history. No I/O.

A message has one row, and one event for each thing that happened to one of its recipients. Events of one message may
come in any order: each brings what it knows of the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from mailserver import api

__all__ = ["EVENTS", "KNOWN", "EventRow", "JudgedRow", "MessageRow", "Rows", "rows_of"]


@dataclass(slots=True, kw_only=True)
class MessageRow:
    """What is known of a message; "" and 0 are not known. `origin`: the message that it was made from."""

    queue_id: str
    at: float
    service: str = ""
    peer: str = ""
    account: str = ""
    sender: str | None = None
    message_id: str = ""
    size: int = 0
    recipients: int = 0
    origin: str = ""
    held_until: float = 0.0


@dataclass(slots=True, kw_only=True)
class EventRow:
    """One recipient, one event.

    `status` is one of EVENTS. `report` is the message that reports, for bounced who said so, for what was done by hand
    who did it. `next_attempt` is also until when it is held. `doubtful` is 1 where there may be two copies.
    """

    queue_id: str
    at: float
    status: str
    recipient: str
    destination: str = ""
    attempt: int = 0
    code: int = 0
    enhanced: str = ""
    reply: str = ""
    remote: str = ""
    address: str = ""
    tls: str = ""
    policy: str = ""
    success: str = ""
    next_attempt: float | None = None
    report: str = ""
    doubtful: int = 0


@dataclass(slots=True, kw_only=True)
class JudgedRow:
    """What was found about a message for one recipient, as `api.Judged` says; `reasons` and `results` are JSON."""

    queue_id: str
    at: float
    account: str
    recipient: str
    author: str
    mailbox: str
    refused: bool
    reply: str
    reason: str
    score: float
    reasons: str
    results: str


@dataclass(slots=True)
class Rows:
    """What some events come down to; `messages` by their ids."""

    messages: dict[str, MessageRow] = field(default_factory=dict)
    events: list[EventRow] = field(default_factory=list)
    judged: list[JudgedRow] = field(default_factory=list)

    def add(self, row: MessageRow) -> None:
        """What is known of a message, beside what is known already: the first time counts, else what is there."""
        known = self.messages.setdefault(row.queue_id, row)
        if known is row:
            return
        known.at = min(known.at, row.at)
        known.service = known.service or row.service
        known.peer = known.peer or row.peer
        known.account = known.account or row.account
        known.sender = row.sender if known.sender is None else known.sender
        known.message_id = known.message_id or row.message_id
        known.size = max(known.size, row.size)
        known.recipients = max(known.recipients, row.recipients)
        known.origin = known.origin or row.origin
        known.held_until = max(known.held_until, row.held_until)


#: Words of `EventRow.status`, for those who search.
EVENTS = (
    "accepted", "queued", "delivered", "deferred", "failed", "reported", "bounced", "dropped", "held", "released",
    "retried", "rescheduled", "refused",
)  # fmt: skip
#: Where in a session a sender is known, and a message is not there yet.
_BEFORE = ("mail", "rcpt")
_HOUR = 3600
_LOCAL = "local"
#: Of one message and account: reasons, results, properties of a result, characters of each text.
_MOST_FINDINGS, _MOST_PROPERTIES, _LONGEST = 50, 10, 500


def rows_of(at: float, event: api.Event, rows: Rows) -> None:
    """Add what an event of this time (epoch seconds) says."""
    _MAKERS[type(event)](at, event, rows)


def _accepted(at: float, event: api.Accepted, rows: Rows) -> None:
    rows.add(
        MessageRow(
            queue_id=event.queue_id, at=at, service=event.service, peer=event.peer, account=event.account,
            sender=event.sender, message_id=event.message_id, size=event.size, recipients=len(event.recipients),
        )
    )  # fmt: skip
    rows.events += _each(event.recipients, at, event.queue_id, "accepted")


def _queued(at: float, event: api.Queued, rows: Rows) -> None:
    derived = event.origin is not None and event.origin != event.queue_id
    rows.add(
        MessageRow(
            queue_id=event.queue_id, at=at, account=event.account, sender=event.sender, size=event.size,
            recipients=len(event.recipients) if derived else 0, origin=event.origin or "" if derived else "",
            held_until=event.held_until,
        )
    )  # fmt: skip
    if derived:
        rows.events += _each(event.recipients, at, event.queue_id, "queued")


def _delivered(at: float, event: api.Delivered, rows: Rows) -> None:
    rows.add(MessageRow(queue_id=event.queue_id, at=at, size=event.size))
    rows.events.append(
        EventRow(
            queue_id=event.queue_id, at=at, status="delivered", recipient=event.account, destination=_LOCAL,
            reply=event.mailbox,
        )
    )  # fmt: skip


def _judged(at: float, event: api.Judged, rows: Rows) -> None:
    rows.add(
        MessageRow(
            queue_id=event.queue_id, at=at, peer=event.peer, sender=event.sender, message_id=event.message_id,
        )
    )  # fmt: skip
    reasons = [
        {"check": one.check, "points": one.points, "text": _text(one.text), "advice": _text(one.advice)}
        for one in event.findings.reasons[:_MOST_FINDINGS]
    ]
    results = [
        {
            "method": one.method, "result": one.result, "reason": _text(one.reason),
            "properties": {name: _text(value) for name, value in one.properties[:_MOST_PROPERTIES]},
        }
        for one in event.findings.results[:_MOST_FINDINGS]
    ]  # fmt: skip
    rows.judged.append(
        JudgedRow(
            queue_id=event.queue_id, at=at, account=event.account, recipient=event.recipient, author=event.author,
            mailbox=event.mailbox, refused=event.refused, reply=_text(event.reply), reason=_text(event.reason),
            score=event.findings.score, reasons=orjson.dumps(reasons).decode(), results=orjson.dumps(results).decode(),
        )
    )  # fmt: skip


def _text(text: str) -> str:
    """Words that may have come from a message, where anything can stand: as UTF-8 can write them, and not too many."""
    return text[:_LONGEST].encode(errors="replace").decode()


def _attempted(at: float, event: api.Attempted, rows: Rows) -> None:
    result = event.result
    rows.add(
        MessageRow(
            queue_id=event.queue_id, at=event.arrived, account=event.account, sender=event.sender, size=event.size
        )
    )
    if result.outcome is api.Outcome.DELIVERED and result.success is api.Success.DELIVERED:
        # What went into a mailbox of ours was told with the name of the mailbox.
        return
    rows.events.append(
        EventRow(
            queue_id=event.queue_id, at=event.at, status=result.outcome.value, recipient=event.recipient,
            destination=event.destination, attempt=event.attempt, code=result.code, enhanced=result.status,
            reply=result.reply, remote=result.remote, address=result.address, tls=result.tls, policy=result.policy,
            success=result.success.value if result.outcome is api.Outcome.DELIVERED else "",
            next_attempt=event.next_attempt, doubtful=int(event.doubtful),
        )
    )  # fmt: skip


def _reported(at: float, event: api.Reported, rows: Rows) -> None:
    rows.add(MessageRow(queue_id=event.queue_id, at=at))
    rows.add(
        MessageRow(
            queue_id=event.report_id, at=at, service="report", sender="", recipients=1, origin=event.queue_id
        )
    )
    for recipient in event.recipients:
        rows.events.append(
            EventRow(
                queue_id=event.queue_id, at=at, status="reported", recipient=recipient, destination=event.to,
                reply=event.action, report=event.report_id,
            )
        )  # fmt: skip


def _bounced(at: float, event: api.Bounced, rows: Rows) -> None:
    rows.add(MessageRow(queue_id=event.queue_id, at=at, account=event.account))
    rows.events.append(
        EventRow(
            queue_id=event.queue_id, at=at, status="bounced", recipient=event.recipient, enhanced=event.status,
            reply=event.reply, report=event.reporter if event.credible else f"{event.reporter} (not certain)",
        )
    )  # fmt: skip


def _dropped(at: float, event: api.Dropped, rows: Rows) -> None:
    rows.add(MessageRow(queue_id=event.queue_id, at=at))
    rows.events += _each(event.recipients, at, event.queue_id, "dropped", report=event.by)


def _handled(at: float, event: api.Handled, rows: Rows) -> None:
    rows.add(MessageRow(queue_id=event.queue_id, at=at))
    rows.events += _each(
        event.recipients, at, event.queue_id, event.action, report=event.by, next_attempt=event.until
    )


def _each(recipients: tuple[str, ...], at: float, queue_id: str, status: str, **more: Any) -> Iterator[EventRow]:
    for recipient in recipients:
        yield EventRow(queue_id=queue_id, at=at, status=status, recipient=recipient, **more)


def _refused(at: float, event: api.Refused, rows: Rows) -> None:
    """There is no message: the sender in this session stands for it. What is refused later has a judgement."""
    if event.stage not in _BEFORE:
        return
    # Names of sessions come again after some days.
    told = f"{event.sender} {int(at) // _HOUR}".encode()
    name = f"{event.session}-{blake2b(told, digest_size=4).hexdigest()}"
    rows.add(MessageRow(queue_id=name, at=at, service=event.service, peer=event.peer, sender=event.sender))
    rows.events.append(
        EventRow(
            queue_id=name, at=at, status="refused", recipient=event.recipient, code=event.code,
            reply=event.reason[:_LONGEST],
        )
    )  # fmt: skip


_MAKERS: Mapping[type[Any], Callable[[float, Any, Rows], None]] = {
    api.Accepted: _accepted,
    api.Queued: _queued,
    api.Delivered: _delivered,
    api.Judged: _judged,
    api.Attempted: _attempted,
    api.Reported: _reported,
    api.Bounced: _bounced,
    api.Dropped: _dropped,
    api.Handled: _handled,
    api.Refused: _refused,
}
#: The classes of events that `rows_of` knows.
KNOWN = frozenset(_MAKERS)
