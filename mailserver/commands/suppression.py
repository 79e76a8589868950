"""`mailserver suppression`: addresses to which an account's mail is refused, because it would come back."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from mailserver.commands.engine import perform
from mailserver.commands.options import config_option, json_option, show_rows

__all__ = ["command"]


@click.group("suppression")
@config_option
def command() -> None:
    """Addresses to which mail is refused, because it would come back."""


@command.command("list")
@click.option("--account", default="", metavar="ADDRESS", help="Of this account only.")
@json_option
@config_option
def show_all(account: str, as_json: bool) -> None:
    """List them all, with the reasons."""
    rows = perform("suppression.list", {"account": account})
    if not as_json:
        rows = [{**row, "since": _day(row["since"]), "until": _end(row)} for row in rows]
    columns = {
        "account": "ACCOUNT",
        "address": "ADDRESS",
        "since": "SINCE",
        "until": "UNTIL",
        "times": "TIMES",
        "source": "SOURCE",
        "reason": "REASON",
    }
    show_rows(rows, columns, as_json=as_json, none="no address is suppressed")


@command.command("add")
@click.argument("address")
@click.option("--account", required=True, metavar="ADDRESS", help="Whose mail is refused.")
@click.option("--reason", default="", help="For the list.")
@config_option
def add(address: str, account: str, reason: str) -> None:
    """Refuse an account's mail to ADDRESS, until it is removed."""
    done = perform("suppression.add", {"address": address, "account": account, "reason": reason})
    click.echo(f"{done['account']}: mail to {done['address']} is refused")


@command.command("remove")
@click.argument("address")
@click.option("--account", default="", metavar="ADDRESS", help="For this account only.")
@config_option
def remove(address: str, account: str) -> None:
    """Let mail to ADDRESS pass again; "@DOMAIN" means all addresses there."""
    for row in perform("suppression.remove", {"address": address, "account": account})["removed"]:
        click.echo(f"{row['account']}: mail to {row['address']} passes again")


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _end(row: dict[str, float]) -> str:
    if not row["until"]:
        return "for good"
    return _day(row["until"]) + ("" if row["active"] else " (over)")
