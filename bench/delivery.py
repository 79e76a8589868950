"""Delivery into the Maildir store alone, without SMTP: stored messages a second, and CPU per message.

    python bench/delivery.py [--seconds 5] [--size 4096] [--accounts 10] [--tasks 10,50] [--recipients 1] [--dir DIR]
"""

import argparse
import asyncio
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import uvloop

from mailserver.model.ids import AccountId
from mailserver.ports.clock import SystemClock
from mailserver.ports.store import Target
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.settings import StorageSettings

HEADER = b"Return-Path: <sender@example.net>\r\n"
HEADER += b"Received: from client (client [127.0.0.1]) by mail.example.test; now\r\n"


def message(size):
    head = b"From: a@example.net\r\nTo: b@example.test\r\nSubject: benchmark\r\nMessage-ID: <1@example.net>\r\n\r\n"
    line = b"abcdefghijklmnopqrstuvwxyz" * 3 + b"\r\n"
    return (head + line * (size // len(line) + 1))[:size - 2] + b"\r\n"


def cpu():
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum((own.ru_utime, own.ru_stime, children.ru_utime, children.ru_stime))


async def run(store, tasks, options):
    data, count, latencies = message(options.size), 0, []
    end = time.perf_counter() + options.seconds

    async def deliver(number):
        nonlocal count
        while (begun := time.perf_counter()) < end:
            async with store.begin(options.size) as content:
                await content.write(data)
                places = [Target(account=AccountId(f"user{(number + at) % options.accounts}@example.test"))
                          for at in range(options.recipients)]
                for result in await store.commit(content, places, HEADER):
                    result.uid  # noqa: B018 an error has none
            count += options.recipients
            latencies.append(time.perf_counter() - begun)

    before, start = cpu(), time.perf_counter()
    await asyncio.gather(*(deliver(number) for number in range(tasks)))
    spent, used = time.perf_counter() - start, cpu() - before
    latencies.sort()
    print(f"{tasks:3} tasks, {options.size} octets, {options.recipients} recipients: {count / spent:7.0f} stored/s   "
          f"{used / count * 1e3:.3f} ms CPU each   p50 {latencies[len(latencies) // 2] * 1e3:.1f} ms   "
          f"p99 {latencies[int(len(latencies) * 0.99)] * 1e3:.1f} ms", flush=True)


async def main(options):
    place = Path(tempfile.mkdtemp(dir=options.dir))
    try:
        async with MaildirStore(place, StorageSettings(), "mail.example.test", SystemClock()) as store:
            for number in range(options.accounts):
                await store.open_account(AccountId(f"user{number}@example.test"))
            for tasks in options.tasks.split(","):
                await run(store, int(tasks), options)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--accounts", type=int, default=10)
    parser.add_argument("--tasks", default="10,50")
    parser.add_argument("--recipients", type=int, default=1)
    parser.add_argument("--dir", default=os.environ.get("TMPDIR", "/tmp"))
    uvloop.run(main(parser.parse_args()))
