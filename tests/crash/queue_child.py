"""Opens a queue, puts messages into it, and says what it was promised. Forked for each run under strace."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.errors import StorageFailure
from mailserver.model.ids import new_queue_id
from mailserver.ports.clock import SystemClock
from mailserver.queue import disk
from mailserver.queue.settings import QueueSettings
from tests.helpers.content import BytesContent
from tests.helpers.forks import serve

SIZES = (100, 3000, (1 << 20) + 10)


def body(size: int) -> bytes:
    return b"0123456789abcdef\r\n" * (size // 18)


async def use_queue(root: Path, say: int) -> None:
    to = Envelope(sender=None, recipients=(Recipient(address=EmailAddress.parse("r@other.test")),))
    async with disk.DiskQueue(root, QueueSettings(), SystemClock()) as queue:
        for size in SIZES:
            queue_id = new_queue_id()
            try:
                await queue.inject(queue_id, to, BytesContent(body(size), head_size=5000), b"H: 1\r\n")
            except StorageFailure as failure:
                os.write(say, f"refused {failure.detail}\n".encode())
            else:
                os.write(say, f"acked {queue_id} {size}\n".encode())


if __name__ == "__main__":
    disk._THREADS = 1  # strace counts per thread
    serve(lambda root, say: asyncio.run(use_queue(root, say)))
