"""Takes messages in that cannot be delivered, and says which reports reached their sender. Forked for each run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from mailserver.model.envelope import Notify
from mailserver.model.ids import QueueId
from mailserver.ports.delivery import DeliveryReport, Job
from mailserver.queue import commit, disk, reporting
from tests.helpers.content import BytesContent
from tests.helpers.forks import serve
from tests.helpers.queue import DEFERRED, FAILED, MESSAGE, QueueHarness, envelope_for, quiet, recipient

#: All fail; one fails, one waits, one arrives; all arrive, and that is asked for.
MESSAGES = {
    QueueId("0000000000000001"): envelope_for("bad@x.test", "bad@y.test"),
    QueueId("0000000000000002"): envelope_for("bad@x.test", "later@y.test", "good@z.test"),
    QueueId("0000000000000003"): envelope_for(recipient("good@x.test", Notify.SUCCESS)),
}


def told_by(job: Job) -> str:
    """The message that a report is about, and the positions of the recipients whom it names."""
    found = reporting.about(job.envelope)
    assert found is not None
    return f"{found[0]} {','.join(map(str, sorted(found[1])))}"


async def use_queue(root: Path, say: Callable[[str], object]) -> None:
    """Take in what is not there yet, and work until there is nothing more to do."""
    harness = QueueHarness(root)
    answers = harness.deliverer.answers
    answers |= {"bad@x.test": [FAILED], "bad@y.test": [FAILED], "later@y.test": [DEFERRED]}
    deliver = harness.deliverer.deliver

    async def watched(job: Job) -> DeliveryReport:
        report = await deliver(job)
        if job.destination.local:
            say(f"got {job.queue_id} {told_by(job)}")
        return report

    harness.deliverer.deliver = watched  # type: ignore[method-assign]
    async with harness.running():
        for queue_id, envelope in MESSAGES.items():
            await harness.queue.inject(queue_id, envelope, BytesContent(MESSAGE))
            say(f"acked {queue_id}")
        await quiet(harness.runner)


if __name__ == "__main__":
    # strace counts per thread.
    disk._THREADS = disk._QUICK_THREADS = 1
    commit._PATIENCE = 0.0
    serve(lambda root, fd: asyncio.run(use_queue(root, lambda promise: os.write(fd, f"{promise}\n".encode()))))
