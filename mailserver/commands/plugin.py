"""`mailserver plugin`: what can be plugged in, and where."""

from __future__ import annotations

import click

from mailserver.commands.engine import perform
from mailserver.commands.options import config_option, json_option, show_rows

__all__ = ["command"]


@click.group("plugin")
@config_option
def command() -> None:
    """Plugins and the hooks they can use."""


@command.command("list")
@json_option
@config_option
def show_plugins(as_json: bool) -> None:
    """List the plugins in use, in their order."""
    columns = {"name": "NAME", "source": "FROM", "failures": "FAILURES", "timeouts": "TIMEOUTS", "doc": "WHAT IT DOES"}
    show_rows(perform("plugin.list", {}), columns, as_json=as_json, none="no plugins")


@command.command("hooks")
@json_option
@config_option
def show_hooks(as_json: bool) -> None:
    """List every point at which a plugin can take part (the same text as docs/hooks.md)."""
    columns = {"name": "HOOK", "kind": "KIND", "plugins": "USED BY", "doc": "WHEN"}
    show_rows(perform("plugin.hooks", {}), columns, as_json=as_json, none="no hooks")
