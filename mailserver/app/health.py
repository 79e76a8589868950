"""Is the process worth keeping alive, and does it take mail now? For systemd's watchdog, /health and metrics.

The watchdog is told "alive" only while the event loop turns and the disk takes a write: a process that answers no one,
or whose disk is stuck (a dead NFS server), is better started again (ATTACKS N06).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from mailserver.net.space import DiskSpace
from mailserver.net.systemd import Notifier
from mailserver.ports.clock import Clock

__all__ = ["Health", "HealthService", "watchdog_interval"]

log = structlog.get_logger()

TICK = 0.5
MAX_LAG = 1.0
PROBE_INTERVAL = 10.0
PROBE_LIMIT = 20.0


class Health:
    """What is known; plain values, written on the event loop."""

    def __init__(self, space: DiskSpace, clock: Clock) -> None:
        self._space = space
        self._clock = clock
        self._written = clock.monotonic()
        self._last_tick = clock.monotonic()
        self._probe_error = ""
        self.lag = 0.0
        self.serving = False

    def tick(self) -> None:
        """Call every TICK seconds: how late this is, is the loop's lag."""
        now = self._clock.monotonic()
        self.lag = max(0.0, now - self._last_tick - TICK)
        self._last_tick = now

    def probe_ended(self, error: str) -> None:
        """A probe write came to its end; "" when it is durable."""
        self._probe_error = error
        if not error:
            self._written = self._clock.monotonic()

    def live(self) -> list[str]:
        """Faults that a restart may mend."""
        faults = []
        if self.lag > MAX_LAG:
            faults.append(f"the event loop was {self.lag:.1f} s late")
        if (age := self._clock.monotonic() - self._written) > PROBE_LIMIT:
            why = f" ({self._probe_error})" if self._probe_error else ""
            faults.append(f"no write to the data directory succeeded for {age:.0f} s{why}")
        return faults

    def ready(self) -> list[str]:
        """Faults that keep mail from being taken in now."""
        faults = self.live()
        if not self.serving:
            faults.append("starting or stopping")
        if self._probe_error:
            faults.append(f"the data directory cannot be written: {self._probe_error}")
        if fault := self._space.fault():
            faults.append(fault)
        return faults


class HealthService:
    """Measures, and tells systemd's watchdog every `interval` seconds (0: nobody asked)."""

    name = "health"

    def __init__(self, health: Health, probe_file: Path, notifier: Notifier, interval: float) -> None:
        self._health = health
        self._probe_file = probe_file
        self._notifier = notifier
        self._interval = interval
        self._probing = False

    async def run(self, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        """Until `stopping`; while the others finish, systemd's own stop timeout watches."""
        loop = asyncio.get_running_loop()
        next_probe = next_ping = loop.time()
        ready()
        while not stopping.is_set():
            self._health.tick()
            now = loop.time()
            if now >= next_probe and not self._probing:
                self._start_probe(loop)
                next_probe = now + PROBE_INTERVAL
            if self._interval and now >= next_ping:
                next_ping = now + self._interval
                self.ping()
            try:
                await asyncio.wait_for(stopping.wait(), TICK)
            except TimeoutError:
                continue

    def ping(self) -> None:
        """Tell the watchdog that all is well, unless it is not."""
        faults = self._health.live()
        if faults:
            log.error("not well, the watchdog is not told otherwise", faults="; ".join(faults))
        else:
            self._notifier.send("WATCHDOG=1")

    def _start_probe(self, loop: asyncio.AbstractEventLoop) -> None:
        # A thread of its own that nobody waits for at exit: on a dead disk it never comes back.
        self._probing = True
        threading.Thread(target=self._probe, args=(loop,), name="disk-probe", daemon=True).start()

    def _probe(self, loop: asyncio.AbstractEventLoop) -> None:
        error = ""
        try:
            fd = os.open(self._probe_file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.pwrite(fd, b"mailserver\n", 0)
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as failure:
            error = failure.strerror or "input/output error"
        with contextlib.suppress(RuntimeError):  # the loop ended meanwhile
            loop.call_soon_threadsafe(self._ended, error)

    def _ended(self, error: str) -> None:
        self._probing = False
        self._health.probe_ended(error)


def watchdog_interval(environ: Mapping[str, str]) -> float:
    """Seconds between two signs of life, from $WATCHDOG_USEC (sd_watchdog_enabled(3)); 0 when nobody waits for them."""
    limit, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (limit.isascii() and limit.isdecimal()) or (pid and pid != str(os.getpid())):
        return 0.0
    return min(PROBE_INTERVAL, int(limit) / 1e6 / 3)
