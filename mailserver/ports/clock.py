"""Time, so that tests can hold it."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Wall time for what is written down, monotonic time for what is waited for."""

    def time(self) -> float:
        """Seconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        ...


class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        """As `time.time`."""
        return time.time()

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return time.monotonic()
