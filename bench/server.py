"""The whole server as a process: how soon it is ready, what it holds at rest and per idle connection, mail in.

    python -m bench.server [--connections 1000] [--messages 2000]

CPU is that of the server process, kernel time included. Absolute figures drift with the machine: to compare, run
another server's benchmark in the same minutes (docs/performance.md).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from bench.process import SMTP, Server, idle

MESSAGE = (
    b"From: a@example.net\r\nTo: b@example.test\r\nSubject: benchmark\r\nMessage-ID: <1@example.net>\r\n\r\n"
    + b"abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz\r\n" * 49
)


async def measure_idle(server: Server, count: int) -> None:
    for mode in ("plain", "TLS", "STARTTLS"):
        # The first fifty open the mailboxes and fill the caches; only what comes after them is a connection's own.
        writers = [(await idle(number, mode))[1] for number in range(50)]
        before = server.rss()
        for start in range(0, count, 20):
            writers += [writer for _, writer in await asyncio.gather(*(idle(start + n, mode) for n in range(20)))]
        await asyncio.sleep(1)
        print(f"idle IMAP, {mode}: {(server.rss() - before) / count:.1f} KiB each ({count} connections)")
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(1)


async def send(messages: int, number: int, waits: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", SMTP)

    async def reply(expected: bytes) -> None:
        while (line := await reader.readline())[3:4] == b"-":
            pass
        if not line.startswith(expected):
            raise RuntimeError(line.decode(errors="replace"))

    await reply(b"220")
    writer.write(b"EHLO bench.example.net\r\n")
    await reply(b"250")
    for _ in range(messages):
        writer.write(b"MAIL FROM:<a@example.net>\r\nRCPT TO:<user%d@example.test>\r\nDATA\r\n" % (number % 10))
        for expected in (b"250", b"250", b"354"):
            await reply(expected)
        start = time.perf_counter()
        writer.write(MESSAGE + b".\r\n")
        await reply(b"250")
        waits.append(time.perf_counter() - start)
    writer.close()


async def measure_ingest(server: Server, messages: int) -> None:
    for connections in (1, 10, 50):
        waits: list[float] = []
        cpu, start = server.cpu(), time.perf_counter()
        await asyncio.gather(*(send(messages // connections, number, waits) for number in range(connections)))
        wall, cpu = time.perf_counter() - start, server.cpu() - cpu
        print(
            f"mail in, 4 KB, {connections} connections: {len(waits) / wall:.0f}/s kept, "
            f"{cpu / len(waits) * 1e3:.2f} ms CPU each, dot to 250 median {statistics.median(waits) * 1e3:.1f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "data"
        server = Server(path)
        try:
            server.wait_ready()
            times = sorted(server.restart(path) for _ in range(5))
            print(f"ready after {times[0]:.2f} s at best, {times[2]:.2f} s median of 5")
            print(f"at rest {server.rss() / 1024:.0f} MiB")
            asyncio.run(measure_ingest(server, options.messages))
            asyncio.run(measure_idle(server, options.connections))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
