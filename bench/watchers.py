"""Clients that wait in IDLE: what each of them holds, and how soon all of them hear of a message.

    python -m bench.watchers [--connections 5000] [--watchers 1000]

The message goes in by SMTP; the time runs from its 250 until a watcher has read its EXISTS. With many watchers most of
that time is this client's own: it reads all of them in one thread.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.process import SMTP, Server, idle

MESSAGES = 10


async def deliver(user: int) -> float:
    """Send a message to a user; the time of its 250."""
    reader, writer = await asyncio.open_connection("127.0.0.1", SMTP)
    await reader.readline()
    recipient = b"RCPT TO:<user%d@example.test>" % user
    for line in (b"HELO bench.example.net", b"MAIL FROM:<a@example.net>", recipient, b"DATA"):
        writer.write(line + b"\r\n")
        await reader.readline()
    writer.write(b"From: a@example.net\r\nSubject: wake up\r\n\r\nhello\r\n.\r\n")
    answer = await reader.readline()
    kept = time.perf_counter()
    if not answer.startswith(b"250"):
        raise RuntimeError(answer.decode(errors="replace"))
    writer.close()
    return kept


async def open_idle(
    count: int, mode: str, user_of: Callable[[int], int]
) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    made: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    for start in range(0, count, 20):
        made += await asyncio.gather(*(idle(user_of(start + n), mode) for n in range(min(20, count - start))))
    return made


async def measure_memory(server: Server, count: int) -> None:
    for mode in ("plain", "TLS"):
        first = await open_idle(50, mode, lambda number: number)
        before = server.rss()
        rest = await open_idle(count, mode, lambda number: number % 50)
        await asyncio.sleep(2)
        print(f"{count} in IDLE, {mode}: {(server.rss() - before) / count:.1f} KiB each")
        for _, writer in first + rest:
            writer.transport.abort()
        await asyncio.sleep(2)


async def measure_one_mailbox(count: int, mode: str) -> None:
    watchers = await open_idle(count, mode, lambda number: 0)
    last, middle = [], []
    for _ in range(MESSAGES):
        heard: list[float] = []

        async def hear(reader: asyncio.StreamReader, heard: list[float] = heard) -> None:
            while not (await reader.readline()).endswith(b" EXISTS\r\n"):
                pass
            heard.append(time.perf_counter())

        waiting = [asyncio.create_task(hear(reader)) for reader, _ in watchers]
        await asyncio.sleep(0.2)
        kept = await deliver(0)
        await asyncio.gather(*waiting)
        last.append((max(heard) - kept) * 1e3)
        middle.append((statistics.median(heard) - kept) * 1e3)
    print(
        f"{count} watchers of one mailbox, {mode}: all told after {statistics.median(last):.0f} ms"
        f" (worst {max(last):.0f}), half of them after {statistics.median(middle):.0f} ms"
    )
    for _, writer in watchers:
        writer.transport.abort()
    await asyncio.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--watchers", type=int, default=1000)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory) / "data")
        try:
            server.wait_ready()
            for mode in ("plain", "TLS"):
                asyncio.run(measure_one_mailbox(options.watchers, mode))
            asyncio.run(measure_memory(server, options.connections))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
