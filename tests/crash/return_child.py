"""Takes in what accounts forward and keep no copy of, and says what came back to them. Forked for each run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mailserver.model.address import EmailAddress
from mailserver.model.envelope import returning
from mailserver.model.ids import QueueId
from mailserver.ports.delivery import DeliveryReport, Job
from mailserver.queue import commit, disk
from tests.helpers.content import BytesContent
from tests.helpers.forks import serve
from tests.helpers.queue import FAILED, MESSAGE, QueueHarness, envelope_for, quiet

ACCOUNT = "ben@example.test"
#: Of a stranger, who is told that it failed, and of nobody.
MESSAGES = {
    QueueId("0000000000000001"): envelope_for("bad@x.test", sender="carl@far.test"),
    QueueId("0000000000000002"): envelope_for("bad@x.test", "good@y.test", sender=None),
}


async def use_queue(root: Path, say: Callable[[str], object]) -> None:
    """Take in what is not there yet, and work until there is nothing more to do."""
    harness = QueueHarness(root)
    harness.deliverer.answers["bad@x.test"] = [FAILED]
    deliver = harness.deliverer.deliver

    async def watched(job: Job) -> DeliveryReport:
        report = await deliver(job)
        say(f"got {job.destination.name} {job.queue_id}")
        return report

    harness.deliverer.deliver = watched  # type: ignore[method-assign]
    async with harness.running():
        for queue_id, envelope in MESSAGES.items():
            back = returning([(ACCOUNT, [EmailAddress.parse("bad@x.test")])])
            await harness.queue.inject(queue_id, replace(envelope, extra=back), BytesContent(MESSAGE))
            say(f"acked {queue_id}")
        await quiet(harness.runner)


if __name__ == "__main__":
    # strace counts per thread.
    disk._THREADS = disk._QUICK_THREADS = 1
    commit._PATIENCE = 0.0
    serve(lambda root, fd: asyncio.run(use_queue(root, lambda promise: os.write(fd, f"{promise}\n".encode()))))
