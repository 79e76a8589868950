"""The life of the process: services start one after the other, run together, and stop in two phases.

    starting ──every service ready──▶ running ──stop()──▶ stopping ──all returned──▶ ended
        │                               │                    │ deadline, or stop() again
        └──a service fails──────────────┴──▶ ended (failure) └──▶ cancelled ──▶ ended

A service that fails or returns early ends the process: systemd starts it again, and nothing that was acknowledged is
lost by that. A connection that fails is not a service: it belongs to its listener.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence

import structlog

from mailserver.ports.service import Service

__all__ = ["ServiceExited", "Stop", "supervise"]

log = structlog.get_logger()


class ServiceExited(Exception):
    """A service returned although nobody asked it to."""


class Stop:
    """The wish to stop: the first time gently, the second time at once."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.hurry = asyncio.Event()

    def __call__(self) -> None:
        """Ask for it."""
        (self.hurry if self.requested.is_set() else self.requested).set()

    def on_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """SIGTERM and SIGINT (Ctrl-C) mean stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self)


async def supervise(
    services: Sequence[Service],
    stop: Stop,
    *,
    drain: float,
    on_ready: Callable[[], None],
    on_stopping: Callable[[], None],
) -> None:
    """Run `services` until `stop` is called; they get `drain` seconds to finish what is in hand.

    Raises:
        BaseExceptionGroup: of what the failed service raised, or ServiceExited.
    """
    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[None]] = []
        for service in services:
            ready = asyncio.Event()
            tasks.append(group.create_task(_guard(service, ready, stop), name=service.name))
            # A failing service cancels this wait through the group; a stop during the start ends it too.
            await _first(ready, stop.requested)
            if stop.requested.is_set():
                break
        else:
            on_ready()
        await stop.requested.wait()
        on_stopping()
        await _drain(group, tasks, stop, drain)


async def _guard(service: Service, ready: asyncio.Event, stop: Stop) -> None:
    try:
        await service.run(ready.set, stop.requested)
    except OSError as error:
        # A port in use, a disk that fails: the words are enough, and a stack of ours would only hide them.
        log.error("service failed", service=service.name, error=error.strerror or str(error))
        raise
    except Exception:
        log.exception("service failed", service=service.name)
        raise
    if not stop.requested.is_set():
        log.error("service ended by itself", service=service.name)
        raise ServiceExited(service.name)


async def _first(*events: asyncio.Event) -> None:
    """Until one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _drain(group: asyncio.TaskGroup, tasks: Sequence[asyncio.Task[None]], stop: Stop, drain: float) -> None:
    """Phase one: let them finish, for `drain` seconds or until stop is asked for again. Phase two: cancel."""
    hurry = group.create_task(stop.hurry.wait())
    pending: set[asyncio.Task[None]] = {task for task in tasks if not task.done()}
    try:
        async with asyncio.timeout(drain):
            while pending and not hurry.done():
                _, left = await asyncio.wait({*pending, hurry}, return_when=asyncio.FIRST_COMPLETED)
                pending = {task for task in pending if task in left}
    except TimeoutError:
        pass
    hurry.cancel()
    for task in pending:
        log.warning("service stopped late", service=task.get_name())
        task.cancel()
