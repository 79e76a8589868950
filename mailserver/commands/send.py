"""`mailserver send`: hand in a message as an account."""

from __future__ import annotations

import shutil
import sys
import tempfile

import click

from mailserver.commands.engine import perform
from mailserver.commands.options import Failed, config_option

__all__ = ["command"]


@click.command("send")
@click.option("--from", "account", required=True, metavar="ADDRESS", help="The account that sends.")
@click.option(
    "--to", "recipients", multiple=True, metavar="ADDRESS", help="A recipient; by default those in To, Cc and Bcc."
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), default="-")
@config_option
def command(account: str, recipients: tuple[str, ...], file: str) -> None:
    """Send a message from FILE, or from standard input, as an account.

    Recipients here get it at once, others when the queue gets to them. A Bcc field is taken out.
    """
    if file == "-" and sys.stdin.isatty():
        raise Failed("give a message in a file or on standard input: mailserver send --from ADDRESS FILE")
    with click.open_file(file, "rb") as source, tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(source, spool)
        spool.seek(0)
        done = perform("send", {"account": account, "recipients": list(recipients)}, spool)
    click.echo(f"{', '.join(done['recipients'])}: {done['text']}")
