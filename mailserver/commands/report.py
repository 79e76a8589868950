"""`mailserver report`: what is measured every day, in plain words."""

from __future__ import annotations

import click

from mailserver.commands.dmarc_reports import dmarc
from mailserver.commands.options import config_option
from mailserver.commands.tls_reports import tls

__all__ = ["command"]


@click.group("report")
@config_option
def command() -> None:
    """What is measured every day: TLS with other servers, and mail in the name of domains."""


command.add_command(dmarc)
command.add_command(tls)
