from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.stores import Harness, OpenStore, maildir_store, memory_store


@pytest.fixture(params=["memory", "maildir"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenStore:
    """Opens the store under test; a durable one can be opened again."""
    if request.param == "memory":
        return memory_store()
    if importlib.util.find_spec("mailserver.storage.maildir.store") is None:
        pytest.skip("there is no Maildir store here")
    return maildir_store(tmp_path / "maildir", monkeypatch)


@pytest.fixture
async def harness(open_store: OpenStore) -> AsyncIterator[Harness]:
    async with open_store() as harness:
        yield harness
