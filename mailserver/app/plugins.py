"""The configuration's plugins: read with every problem at its line, and the server's own part in the hooks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mailserver.app.load import Document, Problem, explain
from mailserver.hooks.loading import CommonSettings, LoadedPlugin, PluginProblem, read_plugins
from mailserver.hooks.plugin import Host, Plugin
from mailserver.hooks.registry import HookOptions, OnError, Registry
from mailserver.hooks.settings import Settings
from mailserver.model.events import Event
from mailserver.plugins import BUILT_IN

__all__ = ["SERVER", "plugins_of", "server_part"]

#: The name under which the log and the metrics take part; no plugin can have it, since "." is not in a bare key.
SERVER = "mailserver.app"


def plugins_of(document: Document, order: list[str]) -> tuple[list[LoadedPlugin], list[Problem]]:
    """The enabled plugins in their order, imported and with their settings, and all that is wrong."""
    sections = document.raw.get("plugins", {})
    loaded, found = read_plugins(sections if isinstance(sections, dict) else {}, order, BUILT_IN, document.file.parent)
    return loaded, [problem for one in found for problem in _explained(one, document)]


def _explained(found: PluginProblem, document: Document) -> list[Problem]:
    if found.validation is None:
        return [document.problem(found.path, found.text)]
    name = str(found.path[1])
    model: type[Settings] = CommonSettings
    if found.validation.title != CommonSettings.__name__ and name in BUILT_IN:
        model = BUILT_IN[name].settings
    prefix = tuple(part for part in found.path if isinstance(part, str))
    return explain(found.validation, model, document, prefix)


def server_part(sinks: list[Callable[[Event], None]]) -> LoadedPlugin:
    """The event sinks of the server itself, as one more plugin: it survives a reload of the others."""

    @asynccontextmanager
    async def setup(registry: Registry, settings: Settings, host: Host) -> AsyncIterator[None]:
        for sink in sinks:
            registry.event_sink(sink)
        yield

    plugin = Plugin(name=SERVER, setup=setup)
    return LoadedPlugin(plugin, HookOptions(plugin=SERVER, on_error=OnError.SKIP), Settings(), "server")
