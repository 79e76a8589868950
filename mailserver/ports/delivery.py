"""Between the queue, which knows what waits and when, and whoever takes messages to where they go.

The queue asks `destination` for each recipient of a message that is due, puts those of one destination into one `Job`,
and gives it to `deliver` when the destination's lane has room. Both are called on the event loop, many at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mailserver.model.delivery import Destination, Feedback, Result
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.ids import QueueId
from mailserver.ports.store import ReadableContent

__all__ = ["Deliverer", "DeliveryReport", "Job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One message for the recipients in `envelope`, all of one destination.

    Times are epoch seconds; `attempt` counts from 1. `doubtful`: a crash came between the final dot and its reply once,
    so these recipients may have the message. Await `about_to_end(indexes)` before the final dot is sent, with the
    recipients (indexes into `envelope.recipients`) that will have the message then.
    """

    queue_id: QueueId
    destination: Destination
    envelope: Envelope
    content: ReadableContent
    arrived: float
    attempt: int
    expires: float
    doubtful: bool = False
    about_to_end: Callable[[Sequence[int]], Awaitable[None]] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """A result for each recipient of the job, in order."""

    results: tuple[Result, ...]
    feedback: Feedback = Feedback.FINE


class Deliverer(Protocol):
    """Neither method raises: what goes wrong is a Result (temporary where in doubt)."""

    async def destination(self, envelope: Envelope, recipient: Recipient) -> Destination | Result:
        """Where a recipient's mail goes, or why it cannot go anywhere."""
        ...

    async def deliver(self, job: Job) -> DeliveryReport:
        """Make one attempt. Being cancelled means: the time for finishing is over; results are lost then."""
        ...
