"""What gathers in memory is written in batches: one at a time, none twice, none forgotten."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from mailserver.net.batches import Batches


class Numbers:
    """Numbers to be written, and the batches that were. While `disk` is not set a writing does not end."""

    def __init__(self, pause: float) -> None:
        self.waiting: list[int] = []
        self.written: list[list[int]] = []
        self.disk = asyncio.Event()
        self.disk.set()
        self.begun = asyncio.Event()
        self.changed = asyncio.Event()
        self.batches = Batches(self._write, lambda: bool(self.waiting), pause=pause, name="numbers")

    def add(self, number: int) -> None:
        self.waiting.append(number)
        self.batches.soon()

    async def _write(self) -> None:
        taken, self.waiting = self.waiting, []
        self.begun.set()
        await self.disk.wait()
        if 13 in taken:
            raise ValueError("thirteen")
        self.written.append(taken)
        self.changed.set()

    async def until(self, *batches: list[int]) -> None:
        async with asyncio.timeout(60):
            while len(self.written) < len(batches):
                self.changed.clear()
                await self.changed.wait()
        assert self.written == list(batches)


async def test_what_comes_within_a_pause_is_one_batch_and_what_comes_meanwhile_is_the_next() -> None:
    numbers = Numbers(pause=0.001)
    numbers.disk.clear()
    numbers.add(1)
    numbers.add(2)
    await numbers.begun.wait()
    numbers.add(3)
    numbers.add(4)
    numbers.disk.set()
    await numbers.until([1, 2], [3, 4])


async def test_a_flush_does_not_wait_for_the_pause() -> None:
    numbers = Numbers(pause=3600)
    numbers.add(1)
    await numbers.batches.flush()
    assert numbers.written == [[1]]
    await numbers.batches.flush()
    assert numbers.written == [[1]]


async def test_a_flush_waits_for_what_is_being_written_and_for_what_came_before_it() -> None:
    numbers = Numbers(pause=3600)
    numbers.disk.clear()
    numbers.add(1)
    first = asyncio.create_task(numbers.batches.flush())
    await numbers.begun.wait()
    numbers.add(2)
    second = asyncio.create_task(numbers.batches.flush())
    await asyncio.sleep(0)
    assert not second.done()
    numbers.disk.set()
    await asyncio.gather(first, second)
    assert numbers.written == [[1], [2]]


async def test_a_flush_that_is_given_up_stops_no_writing() -> None:
    numbers = Numbers(pause=3600)
    numbers.disk.clear()
    numbers.add(1)
    flush = asyncio.create_task(numbers.batches.flush())
    await numbers.begun.wait()
    flush.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flush
    numbers.disk.set()
    await numbers.until([1])


async def test_on_a_busy_server_a_flush_ends() -> None:
    numbers = Numbers(pause=3600)
    write = numbers.batches._write

    async def writing_while_more_comes() -> None:
        await write()
        numbers.add(len(numbers.written))

    numbers.batches._write = writing_while_more_comes
    numbers.add(0)
    async with asyncio.timeout(60):
        await numbers.batches.flush()
    assert numbers.written == [[0], [1]]


async def test_a_mistake_of_ours_ends_one_batch_only() -> None:
    numbers = Numbers(pause=3600)
    numbers.add(13)
    with pytest.raises(ValueError, match="thirteen"):
        await numbers.batches.flush()
    numbers.add(14)
    await numbers.batches.flush()
    assert numbers.written == [[14]]


def test_what_is_given_up_is_told_the_first_time_and_each_thousand() -> None:
    batches = Numbers(pause=3600).batches
    with capture_logs() as lines:
        for number in (1, 5, 900, 93, 1, 3_500, 1):
            batches.lose(number, "the disk is full")
    assert [line["lost"] for line in lines] == [1, 1_000, 4_500] and batches.lost == 4_501
    assert lines[0]["reason"] == "the disk is full"
