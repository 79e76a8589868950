"""ATTACKS I10: SORT and THREAD of hostile mail are made in slices, and end when nobody waits for them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest

from mailserver.imap import slices
from mailserver.imap.commands import thread
from mailserver.imap.search import threads
from mailserver.mime.sorting import MAX_REFERENCES
from tests.helpers.imap_service import ImapHarness, until

IDS = [f"<{number}@x>" for number in range(10_000)]


def _message(number: int) -> bytes:
    """It has one of the ids, and refers to ten thousand, in a circle that begins with the next one."""
    circle = "\r\n ".join([*IDS[number + 1 :], *IDS[: number + 1]])
    return f"Message-ID: {IDS[number]}\r\nReferences: {circle}\r\nSubject: {'re: ' * 10_000}\r\n\r\n".encode()


async def test_i10_others_are_served_while_one_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE", 0.0)
    monkeypatch.setattr(threads, "_STEPS", MAX_REFERENCES)
    async with ImapHarness() as server:
        await server.deliver(*map(_message, range(0, 1_000, 80)))
        async with server.client(select="INBOX") as one, server.client() as other:
            await one.ok("SORT (SUBJECT REVERSE DATE) UTF-8 ALL")
            asked = asyncio.ensure_future(one.ok("THREAD REFERENCES UTF-8 ALL"))
            served = 0
            while not asked.done():
                await other.ok("NOOP")
                served += 1
            (line,) = (await asked).untagged
            assert sorted(map(int, line.replace(b"(", b" ").replace(b")", b" ").split()[2:])) == list(range(1, 14))
            assert served > 5


async def test_i10_a_thread_that_nobody_waits_for_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0

    def endless(messages: object) -> Iterator[None]:
        nonlocal turns
        while True:
            turns += 1
            yield

    monkeypatch.setattr(slices, "SLICE", 0.0)
    monkeypatch.setattr(thread, "_ALGORITHMS", dict.fromkeys(thread._ALGORITHMS, endless))
    async with ImapHarness() as server:
        async with server.client(select="INBOX") as imap:
            imap.writer.write(b"a THREAD REFERENCES UTF-8 ALL\r\n")
            await until(lambda: turns > 10)
            # RST: a FIN may be half a close, after which answers are still wanted.
            sock = imap.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            imap.writer.transport.abort()
        await server.settled()
        after = turns
        await asyncio.sleep(0)
        assert turns - after <= 1
