"""`mailserver sender`: whom an account allows, and whom it blocks."""

from __future__ import annotations

import click

from mailserver.commands.engine import perform
from mailserver.commands.moments import moment
from mailserver.commands.options import config_option, json_option, show_rows

__all__ = ["command"]


@click.group("sender")
@config_option
def command() -> None:
    """Senders whom an account allows or blocks: addresses, or domains with all below them."""


@command.command("allow")
@click.argument("account")
@click.argument("senders", nargs=-1, required=True)
@config_option
def allow(account: str, senders: tuple[str, ...]) -> None:
    """Deliver what SENDERS write to ACCOUNT, however many points it has.

    That counts only for mail that is proved to come from there (by DMARC, DKIM or SPF): what stands in From, anybody
    can write. `mailserver why` tells when the proof was missing.
    """
    for sender in senders:
        done = perform("sender.allow", {"account": account, "sender": sender})
        click.echo(f"{done['account']}: mail that is proved to be from {done['sender']} is delivered")


@command.command("block")
@click.argument("account")
@click.argument("senders", nargs=-1, required=True)
@config_option
def block(account: str, senders: tuple[str, ...]) -> None:
    """Refuse what SENDERS write to ACCOUNT, by the address in From or in the envelope."""
    for sender in senders:
        done = perform("sender.block", {"account": account, "sender": sender})
        click.echo(f"{done['account']}: mail from {done['sender']} is refused")


@command.command("remove")
@click.argument("account")
@click.argument("senders", nargs=-1, required=True)
@config_option
def remove(account: str, senders: tuple[str, ...]) -> None:
    """Neither allow nor block SENDERS any more."""
    for sender in senders:
        done = perform("sender.remove", {"account": account, "sender": sender})
        click.echo(f"{done['account']}: {done['sender']} is judged like everybody else")


@command.command("list")
@click.argument("account", default="")
@json_option
@config_option
def show_all(account: str, as_json: bool) -> None:
    """List whom ACCOUNT, or every account, allows and blocks."""
    rows = perform("sender.list", {"account": account})
    if not as_json:
        rows = [{**row, "since": moment(row["since"])} for row in rows]
    columns = {"account": "ACCOUNT", "action": "ACTION", "sender": "SENDER", "since": "SINCE"}
    show_rows(rows, columns, as_json=as_json, none="nobody is allowed or blocked")
