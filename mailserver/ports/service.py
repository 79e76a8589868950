"""What the supervisor runs (app/supervise.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

__all__ = ["Service"]


class Service(Protocol):
    """A long-running part of the process: a listener, the queue runner, the admin API, a plugin's own."""

    @property
    def name(self) -> str:
        """For the log."""
        ...

    async def run(self, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then finish what is in hand and return.

        Calls `ready` once, when it serves. Returning before `stopping`, or raising, ends the process (systemd
        restarts it).
        Being cancelled means: the time for finishing is over, abort.
        """
        ...
