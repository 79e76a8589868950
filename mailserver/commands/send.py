"""`mailserver send`: hand in a message as an account."""

from __future__ import annotations

import shutil
import sys
import tempfile

import click

from mailserver.commands.engine import perform
from mailserver.commands.moments import AFTER
from mailserver.commands.options import Failed, config_option, json_option, show
from mailserver.commands.trying import describe, would_arrive

__all__ = ["command"]


@click.command("send")
@click.option("--from", "account", required=True, metavar="ADDRESS", help="The account that sends.")
@click.option(
    "--to", "recipients", multiple=True, metavar="ADDRESS", help="A recipient; by default those in To, Cc and Bcc."
)
@click.option(
    "--test", "tested", metavar="ADDRESS", help="Send nothing: ask the servers of ADDRESS up to RCPT, and show it."
)
@click.option("--at", type=AFTER, help='Send it later: "30m" from now, or "2026-12-24 18:00".')
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), default="-")
@json_option
@config_option
def command(
    account: str, recipients: tuple[str, ...], tested: str | None, at: float | None, file: str, as_json: bool
) -> None:
    """Send a message from FILE, or from standard input, as an account.

    Recipients here get it at once, others when the queue gets to them; with --at nobody gets it before. A Bcc field is
    taken out.

    With --test the hosts for ADDRESS are shown, how connections to them are protected, their certificates, and what
    they said. Exit code 1: none of them would take a message now.
    """
    if tested is not None:
        told = perform("send.test", {"account": account, "recipient": tested})
        show(told, as_json=as_json, text="\n".join(describe(told)))
        sys.exit(0 if would_arrive(told) else 1)
    if file == "-" and sys.stdin.isatty():
        raise Failed("give a message in a file or on standard input: mailserver send --from ADDRESS FILE")
    with click.open_file(file, "rb") as source, tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(source, spool)
        spool.seek(0)
        done = perform("send", {"account": account, "recipients": list(recipients), "hold_until": at}, spool)
    show(done, as_json=as_json, text=f"{', '.join(done['recipients'])}: {done['text']}")
