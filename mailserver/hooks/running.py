"""The life of plugins: each is set up, lives and is taken down in a task of its own.

Its task groups and time-outs may span all of that, then, and one that breaks down takes nobody else with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from mailserver.hooks.calling import place_of_error
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.loading import LoadedPlugin
from mailserver.hooks.plugin import Host
from mailserver.hooks.registry import Registry

__all__ = ["PluginSetupFailed", "RunningPlugins"]

_log = structlog.get_logger()
#: Seconds for `setup` to yield, and to clean up afterwards.
SETUP_TIME = 30.0
CLEANUP_TIME = 10.0


class PluginSetupFailed(Exception):
    """A plugin could not be set up; the text is for the operator."""

    def __init__(self, plugin: str, why: str) -> None:
        super().__init__(f"plugin {plugin} could not be set up: {why}")
        self.plugin = plugin


class RunningPlugins:
    """The plugins in use. `start` puts a set of them behind `hooks`; `start` again replaces it; `aclose` ends it."""

    def __init__(self, hooks: Hooks, host: Host) -> None:
        self._hooks = hooks
        self._host = host
        self._running: list[_Running] = []

    @property
    def loaded(self) -> list[LoadedPlugin]:
        """What runs, in the order in which it is asked."""
        return [running.loaded for running in self._running]

    async def start(self, plugins: Sequence[LoadedPlugin]) -> None:
        """Set these up, put their hooks in place at once, then take the present ones down. No connection notices.

        Raises:
            PluginSetupFailed: nothing was changed, and what had been set up was taken down again.
        """
        new: list[_Running] = []
        try:
            for loaded in plugins:
                running = _Running(loaded, self._host)
                new.append(running)
                await running.start()
        except BaseException:
            await _close(new)
            raise
        old, self._running = self._running, new
        await self._hooks.swap([running.registry for running in new])
        await _close(old)

    async def aclose(self) -> None:
        """Let observers finish, then take all plugins down, the last one first."""
        await self._hooks.aclose()
        old, self._running = self._running, []
        await _close(old)


async def _close(running: Sequence[_Running]) -> None:
    for one in reversed(running):
        await one.close()


class _Running:
    """One plugin in its task."""

    def __init__(self, loaded: LoadedPlugin, host: Host) -> None:
        self.loaded = loaded
        self.registry = Registry(loaded.options)
        self._host = host
        self._ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Until it is set up. Raises PluginSetupFailed."""
        self._task = asyncio.create_task(self._live(), name=f"plugin {self.loaded.name}")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({ready, self._task}, timeout=SETUP_TIME, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._ready.is_set():
            return
        if not self._task.done():
            raise PluginSetupFailed(self.loaded.name, f"not ready within {SETUP_TIME:g} s")
        error = None if self._task.cancelled() else self._task.exception()
        why = f"{place_of_error(error)}: {error}" if error else "it ended by itself"
        raise PluginSetupFailed(self.loaded.name, why)

    async def _live(self) -> None:
        try:
            async with self.loaded.plugin.setup(self.registry, self.loaded.settings, self._host):
                self._ready.set()
                await self._stop.wait()
        except SystemExit as error:
            # asyncio would end the process for it.
            raise RuntimeError("the plugin called sys.exit") from error
        finally:
            if self._ready.is_set() and not self._stop.is_set():
                _log.error("plugin ended by itself", plugin=self.loaded.name)

    async def close(self) -> None:
        """Take it down; a plugin that does not end is left behind."""
        if self._task is None:
            return
        self._stop.set()
        if not self._ready.is_set():
            self._task.cancel()
        _, pending = await asyncio.wait({self._task}, timeout=CLEANUP_TIME)
        if pending:
            self._task.cancel()
            _log.error("plugin does not end", plugin=self.loaded.name)
        elif not self._task.cancelled() and (error := self._task.exception()) is not None and self._ready.is_set():
            _log.error("plugin failed while it ended", plugin=self.loaded.name, error=place_of_error(error))
