"""`mailserver check`: everything that a start does, except serving."""

from __future__ import annotations

import click

from mailserver.app.check import check
from mailserver.app.load import ConfigurationError
from mailserver.commands.options import ConfigurationFailed, Failed, config_option, named_config
from mailserver.model.errors import MailError

__all__ = ["command"]


@click.command("check")
@config_option
def command() -> None:
    """Look for mistakes: loads and builds everything, binds nothing, prints all problems at once."""
    try:
        checked = check(named_config())
    except ConfigurationError as error:
        raise ConfigurationFailed(str(error)) from None
    except MailError as error:
        raise Failed(error.for_operator) from None
    for warning in checked.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{checked.file}: good")
