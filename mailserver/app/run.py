"""`serve`, from the configuration to the exit code."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from contextlib import ExitStack

import structlog
import uvloop

from mailserver.app import logs
from mailserver.app.build import LISTENERS
from mailserver.app.checks import environment_problems, environment_warnings
from mailserver.app.life import serve
from mailserver.app.load import ConfigurationError, Loaded, Problem, find, read, validate
from mailserver.app.lock import data_lock
from mailserver.app.plugins import plugins_of
from mailserver.net.accept_faults import AcceptFaults
from mailserver.net.systemd import InheritedSockets, Notifier, inherited_sockets

__all__ = ["load_everything", "run"]

log = structlog.get_logger()

#: Seconds for tasks that were cancelled when everything else had ended.
_LAST_TASKS = 2.0


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
        return runner.run(_live(loaded, sockets, notifier, demo=demo))


async def _live(loaded: Loaded, sockets: InheritedSockets, notifier: Notifier, *, demo: bool) -> int:
    """`serve`, and the end of the process even if a plugin's task swallows its cancellation: asyncio would wait for it.

    By then everything of ours is closed, and the kernel gives back the lock.
    """
    asyncio.get_running_loop().set_exception_handler(AcceptFaults())
    code = await serve(loaded, sockets, notifier, demo=demo)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    stuck = (await asyncio.wait(left, timeout=_LAST_TASKS))[1] if left else ()
    if stuck:
        log.error("tasks that do not end are left behind", count=len(stuck))
        # The log is written at the end of the loop's turn.
        await asyncio.sleep(0)
        os._exit(code)
    return code


def _raise_file_limit() -> None:
    """As many open files as the system lets us have: every connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            print(f"open files stay at {soft}: {error}", file=sys.stderr)  # noqa: T201
