"""One attempt: the job for a deliverer, and its results as records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from mailserver.model.delivery import Destination, Outcome, Result
from mailserver.ports.delivery import DeliveryReport, Job
from mailserver.ports.store import ReadableContent
from mailserver.queue.record import Done, Fail, Try
from mailserver.queue.state import Item

__all__ = ["DROPPED", "FAULT", "Ended", "expired", "job_for", "shorten"]

#: What stands for a result that we owe to a fault of ours.
FAULT = Result(outcome=Outcome.DEFERRED, status="4.3.0", reply="An internal error; it is tried again later")
DROPPED = Result(outcome=Outcome.FAILED, status="5.7.1", reply="Dropped by an administrator")
_DAY, _HOUR, _MINUTE = 86400.0, 3600.0, 60.0


def job_for(
    item: Item,
    positions: Sequence[int],
    destination: Destination,
    content: ReadableContent,
    *,
    attempt: int,
    expires: float,
    about_to_end: Callable[[Sequence[int]], Awaitable[None]],
) -> Job:
    """What a deliverer gets; `expires` in epoch seconds."""
    recipients = item.envelope.recipients
    whole = len(positions) == len(recipients)
    return Job(
        queue_id=item.queue_id,
        destination=destination,
        envelope=item.envelope if whole else replace(item.envelope, recipients=tuple(recipients[p] for p in positions)),
        content=content,
        arrived=item.new.arrived,
        attempt=attempt,
        expires=expires,
        doubtful=any(item.recipients[position].doubtful for position in positions),
        about_to_end=about_to_end,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an attempt ended for each position, and what there is to write down. `next_attempt` in epoch seconds."""

    results: tuple[tuple[int, Result], ...]
    records: tuple[Try | Done | Fail, ...]
    deferred: tuple[int, ...]
    next_attempt: float

    @classmethod
    def of(
        cls,
        positions: Sequence[int],
        report: DeliveryReport,
        *,
        at: float,
        next_attempt: float,
        doubtful: frozenset[int] = frozenset(),
        give_up: Callable[[Result], Result] | None = None,
    ) -> Ended:
        """`give_up` makes the last result of one that would be tried again; None: there is another time.

        `doubtful` are the positions that may have the message although they are deferred.
        """
        given = [*report.results[: len(positions)], *[FAULT] * (len(positions) - len(report.results))]
        groups: dict[tuple[Result, bool], list[int]] = {}
        results = []
        for position, result in zip(positions, given, strict=True):
            if result.outcome is Outcome.DEFERRED and give_up is not None:
                result = give_up(result)
            results.append((position, result))
            groups.setdefault((result, position in doubtful), []).append(position)
        records: list[Try | Done | Fail] = []
        deferred: list[int] = []
        for (result, in_doubt), members in groups.items():
            recipients = tuple(members)
            if result.outcome is Outcome.DELIVERED:
                records.append(Done(at=at, recipients=recipients, result=result))
            elif result.outcome is Outcome.FAILED:
                records.append(Fail(at=at, recipients=recipients, result=result))
            else:
                deferred += members
                records.append(
                    Try(at=at, recipients=recipients, next_attempt=next_attempt, result=result, doubtful=in_doubt)
                )
        return cls(
            results=tuple(results), records=tuple(records), deferred=tuple(sorted(deferred)), next_attempt=next_attempt
        )


def expired(last: Result, max_age: float) -> Result:
    """We have tried for long enough (RFC 5321 §4.5.4.1); what the last attempt said stays part of it."""
    said = last.reply if not last.code or last.reply.startswith(str(last.code)) else f"{last.code} {last.reply}"
    text = f"It could not be delivered within {shorten(max_age)}. The last answer was: {said}"
    return replace(last, outcome=Outcome.FAILED, status="4.4.7", code=0, reply=text[:1000])


def shorten(seconds: float) -> str:
    """A span of time for people."""
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= unit:
            number = round(seconds / unit)
            return f"{number} {name}{'s' if number != 1 else ''}"
    return f"{round(seconds)} seconds"
