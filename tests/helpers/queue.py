"""A queue with its runner in this process: what is delivered, and how, is the test's business."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from mailserver.model.address import EmailAddress
from mailserver.model.delivery import Destination, Feedback, Outcome, Result, Success
from mailserver.model.envelope import Envelope, Notify, Recipient
from mailserver.model.events import Attempted, Event, Reported
from mailserver.model.ids import AccountId, QueueId, new_queue_id
from mailserver.outbound.dsn.writer import DsnWriter
from mailserver.ports.clock import Clock
from mailserver.ports.delivery import DeliveryReport, Job
from mailserver.queue.control import QueueControl
from mailserver.queue.disk import DiskQueue
from mailserver.queue.runner import QueueRunner
from mailserver.queue.settings import QueueSettings
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.waiting import PATIENCE

__all__ = [
    "DEFERRED", "FAILED", "MESSAGE", "OK", "QueueHarness", "ScriptedDeliverer", "envelope_for", "quiet", "recipient",
    "result",
]  # fmt: skip

MESSAGE = b"From: a@example.test\r\nSubject: test\r\nMessage-ID: <1@example.test>\r\n\r\nbody\r\n"


def result(outcome: Outcome, status: str, reply: str, code: int = 0, success: Success = Success.RELAYED) -> Result:
    return Result(outcome=outcome, status=status, reply=reply, code=code, success=success)


OK = result(Outcome.DELIVERED, "2.0.0", "250 2.0.0 taken", 250)
DEFERRED = result(Outcome.DEFERRED, "4.7.1", "450 4.7.1 come again", 450)
FAILED = result(Outcome.FAILED, "5.1.1", "550 5.1.1 nobody here", 550)


def recipient(address: str, *notify: Notify) -> Recipient:
    return Recipient(address=EmailAddress.parse(address), notify=frozenset(notify))


def envelope_for(*to: str | Recipient, sender: str | None = "anna@example.test") -> Envelope:
    recipients = tuple(recipient(one) if isinstance(one, str) else one for one in to)
    found = None if sender is None else EmailAddress.parse(sender)
    ours = found is not None and found.domain == "example.test"
    return Envelope(sender=found, recipients=recipients, account=AccountId(str(found)) if ours else None)


class ScriptedDeliverer:
    """`ports.delivery.Deliverer`. `answers` are by address, each a list that ends with what is repeated; the default is
    success. What goes to example.test is local. `gate`: closed, attempts wait."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Result]] = {}
        self.feedback: dict[str, Feedback] = {}
        self.routes: dict[str, Result] = {}
        self.jobs: list[Job] = []
        self.delivered: list[tuple[QueueId, str]] = []
        self.contents: dict[QueueId, bytes] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def destination(self, envelope: Envelope, recipient: Recipient) -> Destination | Result:
        domain = recipient.address.domain
        return self.routes.get(domain) or Destination(name=domain, local=domain == "example.test")

    async def deliver(self, job: Job) -> DeliveryReport:
        self.jobs.append(job)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.contents[job.queue_id] = await job.content.read(0, job.content.size)
        feedback = self.feedback.get(job.destination.name, Feedback.FINE)
        if feedback is not Feedback.UNREACHABLE:
            await job.about_to_end(range(len(job.envelope.recipients)))
        results = [self._answer(str(one.address)) for one in job.envelope.recipients]
        for one, outcome in zip(job.envelope.recipients, results, strict=True):
            if outcome.outcome is Outcome.DELIVERED:
                self.delivered.append((job.queue_id, str(one.address)))
        return DeliveryReport(results=tuple(results), feedback=feedback)

    def _answer(self, address: str) -> Result:
        answers = self.answers.get(address)
        if not answers:
            return OK
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def to(self, address: str) -> list[QueueId]:
        """The messages that an address got."""
        return [queue_id for queue_id, got in self.delivered if got == address]


class QueueHarness:
    """Queue, runner and control below a directory."""

    def __init__(
        self, root: Path, *, clock: Clock | None = None, queue: Callable[..., DiskQueue] = DiskQueue, **settings: object
    ) -> None:
        self.clock = clock or FakeClock()
        self.settings = QueueSettings.model_validate(settings)
        self.deliverer = ScriptedDeliverer()
        self.events: list[Event] = []
        self.queue = queue(root, self.settings, self.clock)
        self.runner = QueueRunner(
            self.queue, self.deliverer, DsnWriter(hostname="mail.example.test", home=lambda: "example.test"),
            self.settings, self.clock, self.events.append, random.Random(1),
        )  # fmt: skip
        self.control = QueueControl(self.queue, self.runner, self.clock)
        self.stopping = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[QueueHarness]:
        """Open, running, and at the end stopped in peace."""
        async with self.queue:
            task = asyncio.create_task(self.runner.run(lambda: None, self.stopping))
            try:
                await quiet(self.runner)
                yield self
            finally:
                self.stopping.set()
                self.deliverer.gate.set()
                await asyncio.wait({task}, timeout=PATIENCE)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def inject(
        self, *to: str | Recipient, sender: str | None = "anna@example.test", queue_id: QueueId | None = None
    ) -> QueueId:
        """Put a message into the queue, and wait until all is quiet."""
        queue_id = queue_id or new_queue_id()
        await self.queue.inject(queue_id, envelope_for(*to, sender=sender), BytesContent(MESSAGE))
        await quiet(self.runner)
        return queue_id

    async def advance(self, seconds: float) -> None:
        """Time passes, and what is due happens."""
        assert isinstance(self.clock, FakeClock)
        self.clock.advance(seconds)
        self.runner.wake()
        await quiet(self.runner)

    @property
    def attempted(self) -> Sequence[Attempted]:
        return [event for event in self.events if isinstance(event, Attempted)]

    @property
    def reported(self) -> Sequence[Reported]:
        return [event for event in self.events if isinstance(event, Reported)]

    def report_to(self, address: str = "anna@example.test") -> bytes:
        """The one report that an address got."""
        (report,) = self.deliverer.to(address)
        return self.deliverer.contents[report]


async def quiet(runner: QueueRunner) -> None:
    """Until nothing is in hand that goes on by itself; attempts that wait at the gate are."""
    still, deadline = 0, time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        held = runner.deliverer.gate.is_set() or runner.attempts < len(runner._tasks)  # type: ignore[attr-defined]
        still = still + 1 if not runner._woken and (not runner._tasks or not held) else 0
        if still > 3:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("the queue does not come to rest")
