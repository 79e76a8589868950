"""Plugins and hooks as `plugin list` and `plugin hooks` show them."""

from __future__ import annotations

from typing import Any

from mailserver.app.application import Application
from mailserver.app.plugins import SERVER
from mailserver.hooks.points import POINTS
from mailserver.hooks.reference import describe

__all__ = ["describe_hooks", "describe_plugins"]


def describe_plugins(app: Application) -> list[dict[str, Any]]:
    """One row per plugin in use, in the order in which they are asked."""
    counters = {counter.plugin: counter for counter in app.hooks.counters()}
    rows = []
    for loaded in app.plugins.loaded:
        if loaded.name == SERVER:
            continue
        counted = counters.get(loaded.name)
        rows.append(
            {
                "name": loaded.name,
                "source": loaded.source,
                "on_error": loaded.options.on_error.value,
                "timeout": loaded.options.timeout,
                "domains": sorted(loaded.options.domains or ()),
                "failures": counted.failures if counted else 0,
                "timeouts": counted.timeouts if counted else 0,
                "dropped_events": counted.dropped_events if counted else 0,
                "doc": loaded.plugin.doc,
            }
        )
    return rows


def describe_hooks(app: Application) -> list[dict[str, Any]]:
    """One row per hook point, with the plugins that use it now."""
    return [
        {
            "name": point.method,
            "kind": point.kind.value,
            "plugins": app.hooks.users(point.method),
            "doc": describe(point),
        }
        for point in POINTS
    ]
