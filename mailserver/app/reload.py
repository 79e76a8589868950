"""SIGHUP: read the configuration again, build everything new from it, and swap, or refuse and change nothing.

What can change while serving: domains, plugins and their order, certificates, limits, resolvers, the log. Everything
else needs a restart, and a reload that asks for it is refused as a whole: half of a new configuration is nobody's
configuration.
"""

from __future__ import annotations

import asyncio
import signal
import time

import structlog

from mailserver.app import logs
from mailserver.app.application import Application
from mailserver.app.checks import environment_problems
from mailserver.app.config import Config
from mailserver.app.eventlog import log_event
from mailserver.app.load import ConfigurationError, Loaded, Problem, read, validate
from mailserver.app.plugins import plugins_of, server_part
from mailserver.hooks.loading import LoadedPlugin
from mailserver.hooks.running import PluginSetupFailed
from mailserver.net.systemd import Notifier

__all__ = ["RELOADABLE", "Reloader"]

log = structlog.get_logger()

#: Keys and sections that a reload may change.
RELOADABLE = frozenset(("dns", "domains", "limits", "log", "plugin_order", "plugins", "sendmail", "tls"))
#: Settings of these sections that are built into pools, counters and sockets when the server starts.
_FIXED = {
    "limits": ("drain", "password_hashes", "password_queue", "tls_handshake", "trusted"),
    "sendmail": ("enabled", "socket", "max_size"),
}
#: What plugins contribute to parts that are built once.
_AT_START = ("http_routes", "imap_command", "service", "store")


class Reloader:
    """Reloads one application; requests that come while one runs are served by one more run after it."""

    def __init__(self, app: Application, notifier: Notifier) -> None:
        self._app = app
        self._notifier = notifier
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def on_signal(self, loop: asyncio.AbstractEventLoop) -> None:
        """SIGHUP means reload."""
        self._task = loop.create_task(self._run(), name="reload")
        loop.add_signal_handler(signal.SIGHUP, self._wanted.set)

    def close(self) -> None:
        """Reload no more."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        # Its default would end the process in the middle of the last flush.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                await self.reload()
            except ConfigurationError as error:
                for problem in error.problems:
                    log.error("reload refused", problem=str(problem))
                status = "Serving mail; the last reload was refused, see the log"
            except Exception:
                log.exception("reload failed")
                status = "Serving mail; the last reload failed, see the log"
            else:
                log.info("reloaded", file=str(self._app.loaded.document.file))
                status = "Serving mail"
            self._notifier.send("READY=1", f"STATUS={status}")

    async def reload(self) -> None:
        """Swap to what the file says now.

        Raises:
            ConfigurationError: the old configuration is still served, whole.
        """
        new, plugins = self._read()
        app, config = self._app, new.config
        # Certificates, plugins and values were found to be good; what can still fail comes first, and is undone.
        if problems := app.directory.reload(config.domains):
            raise ConfigurationError(new.document.located(problem) for problem in problems)
        try:
            await app.plugins.start([server_part([log_event, app.metrics.observe]), *plugins])
        except BaseException as error:
            app.directory.reload(app.loaded.config.domains)
            if isinstance(error, PluginSetupFailed):
                raise ConfigurationError([new.document.problem(("plugins", error.plugin), str(error))]) from None
            raise
        self._tell_what_stays()
        app.tls.reload(config.tls)
        app.apply_limits(config.limits)
        app.smtp.local.update(config.sendmail)
        app.resolver.servers.update(config.dns)
        if config.log != app.loaded.config.log:
            logs.configure(config.log.level, config.log.format)
        app.loaded = new

    def _tell_what_stays(self) -> None:
        hooks = self._app.hooks
        fixed = [f"{c.plugin}: {point} {c.name}" for point in _AT_START for c in hooks.contributions(point)]
        if fixed:
            log.warning("these parts of plugins take effect at a restart only", parts=fixed)

    def _read(self) -> tuple[Loaded, list[LoadedPlugin]]:
        document = read(self._app.loaded.document.file)
        new, problems = validate(document)
        order = document.raw.get("plugin_order")
        if new is not None:
            order = new.config.plugin_order
            problems += environment_problems(new)
            problems += self._unchangeable(new)
        plugins, found = plugins_of(document, order if isinstance(order, list) else [])
        problems += found
        if new is None or problems:
            raise ConfigurationError(problems)
        return new, plugins

    def _unchangeable(self, new: Loaded) -> list[Problem]:
        old = self._app.loaded.config
        problems = []
        for name in Config.model_fields:
            before, after = getattr(old, name), getattr(new.config, name)
            if before == after or (name in RELOADABLE and name not in _FIXED):
                continue
            keys = _FIXED[name] if name in _FIXED else getattr(type(after), "model_fields", {})
            changed: list[tuple[str, ...]] = [
                (name, key) for key in keys if getattr(before, key) != getattr(after, key)
            ]
            if name in _FIXED and not changed:
                continue
            for path in changed or [(name,)]:
                problems.append(new.document.problem(path, "cannot change while the server runs; restart it"))
        return problems
