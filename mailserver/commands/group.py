"""The command line's groups and options, by click."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

import click

from mailserver import __version__
from mailserver.commands import COMMANDS
from mailserver.commands.options import config_option

__all__ = ["cli", "main"]


class LazyGroup(click.Group):
    """Knows its commands by name, and imports one when it is called or asked for its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command `cmd_name` of the module `mailserver.commands.<cmd_name>`, with _ for -."""
        if cmd_name not in COMMANDS:
            return None
        command = _imported(f"mailserver.commands.{cmd_name.replace('-', '_')}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"mailserver.commands.{cmd_name}.command is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in --help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


def _imported(name: str) -> ModuleType:
    """Importing makes objects that stay: the collector would look through them for nothing, again and again.

    They are frozen before it may look again: it would take its time at once, since so many are new.
    """
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mailserver", message="%(prog)s %(version)s")
@config_option
def cli() -> None:
    """A self-hosted mail server."""


def main(words: Sequence[str]) -> NoReturn:
    """Run the command line and exit."""
    try:
        code = cli.main(args=list(words), prog_name="mailserver", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        click.echo("stopped", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
