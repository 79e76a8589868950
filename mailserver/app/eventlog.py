"""Facts as lines for the operator: an event sink."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import structlog

from mailserver.model.delivery import Outcome
from mailserver.model.events import (
    Accepted,
    Appended,
    Attempted,
    Bounced,
    Delivered,
    DmarcEvaluated,
    Dropped,
    Event,
    FlagsChanged,
    Handled,
    Judged,
    LoginFailed,
    LoginSucceeded,
    Misbehaved,
    Moved,
    Queued,
    Refused,
    Reported,
    SendingLimited,
    SessionClosed,
    SessionOpened,
    Suppressed,
    TlsAttempted,
)

__all__ = ["log_event"]

log = structlog.get_logger()
_MOST_RESULTS = 20


def log_event(event: Event) -> None:
    """Write one line; sessions that come and go are only told at level debug."""
    line = _LINES.get(type(event))
    if line is not None:
        line(event)
        return
    log.info(_words(type(event).__name__), **{f.name: getattr(event, f.name) for f in fields(event)})


def _words(name: str) -> str:
    """`SomethingHappened` as "something happened"."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def _opened(event: SessionOpened) -> None:
    log.debug("connected", id=event.session, service=event.service, peer=event.peer, tls=event.tls)


def _closed(event: SessionClosed) -> None:
    log.debug("disconnected", id=event.session, service=event.service, peer=event.peer)


def _misbehaved(event: Misbehaved) -> None:
    log.debug("sent away", id=event.session, service=event.service, peer=event.peer, kind=event.kind)


def _accepted(event: Accepted) -> None:
    log.info(
        "accepted", id=event.queue_id, session=event.session, service=event.service, sender=event.sender or "<>",
        recipients=event.recipients, size=event.size,
    )  # fmt: skip


def _delivered(event: Delivered) -> None:
    log.info(
        "delivered", id=event.queue_id, account=event.account, mailbox=event.mailbox, uid=event.uid, size=event.size
    )


def _judged(event: Judged) -> None:
    """Which checks, and how many points: their words are for the person who gets the mail, and may quote from it."""
    points: dict[str, float] = {}
    for reason in event.findings.reasons:
        points[reason.check] = points.get(reason.check, 0.0) + reason.points
    log.info(
        "judged", id=event.queue_id, account=event.account, peer=event.peer, sender=event.sender or "<>",
        mailbox=event.mailbox, refused=event.refused, reason=event.reason, score=round(event.findings.score, 1),
        points={check: round(sum_, 1) for check, sum_ in points.items()},
        results=[f"{result.method}={result.result}" for result in event.findings.results[:_MOST_RESULTS]],
    )  # fmt: skip


def _dmarc(event: DmarcEvaluated) -> None:
    """What SPF and DKIM found stands in the line of the verdict, too."""
    (log.debug if event.passed else log.info)(
        "dmarc passed" if event.passed else "dmarc failed", id=event.queue_id, author=event.author, peer=event.peer,
        policy=event.policy_domain, disposition=event.disposition, because=[kind for kind, _ in event.overrides],
    )  # fmt: skip


def _untold(event: Event) -> None:
    """What users do with their mail all day."""


def _queued(event: Queued) -> None:
    log.info("queued", id=event.queue_id, sender=event.sender or "<>", recipients=event.recipients, size=event.size)


def _attempted(event: Attempted) -> None:
    """One line per recipient; what went into a mailbox of ours has one already."""
    result = event.result
    facts = {
        "id": event.queue_id, "recipient": event.recipient, "sender": event.sender or "<>",
        "destination": event.destination, "remote": result.remote, "address": result.address, "tls": result.tls,
        "code": result.code or "", "status": result.status, "reply": result.reply, "attempt": event.attempt,
        "age": round(event.at - event.arrived, 1),
    }  # fmt: skip
    facts = {name: value for name, value in facts.items() if value != ""}
    if result.outcome is Outcome.DELIVERED:
        if event.destination != "local":
            log.info("sent", **facts)
    elif result.outcome is Outcome.DEFERRED:
        again = event.next_attempt
        log.info("deferred", **facts, again_in=None if again is None else round(again - event.at))
    else:
        log.warning("failed", **facts)


def _dropped(event: Dropped) -> None:
    log.info("dropped by hand", id=event.queue_id, recipients=event.recipients, by=event.by)


def _handled(event: Handled) -> None:
    log.info("changed by hand", id=event.queue_id, action=event.action, until=event.until, by=event.by)


def _reported(event: Reported) -> None:
    words = {"failed": "bounced", "delayed": "delay reported"}.get(event.action, "success reported")
    log.info(words, id=event.queue_id, report=event.report_id, to=event.to, recipients=event.recipients)


def _bounced(event: Bounced) -> None:
    log.info(
        "bounce received", id=event.queue_id, account=event.account, recipient=event.recipient, status=event.status,
        reply=event.reply, reporter=event.reporter, credible=event.credible,
    )  # fmt: skip


def _limited(event: SendingLimited) -> None:
    log.error(
        "alarm: an account has reached what it may send in a day; is its password stolen?", account=event.account,
        limit=event.limit, count=event.count,
    )  # fmt: skip


def _suppressed(event: Suppressed) -> None:
    until = f"{datetime.fromtimestamp(event.until, UTC):%Y-%m-%d}"
    log.info(
        "suppressed", account=event.account, recipient=event.recipient, until=until, status=event.status,
        reply=event.reply,
    )  # fmt: skip


def _tls(event: TlsAttempted) -> None:
    """What was used stands in the line of the attempt, too."""
    log.debug(
        "tls", destination=event.domain, host=event.host, address=event.address, policy=event.policy.source,
        tls=event.tls, failure=event.failure, detail=event.detail,
    )  # fmt: skip


def _refused(event: Refused) -> None:
    log.info(
        "refused", id=event.session, service=event.service, stage=event.stage, peer=event.peer,
        sender=event.sender or "<>", recipient=event.recipient, code=event.code, reason=event.reason,
    )  # fmt: skip


def _login(event: LoginSucceeded) -> None:
    log.info(
        "login",
        id=event.session,
        service=event.service,
        account=event.account,
        peer=event.peer,
        mechanism=event.mechanism,
    )


def _login_failed(event: LoginFailed) -> None:
    log.warning(
        "login failed", id=event.session, service=event.service, user=event.user, peer=event.peer,
        mechanism=event.mechanism, reason=event.reason,
    )  # fmt: skip


_LINES: dict[type, Callable[[Any], None]] = {
    SessionOpened: _opened,
    Misbehaved: _misbehaved,
    SessionClosed: _closed,
    Accepted: _accepted,
    Delivered: _delivered,
    Judged: _judged,
    DmarcEvaluated: _dmarc,
    Appended: _untold,
    Moved: _untold,
    FlagsChanged: _untold,
    Queued: _queued,
    Dropped: _dropped,
    Handled: _handled,
    Attempted: _attempted,
    Reported: _reported,
    Bounced: _bounced,
    Suppressed: _suppressed,
    SendingLimited: _limited,
    TlsAttempted: _tls,
    Refused: _refused,
    LoginSucceeded: _login,
    LoginFailed: _login_failed,
}
