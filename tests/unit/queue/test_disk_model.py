"""Random steps on a queue, with a disk that fails at random, compared with a model; and what a restart makes of it."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.errors import MailError
from mailserver.model.ids import QueueId
from mailserver.ports.reports import Action
from mailserver.queue import commit
from mailserver.queue.disk import DiskQueue
from mailserver.queue.record import Done, Dot, Fail, Free, Hold, Plan, Record, Told, Try
from mailserver.queue.settings import QueueSettings
from mailserver.queue.state import Item
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.spool import LATER, NO, SENT, envelope

_FAILING = ("open", "writev", "pwrite", "fdatasync", "rename", "unlink")


class Weather:
    """Lets calls of `os` fail now and then; never a directory's sync, after which there is only a restart."""

    def __init__(self, chance: random.Random, patch: pytest.MonkeyPatch) -> None:
        self.bad = 0.0
        self._chance = chance
        for name in _FAILING:
            patch.setattr(os, name, self._sometimes(getattr(os, name)))

    def _sometimes(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if self._chance.random() < self.bad:
                raise OSError(self._chance.choice([errno.ENOSPC, errno.EDQUOT, errno.EMFILE]), "bad weather")
            return real(*args, **named)

        return call


class Walk:
    """One walk. `there` is what must be in the queue; `unwritten` of that, what the disk lacks something of."""

    def __init__(self, root: Path, chance: random.Random, weather: Weather) -> None:
        self.root = root
        self.chance = chance
        self.weather = weather
        self.clock = FakeClock()
        self.there: dict[QueueId, Item] = {}
        self.bodies: dict[QueueId, bytes] = {}
        self.unwritten: set[QueueId] = set()
        self.number = 0
        self.queue = DiskQueue(root, QueueSettings(), self.clock)

    async def step(self) -> None:
        if not self.there or self.chance.random() < 0.25:
            await self.inject()
            return
        queue_id = self.chance.choice(list(self.there))
        await self.chance.choice([self.record, self.record, self.record, self.read, self.finish])(queue_id)

    async def tried(self, work: Awaitable[object]) -> bool:
        try:
            await work
        except MailError:
            return False
        return True

    async def inject(self) -> None:
        self.number += 1
        queue_id = QueueId(f"{self.number:016d}")
        body = self.chance.randbytes(self.chance.choice([0, 100, 5000, (1 << 20) + 1]))
        to = envelope(*(f"r{number}@x.test" for number in range(self.chance.randint(1, 3))))
        if await self.tried(self.queue.inject(queue_id, to, BytesContent(body))):
            self.bodies[queue_id] = body
            self.there[queue_id] = self.queue.item(queue_id)
        else:
            assert queue_id not in self.queue.ids()

    async def record(self, queue_id: QueueId) -> None:
        kinds: list[Callable[[tuple[int, ...]], Record]] = [
            lambda to: Try(at=1.0, recipients=to, next_attempt=self.chance.random() * 1e9, result=LATER),
            lambda to: Dot(at=2.0, recipients=to),
            lambda to: Done(at=3.0, recipients=to, result=SENT),
            lambda to: Fail(at=4.0, recipients=to, result=NO),
            lambda to: Told(at=5.0, recipients=to, action=self.chance.choice(list(Action))),
            lambda to: Hold(at=6.0, recipients=to, until=self.chance.choice([None, 1e9])),
            lambda to: Free(at=7.0, recipients=to),
            lambda to: Plan(at=8.0, next_attempt=self.chance.random() * 1e9),
        ]
        count = len(self.there[queue_id].recipients)
        records = [
            self.chance.choice(kinds)(tuple(self.chance.sample(range(count), self.chance.randint(1, count))))
            for _ in range(self.chance.randint(0, 3))
        ]
        durable = self.chance.random() < 0.5
        if await self.tried(self.queue.record(queue_id, *records, durable=durable)):
            self.unwritten.discard(queue_id)
        else:
            self.unwritten.add(queue_id)
        self.there[queue_id] = self.queue.item(queue_id)

    async def read(self, queue_id: QueueId) -> None:
        async def read() -> None:
            async with self.queue.content(queue_id) as content:
                parts = [await content.read(start, 400_000) for start in range(0, content.size, 400_000)]
                assert b"".join(parts) == self.bodies[queue_id]

        await self.tried(read())

    async def finish(self, queue_id: QueueId) -> None:
        waiting = self.queue.item(queue_id).waiting
        if await self.tried(self.queue.finish(queue_id, Done(at=9.0, recipients=waiting, result=SENT))):
            del self.there[queue_id]
            self.unwritten.discard(queue_id)
        else:
            self.there[queue_id] = self.queue.item(queue_id)
            self.unwritten.add(queue_id)

    async def restart(self) -> None:
        self.weather.bad = 0.0
        for queue_id in list(self.unwritten):
            # Refused for good where a sync has failed; written it is all the same, and no power fails here.
            await self.tried(self.queue.record(queue_id))
        self.unwritten.clear()
        await self.queue.__aexit__(None, None, None)
        await self.open()
        assert {item.queue_id: item for item in self.queue.items()} == self.there
        assert self.queue.set_aside == ()
        assert os.listdir(self.root / "tmp") == []

    async def open(self) -> None:
        self.queue = DiskQueue(self.root, QueueSettings(), self.clock)
        await self.queue.__aenter__()
        await self.queue.recovered()
        assert await self.queue.verify() == ()


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_in_memory_is_what_a_restart_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(commit, "_PATIENCE", 0.0)
    chance = random.Random(seed)
    walk = Walk(tmp_path / "queue", chance, Weather(chance, monkeypatch))
    await walk.open()
    try:
        for _ in range(4):
            walk.weather.bad = chance.choice([0.0, 0.1, 0.4])
            for _ in range(25):
                await walk.step()
            await walk.restart()
    finally:
        await walk.queue.__aexit__(None, None, None)
    assert walk.number > 10
