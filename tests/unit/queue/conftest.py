from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailserver.queue.disk import DiskQueue
from mailserver.queue.settings import QueueSettings
from tests.helpers.clock import FakeClock


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".server" / "queue"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def queue(root: Path, clock: FakeClock) -> AsyncIterator[DiskQueue]:
    async with DiskQueue(root, QueueSettings(), clock) as queue:
        await queue.recovered()
        yield queue
