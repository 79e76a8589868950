"""What becomes true soon: waited for, with a bound that only something which hangs reaches, on a starved machine too.

A server does one thing after the other: a report is visible before its item has left the queue, an answer is sent
before its line is in the log. A test that has seen one of them waits for the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE", "soon", "until"]

_T = TypeVar("_T")
#: Seconds.
PATIENCE = 60.0
_PAUSE = 0.02


def until(check: Callable[[], _T], otherwise: Callable[[], object] | str = "it does not come about") -> _T:
    """The first true value of `check`. `otherwise`: what to say when there is none."""
    deadline = time.monotonic() + PATIENCE
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(otherwise if isinstance(otherwise, str) else otherwise())
        time.sleep(_PAUSE)
    return found


async def soon(check: Callable[[], _T], otherwise: Callable[[], object] | str = "it does not come about") -> _T:
    """As `until`, while the loop goes on. `check` must not block it: `asyncio.to_thread(until, ...)` is for those."""
    deadline = time.monotonic() + PATIENCE
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(otherwise if isinstance(otherwise, str) else otherwise())
        await asyncio.sleep(_PAUSE / 10)
    return found
