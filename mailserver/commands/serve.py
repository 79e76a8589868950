"""`mailserver serve`: run the server until it is told to stop."""

from __future__ import annotations

import sys

import click

from mailserver.app.load import ConfigurationError
from mailserver.app.lock import DataLocked
from mailserver.app.run import run
from mailserver.commands.options import ConfigurationFailed, Failed, config_option, named_config
from mailserver.model.errors import MailError

__all__ = ["command"]


@click.command("serve")
@click.option("--demo", is_flag=True, help="Make a demo account when there is none, and say how to reach it.")
@config_option
def command(demo: bool) -> None:
    """Run the server. SIGTERM or Ctrl-C stops it gently, a second one at once; SIGHUP reloads the configuration."""
    try:
        code = run(named_config(), demo=demo)
    except ConfigurationError as error:
        raise ConfigurationFailed(str(error)) from None
    except DataLocked as error:
        raise Failed(str(error)) from None
    except MailError as error:
        raise Failed(error.for_operator) from None
    except OSError as error:
        raise Failed(
            f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
        ) from None
    sys.exit(code)
