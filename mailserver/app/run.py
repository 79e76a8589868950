"""`serve`, from the configuration to the exit code."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack

import structlog
import uvloop

from mailserver.app import logs
from mailserver.app.application import Application
from mailserver.app.build import LISTENERS, build
from mailserver.app.checks import environment_problems, environment_warnings
from mailserver.app.demo import announce_demo, prepare_demo
from mailserver.app.health import HealthService, watchdog_interval
from mailserver.app.load import ConfigurationError, Loaded, Problem, find, read, validate
from mailserver.app.lock import data_lock
from mailserver.app.operations import Operations
from mailserver.app.paths import control_link, control_socket, state_dir
from mailserver.app.plugins import plugins_of
from mailserver.app.reload import Reloader
from mailserver.app.supervise import Stop, supervise
from mailserver.net.control import ControlServer
from mailserver.net.systemd import InheritedSockets, Notifier, inherited_sockets
from mailserver.ports.service import Service

__all__ = ["load_everything", "run"]

log = structlog.get_logger()

#: Beyond limits.drain: for services to end after their connections did.
DRAIN_MARGIN = 5.0


def load_everything(named: str | None) -> Loaded:
    """The configuration with all that is wrong with it, its plugins and its files. Raises ConfigurationError."""
    document = read(find(named))
    loaded, problems = validate(document)
    if loaded is not None:
        problems += environment_problems(loaded)
    order = document.raw.get("plugin_order")
    _, found = plugins_of(document, order if isinstance(order, list) else [])
    problems += found
    if loaded is None or problems:
        raise ConfigurationError(problems)
    return loaded


def run(named: str | None, *, demo: bool = False) -> int:
    """Serve until told to stop; the exit code.

    Raises:
        ConfigurationError: nothing was started.
        DataLocked, OSError: another server has the data, or a file or port cannot be had.
    """
    # Until the reloader listens: a reload that comes too early has nothing to do, but must not end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    loaded = load_everything(named)
    config = loaded.config
    logs.configure(config.log.level, config.log.format)
    for warning in environment_warnings(loaded):
        log.warning(warning)
    try:
        sockets = inherited_sockets(os.environ, LISTENERS)
    except ValueError as error:
        raise ConfigurationError([Problem("socket activation", None, "", str(error))]) from None
    _raise_file_limit()
    os.umask(0o077)
    factory = uvloop.new_event_loop if config.event_loop == "uvloop" else asyncio.new_event_loop
    with ExitStack() as stack:
        stack.enter_context(data_lock(loaded.data_dir))
        notifier = Notifier(os.environ.get("NOTIFY_SOCKET", ""))
        stack.callback(notifier.close)
        runner = stack.enter_context(asyncio.Runner(loop_factory=factory))
        return runner.run(_serve(loaded, sockets, notifier, demo=demo))


async def _serve(loaded: Loaded, sockets: InheritedSockets, notifier: Notifier, *, demo: bool) -> int:
    code = 0
    stop = Stop()
    loop = asyncio.get_running_loop()
    stop.on_signals(loop)
    async with AsyncExitStack() as stack:
        app = await build(loaded, stack, sockets)
        if demo:
            password = await prepare_demo(app)
        reloader = Reloader(app, notifier)
        reloader.on_signal(loop)
        services = _services(app, notifier, stack)

        def on_ready() -> None:
            app.health.serving = True
            log.info("ready", **{name: _shown(bound) for name, bound in app.addresses().items() if bound})
            notifier.send("READY=1", "STATUS=Serving mail")
            if demo:
                announce_demo(app, password)
            # What was built now lives as long as the process: the collector need not look at it again.
            gc.collect()
            gc.freeze()

        def on_stopping() -> None:
            app.health.serving = False
            log.info("stopping")
            notifier.send("STOPPING=1", "STATUS=Finishing what is in hand")

        drain = loaded.config.limits.drain + DRAIN_MARGIN
        try:
            await supervise(services, stop, drain=drain, on_ready=on_ready, on_stopping=on_stopping)
        except* Exception:
            # `supervise` logged which service it was, and why.
            log.critical("the server ends because a service failed")
            code = 1
        finally:
            reloader.close()
    log.info("stopped")
    return code


def _services(app: Application, notifier: Notifier, stack: AsyncExitStack) -> list[Service]:
    """In the order in which they start: whoever can connect finds everything behind it running."""
    data_dir = app.loaded.data_dir
    path, link = control_socket(data_dir, os.environ), control_link(data_dir)
    if path != link:
        # Commands look beside the data; they do not know the runtime directory of the service.
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        stack.callback(link.unlink, missing_ok=True)
    return [
        HealthService(app.health, state_dir(data_dir) / "probe", notifier, watchdog_interval(os.environ)),
        *app.services,
        ControlServer(path, Operations(app)),
        app.http,
        *app.listeners,
    ]


def _shown(bound: Sequence[tuple[str, int]]) -> list[str]:
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in bound]


def _raise_file_limit() -> None:
    """As many open files as the system lets us have: every connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            print(f"open files stay at {soft}: {error}", file=sys.stderr)  # noqa: T201
