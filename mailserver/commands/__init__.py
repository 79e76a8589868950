"""L9: the command line. `main` is the console script; each command is a module of its own, imported when it is used.

This lazy group is the one place where modules are imported by name at run time: `mailserver account list` must not pay
for the import of the whole server. Exit codes: 0 good, 1 failed, 2 wrong usage or configuration.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence

import click

from mailserver import __version__
from mailserver.commands.options import config_option

__all__ = ["COMMANDS", "main"]

#: Name → one line of help (told without importing the command).
COMMANDS = {
    "account": "Accounts: add, remove, list, password, quota.",
    "alias": "Addresses that stand for others: add, remove, list.",
    "check": "Look for mistakes in the configuration, without starting.",
    "config": "Print the default configuration file.",
    "domain": "Domains that are served: add, remove, list.",
    "mailbox": "Mail on disk: verify, rebuild, adopt, export.",
    "plugin": "Plugins and the hooks they can use: list, hooks.",
    "queue": "Mail that waits to be sent: list, show.",
    "send": "Send a message as an account, from a file or standard input.",
    "serve": "Run the server.",
    "tls-policy": "TLS with other mail servers: show, list, refresh.",
    "suppression": "Addresses that mail came back from: list, add, remove.",
}


class LazyGroup(click.Group):
    """Knows its commands by name, and imports one when it is called or asked for its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command `cmd_name` of the module `mailserver.commands.<cmd_name>`, with _ for -."""
        if cmd_name not in COMMANDS:
            return None
        # Importing only makes objects that stay: the collector would look through them again and again for nothing.
        gc.disable()
        try:
            command = importlib.import_module(f"mailserver.commands.{cmd_name.replace('-', '_')}").command
        finally:
            gc.enable()
        if not isinstance(command, click.Command):
            raise TypeError(f"mailserver.commands.{cmd_name}.command is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in --help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mailserver", message="%(prog)s %(version)s")
@config_option
def cli() -> None:
    """A self-hosted mail server."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    try:
        code = cli.main(
            args=list(arguments) if arguments is not None else None, prog_name="mailserver", standalone_mode=False
        )
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        click.echo("stopped", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
