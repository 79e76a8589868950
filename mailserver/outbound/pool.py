"""Connections that wait for the next message to the same destination, for seconds, and within bounds.

Each is as good as on the day it was opened: under the policy of its destination, logged in where that is needed. A
connection is handed out once, the one that was used last first; what is broken, old or full is let go. One timer looks
after all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mailserver.model.delivery import Destination
from mailserver.outbound.opening import OpenConnection
from mailserver.outbound.settings import SendingSettings

__all__ = ["Pool"]


class Pool:
    """One for the sender."""

    def __init__(self, settings: SendingSettings) -> None:
        self._settings = settings
        self._idle: dict[Destination, list[OpenConnection]] = {}
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._count

    def take(
        self, destination: Destination, suits: Callable[[OpenConnection], bool] | None = None
    ) -> OpenConnection | None:
        """A connection that waits for this destination, and suits."""
        waiting = self._idle.get(destination)
        now = asyncio.get_running_loop().time()
        while waiting:
            connection = waiting[-1]
            if connection.wire.usable and self._young(connection, now):
                if suits is not None and not suits(connection):
                    return None
                waiting.pop()
                self._forget(destination, waiting)
                return connection
            waiting.pop()
            self._forget(destination, waiting)
            connection.wire.goodbye()
        return None

    def put(self, destination: Destination, connection: OpenConnection) -> None:
        """It has served; it waits for another message, or is let go."""
        settings, loop = self._settings, asyncio.get_running_loop()
        connection.used = loop.time()
        if (
            not connection.wire.usable
            or not self._young(connection, connection.used)
            or not settings.reuse_idle
            or not settings.idle_connections
        ):
            connection.wire.goodbye()
            return
        if self._count >= settings.idle_connections:
            self._let_go_oldest()
        self._idle.setdefault(destination, []).append(connection)
        self._count += 1
        if self._timer is None:
            self._timer = loop.call_later(settings.reuse_idle, self._sweep)

    async def close(self) -> None:
        """Say goodbye to all of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = [connection for group in self._idle.values() for connection in group]
        self._idle.clear()
        self._count = 0
        await asyncio.gather(*(connection.wire.quit() for connection in waiting))

    def _young(self, connection: OpenConnection, now: float) -> bool:
        most = self._settings.reuse_messages
        if connection.features.messages:
            most = min(most, connection.features.messages)
        return now - connection.opened < self._settings.reuse_age and connection.transactions < most

    def _forget(self, destination: Destination, waiting: list[OpenConnection]) -> None:
        self._count -= 1
        if not waiting:
            self._idle.pop(destination, None)

    def _let_go_oldest(self) -> None:
        # The first of a group has waited longest there.
        destination, waiting = min(self._idle.items(), key=lambda item: item[1][0].used)
        connection = waiting.pop(0)
        self._forget(destination, waiting)
        connection.wire.goodbye()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        limit = loop.time() - self._settings.reuse_idle
        for destination, waiting in list(self._idle.items()):
            while waiting and (waiting[0].used <= limit or not waiting[0].wire.usable):
                connection = waiting.pop(0)
                self._forget(destination, waiting)
                connection.wire.goodbye()
        oldest = min((group[0].used for group in self._idle.values()), default=None)
        self._timer = None if oldest is None else loop.call_at(oldest + self._settings.reuse_idle, self._sweep)
