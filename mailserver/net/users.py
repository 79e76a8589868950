"""The users of this machine, as its name service knows them. Asking it may block (LDAP), so it is asked in a thread."""

from __future__ import annotations

import asyncio
import pwd

from mailserver.net.workers import Workers
from mailserver.ports.clock import Clock

__all__ = ["UserNames"]

_REMEMBERED = 60.0
_PATIENCE = 5.0
_MOST = 1000


class UserNames:
    """Answers are remembered for a minute. Without an answer in five seconds a user has no name, or does not exist."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._workers: Workers | None = None
        self._known: dict[int | str, tuple[float, str]] = {}

    async def name(self, uid: int) -> str:
        """The name of a user; "" when there is none."""
        return await self._ask(uid)

    async def exists(self, name: str) -> bool:
        """Is there a user of this name?"""
        return await self._ask(name) == name

    def close(self) -> None:
        """Ask no more."""
        if self._workers is not None:
            self._workers.close()

    async def _ask(self, user: int | str) -> str:
        now = self._clock.monotonic()
        until, name = self._known.get(user, (0.0, ""))
        if now < until:
            return name
        if self._workers is None:
            self._workers = Workers(asyncio.get_running_loop(), "users", 1)
        try:
            async with asyncio.timeout(_PATIENCE):
                name = await self._workers.run(_look_up, user)
        except TimeoutError:
            return ""
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[user] = (now + _REMEMBERED, name)
        return name


def _look_up(user: int | str) -> str:
    try:
        entry = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    except (KeyError, ValueError, OSError, UnicodeError):
        return ""
    return entry.pw_name
