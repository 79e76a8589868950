"""What is to be told about a message, as requests for reports; and the marks by which a report knows what it is about.

The id of a report follows from what it tells, and the report itself carries that (`Envelope.extra`): so after a crash
between any two steps of

    the report is durable ─▶ TOLD is durable in its message, or the message is gone ─▶ the report is sent

the next start finds what was begun and finishes it, and nobody is told anything twice (ATTACKS F09). Before all this
come the copies for accounts that kept none: they are durable when a report is, and wait for TOLD as it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import orjson

from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Outcome, Result, Success
from mailserver.model.envelope import STAYS_HERE, Envelope, Notify, Recipient
from mailserver.model.ids import QueueId, derived_queue_id
from mailserver.ports.reports import Action, ReportedRecipient, ReportRequest
from mailserver.queue.record import Told
from mailserver.queue.state import Item, RecipientState

__all__ = [
    "HEAD", "about", "delayed", "failed", "mark", "request", "returned", "returned_from", "succeeded",
    "told",
]  # fmt: skip

#: How much of the original a report gets to see, in octets.
HEAD = 64 << 10

_ABOUT, _TELLS, _RETURNED_FROM = "report-about", "report-tells", "returned-from"
_SUCCESS = {
    Success.RELAYED: Action.RELAYED,
    Success.DELIVERED: Action.DELIVERED,
    Success.EXPANDED: Action.EXPANDED,
}
_UNKNOWN = Result(outcome=Outcome.DEFERRED, status="4.4.7", reply="No attempt could be made yet")

Positions = dict[int, Action]


def failed(item: Item) -> Positions:
    """Recipients whose failure nobody was told yet."""
    return {
        position: Action.FAILED
        for position, state in enumerate(item.recipients)
        if state.result is not None and state.result.outcome is Outcome.FAILED and not state.was_told(Action.FAILED)
    }


def succeeded(item: Item) -> Positions:
    """Recipients whose success was asked for, and not told yet; where the next server tells it, we do not
    (RFC 3461 §5.2)."""
    found = {}
    for position, (state, recipient) in enumerate(zip(item.recipients, item.envelope.recipients, strict=True)):
        result = state.result
        if Notify.SUCCESS in recipient.notify and result is not None and result.outcome is Outcome.DELIVERED:
            action = _SUCCESS.get(result.success)
            if action is not None and not state.was_told(action):
                found[position] = action
    return found


def delayed(item: Item) -> Positions:
    """Recipients that still wait, and nobody was told."""
    return {
        position: Action.DELAYED
        for position in item.waiting
        if not item.recipients[position].was_told(Action.DELAYED)
    }


def request(item: Item, positions: Positions, head: bytes, *, at: float, expires: float) -> ReportRequest:
    """What the writer of reports needs. `at` is the time of a report that no attempt gives one, `expires` (both epoch
    seconds) how long we go on trying."""
    actions = sorted({action.value for action in positions.values()})
    report_id = derived_queue_id(item.queue_id, *actions, *sorted(positions))
    final = all(action is not Action.DELAYED for action in positions.values())
    return ReportRequest(
        report_id=report_id,
        queue_id=item.queue_id,
        arrived=item.new.arrived,
        at=max(item.recipients[position].at for position in positions) if final else at,
        envelope=item.envelope,
        head=head[:HEAD],
        size=item.new.size,
        recipients=tuple(
            _reported(item, position, item.recipients[position], action, expires)
            for position, action in sorted(positions.items())
        ),
    )


def _reported(item: Item, position: int, state: RecipientState, action: Action, expires: float) -> ReportedRecipient:
    return ReportedRecipient(
        recipient=item.envelope.recipients[position],
        action=action,
        result=state.result or _UNKNOWN,
        at=state.at or item.new.arrived,
        will_retry_until=expires if action is Action.DELAYED else None,
    )


def told(positions: Positions, at: float, report_id: QueueId | None) -> list[Told]:
    """The records of it."""
    return [
        Told(at=at, recipients=tuple(sorted(p for p in positions if positions[p] is action)), action=action,
             report_id=report_id)
        for action in dict.fromkeys(positions.values())
    ]  # fmt: skip


def mark(envelope: Envelope, origin: QueueId, positions: Positions) -> Envelope:
    """The envelope of a report, with what it is about and what it tells."""
    tells = orjson.dumps([[position, action.value] for position, action in sorted(positions.items())]).decode()
    return replace(envelope, extra=(*envelope.extra, (_ABOUT, origin), (_TELLS, tells)))


def returned(item: Item) -> list[tuple[QueueId, Envelope]]:
    """Ids and envelopes of the copies for accounts that forwarded it and kept none. Once a failure of one of an
    account's targets was told its copy is made, and is not made again when others fail later."""
    failing, before = _keys(item, failed(item)), _keys(item, _told_of_failure(item))
    return [
        (
            derived_queue_id(item.queue_id, "returned", account),
            replace(
                item.envelope, recipients=(Recipient(address=EmailAddress.parse(account)),), hold_until=None,
                sender=item.envelope.first_sender, extra=(*STAYS_HERE, (_RETURNED_FROM, item.queue_id)),
            ),
        )
        for account, targets in item.envelope.returns_to.items()
        if not targets.isdisjoint(failing) and targets.isdisjoint(before)
    ]  # fmt: skip


def returned_from(envelope: Envelope) -> QueueId | None:
    """The message that such a copy is of; None when it is none."""
    return next((QueueId(value) for name, value in envelope.extra if name == _RETURNED_FROM), None)


def _told_of_failure(item: Item) -> list[int]:
    return [position for position, state in enumerate(item.recipients) if state.was_told(Action.FAILED)]


def _keys(item: Item, positions: Iterable[int]) -> set[str]:
    return {item.envelope.recipients[position].address.key for position in positions}


def about(envelope: Envelope) -> tuple[QueueId, Positions] | None:
    """Which message a report is about, and what it tells; None when it is no report of this queue."""
    extra = dict(envelope.extra)
    if _ABOUT not in extra or _TELLS not in extra:
        return None
    return QueueId(extra[_ABOUT]), {position: Action(word) for position, word in orjson.loads(extra[_TELLS])}


def untold(item: Item, positions: Positions) -> Positions:
    """Those of them that the item does not know to be told."""
    return {
        position: action
        for position, action in positions.items()
        if position < len(item.recipients) and not item.recipients[position].was_told(action)
    }


def words(recipients: Sequence[int] | Iterable[int], item: Item) -> tuple[str, ...]:
    """Addresses, for events."""
    return tuple(str(item.envelope.recipients[position].address) for position in recipients)
