"""What became of each message, to be looked up for two weeks: `mailserver history`, `mailserver why`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mailserver import api
from mailserver.plugins.history.recorder import Recorder, open_recorder
from mailserver.plugins.history.searching import condition
from mailserver.plugins.history.settings import HistorySettings

__all__ = ["plugin"]

_MOST = 100_000
_USUAL = 100


class _Operations:
    """history.find and history.story."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def find(self, arguments: Mapping[str, Any]) -> Any:
        """Events, the newest first."""
        limit = arguments.get("limit", _USUAL)
        if type(limit) is not int or not 1 <= limit <= _MOST:
            raise api.InvalidInput(f"limit is a number from 1 to {_MOST}")
        where, values = condition(arguments)
        return await self._recorder.find(where, values, limit)

    async def story(self, arguments: Mapping[str, Any]) -> Any:
        """One message, by its queue id or Message-ID, with those that it led to."""
        name = arguments.get("id", "")
        if not isinstance(name, str) or not name.strip("<> "):
            raise api.InvalidInput("name a message by its queue id or its Message-ID")
        return await self._recorder.related(name.strip("<> "))


@asynccontextmanager
async def _setup(registry: api.Registry, settings: HistorySettings, host: api.Host) -> AsyncIterator[None]:
    path = host.data_dir / ".server" / "history.db"
    async with open_recorder(path, host.clock, keep=settings.keep, max_size=settings.max_size) as recorder:
        operations = _Operations(recorder)
        registry.event_sink(recorder.observe)
        registry.operation("history.find", operations.find)
        registry.operation("history.story", operations.story)
        yield


plugin = api.Plugin(
    name="history", setup=_setup, settings=HistorySettings, doc="Remembers what became of each message."
)
