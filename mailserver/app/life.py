"""One life of the server: build, serve until told to stop, take down; and what is told to whom meanwhile."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from mailserver.app.application import Application
from mailserver.app.build import build
from mailserver.app.checks import account_warnings
from mailserver.app.demo import announce_demo, prepare_demo
from mailserver.app.health import HealthService, watchdog_interval
from mailserver.app.load import Loaded
from mailserver.app.operations import Operations
from mailserver.app.paths import control_link, control_socket, state_dir, submit_link, submit_socket
from mailserver.app.reload import Reloader
from mailserver.app.supervise import Stop, supervise
from mailserver.net.control import ControlServer
from mailserver.net.systemd import InheritedSockets, Notifier
from mailserver.net.unix import remove_socket
from mailserver.ports.service import Service

__all__ = ["serve"]

log = structlog.get_logger()

#: Beyond limits.drain: for services to end after their connections did.
DRAIN_MARGIN = 5.0
EXIT_GOOD, EXIT_FAILED = 0, 1
#: The disk cannot be trusted; systemd starts the server again, since a new process may be luckier.
EXIT_DISK = 70
#: Seconds between two times at which the collector is told that what the queue found stays.
_FREEZE = 0.5


async def serve(loaded: Loaded, sockets: InheritedSockets, notifier: Notifier, *, demo: bool) -> int:
    """Until SIGTERM or a failure; the exit code. Raises what `build` raises."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    stop.on_signals(loop)
    async with AsyncExitStack() as stack:
        app = await build(loaded, stack, sockets)
        password = await prepare_demo(app) if demo else None
        for warning in account_warnings(loaded.config, app.directory):
            log.warning(warning)
        life = _Life(app, notifier, stop)
        app.store.faults.on_broken = life.disk_broke
        reloader = Reloader(app, notifier)
        reloader.on_signal(loop)

        def ready() -> None:
            life.ready()
            if demo:
                announce_demo(app, password)

        drain = loaded.config.limits.drain + DRAIN_MARGIN
        try:
            services = _services(app, notifier, stack)
            await supervise(services, stop, drain=drain, on_ready=ready, on_stopping=life.stopping)
        except* Exception:
            # `supervise` logged which service it was, and why.
            log.critical("the server ends because a service failed")
            life.code = life.code or EXIT_FAILED
        finally:
            reloader.close()
            life.close()
    log.info("stopped")
    return life.code


class _Life:
    """Its phases, as systemd, /health and the log are told them."""

    def __init__(self, app: Application, notifier: Notifier, stop: Stop) -> None:
        self._app = app
        self._notifier = notifier
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._recovering: asyncio.Task[None] | None = None
        self.code = EXIT_GOOD

    def ready(self) -> None:
        """All services serve."""
        self._app.health.serving = True
        addresses = {name: _shown(bound) for name, bound in self._app.addresses().items() if bound}
        log.info("ready", **addresses)
        self._notifier.send("READY=1", "STATUS=Serving mail")
        # What was built now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        self._recovering = self._loop.create_task(self._while_recovering(), name="queue-freeze")

    async def _while_recovering(self) -> None:
        """What waits in the queue is found after the start, and stays as well: a look of the collector at a hundred
        thousand messages would hold everybody for a seventh of a second."""
        recovered = asyncio.ensure_future(self._app.queue.recovered())
        try:
            while not recovered.done():
                await asyncio.wait({recovered}, timeout=_FREEZE)
                gc.freeze()
        finally:
            recovered.cancel()

    def close(self) -> None:
        """At the end."""
        if self._recovering is not None:
            self._recovering.cancel()

    def stopping(self) -> None:
        """The first phase of the end begins."""
        self._app.health.serving = False
        log.info("stopping")
        self._notifier.send("STOPPING=1", "STATUS=Finishing what is in hand")

    def disk_broke(self) -> None:
        """The store gave up; called in whatever thread saw it."""
        self._loop.call_soon_threadsafe(self._end_because_of_the_disk)

    def _end_because_of_the_disk(self) -> None:
        log.critical("the server ends because the disk fails; nothing that failed was acknowledged")
        self.code = EXIT_DISK
        if not self._stop.requested.is_set():
            self._stop()


def _services(app: Application, notifier: Notifier, stack: AsyncExitStack) -> list[Service]:
    """In the order in which they start: whoever can connect finds everything behind it running."""
    data_dir = app.loaded.data_dir
    path = control_socket(data_dir, os.environ)
    _link(control_link(data_dir), path, stack)
    if app.loaded.config.sendmail.enabled:
        _link(submit_link(data_dir), submit_socket(data_dir, os.environ, app.loaded.config.sendmail.socket), stack)
    return [
        HealthService(app.health, state_dir(data_dir) / "probe", notifier, watchdog_interval(os.environ)),
        *app.services,
        ControlServer(path, Operations(app)),
        app.http,
        *app.listeners,
    ]


def _link(link: Path, path: Path, stack: AsyncExitStack) -> None:
    """Commands look beside the data; they do not know the runtime directory of the service."""
    if path != link:
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        stack.callback(remove_socket, link)


def _shown(bound: Sequence[tuple[str, int]]) -> list[str]:
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in bound]
