"""`mailserver config`: the default configuration file."""

from __future__ import annotations

import click

from mailserver.app.example import default_file
from mailserver.commands.options import config_option
from mailserver.plugins import BUILT_IN

__all__ = ["command"]


@click.command("config")
@config_option
def command() -> None:
    """Print config.toml with every setting at its default and its description."""
    click.echo(default_file(BUILT_IN), nl=False)
