"""Connections that cannot be taken because no file is left: told once in a while, not a thousand times a second.

asyncio's own loop reports each failure of accept with its stack, as often as the queue of the socket is long (ATTACKS
B06). uvloop closes such connections and says nothing.
"""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import structlog

__all__ = ["AcceptFaults"]

_log = structlog.get_logger()
_OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
#: Seconds between two lines.
_PAUSE = 10.0


class AcceptFaults:
    """An exception handler for the event loop; what is no failure of accept goes the usual way."""

    def __init__(self) -> None:
        self._again = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """As `loop.set_exception_handler` wants it."""
        error = context.get("exception")
        if "socket" not in context or not isinstance(error, OSError) or error.errno not in _OUT_OF_RESOURCES:
            loop.default_exception_handler(context)
            return
        now = loop.time()
        if now >= self._again:
            self._again = now + _PAUSE
            _log.error(
                "connections wait: no file is left for them; raise the limit of open files (LimitNOFILE), or lower"
                " limits.connections_total", error=errno.errorcode[error.errno],
            )  # fmt: skip
