"""Opens a queue, does everything to messages that can be done, and says what it was promised. Forked for each run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from mailserver.model.errors import MailError, StorageFailure
from mailserver.model.ids import new_queue_id
from mailserver.ports.clock import SystemClock
from mailserver.ports.reports import Action
from mailserver.queue import commit, disk
from mailserver.queue.record import Done, Dot, Fail, Told, Try
from mailserver.queue.settings import QueueSettings
from tests.helpers.content import BytesContent
from tests.helpers.forks import serve
from tests.helpers.spool import ID, LATER, NO, SENT, envelope

SIZES = (100, 3000, (1 << 20) + 10)


def body(size: int) -> bytes:
    return b"0123456789abcdef\r\n" * (size // 18)


async def use_queue(root: Path, say: Callable[[str], object]) -> None:
    """`say` hears each promise when it was made."""

    async def promised(what: str, promise: Awaitable[None]) -> bool:
        """Is it so?"""
        try:
            await promise
        except StorageFailure as failure:
            say(f"refused {what}: {failure.detail}")
            return False
        say(what)
        return True

    async with disk.DiskQueue(root, QueueSettings(), SystemClock()) as queue:
        await queue.recovered()
        acked = []
        for size in SIZES:
            queue_id = new_queue_id()
            to = envelope("a@other.test", "b@other.test", sender=None)
            content = BytesContent(body(size), head_size=5000)
            if await promised(f"acked {queue_id} {size}", queue.inject(queue_id, to, content, b"H: 1\r\n")):
                acked.append(queue_id)
        for queue_id in acked:
            try:
                async with queue.content(queue_id) as octets:
                    await octets.read(0, octets.size)
            except MailError:
                # Reading is not what is promised here.
                continue
            await promised(f"dotted {queue_id}", queue.record(queue_id, Dot(at=1.0, recipients=(0, 1)), durable=False))
            failed = Fail(at=2.0, recipients=(0,), result=NO)
            later = Try(at=2.0, recipients=(1,), next_attempt=1e9, result=LATER)
            await promised(f"tried {queue_id}", queue.record(queue_id, failed, later))
        for queue_id in [*acked[1:], ID]:
            told = Told(at=3.0, recipients=(0,), action=Action.FAILED, report_id=ID)
            await promised(f"told {queue_id}", queue.record(queue_id, told))
            say(f"finishing {queue_id}")
            await promised(f"finished {queue_id}", queue.finish(queue_id, Done(at=4.0, recipients=(1,), result=SENT)))


if __name__ == "__main__":
    # strace counts per thread.
    disk._THREADS = disk._QUICK_THREADS = 1
    commit._PATIENCE = 0.0
    serve(lambda root, fd: asyncio.run(use_queue(root, lambda promise: os.write(fd, f"{promise}\n".encode()))))
