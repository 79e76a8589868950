"""`mailserver ban`: networks that are not listened to for a while."""

from __future__ import annotations

import click

from mailserver.commands.engine import perform
from mailserver.commands.moments import AFTER, ago, moment
from mailserver.commands.options import config_option, json_option, show_rows

__all__ = ["command"]


@click.group("ban")
@config_option
def command() -> None:
    """Networks that are not listened to for a while."""


@command.command("list")
@json_option
@config_option
def show_all(as_json: bool) -> None:
    """List all bans that hold now, with their reasons."""
    rows = perform("ban.list", {})
    if not as_json:
        rows = [{**row, "since": moment(row["since"]), "until": ago(row["until"])} for row in rows]
    columns = {
        "network": "NETWORK", "since": "SINCE", "until": "UNTIL", "times": "TIMES", "by": "BY", "reason": "REASON",
    }  # fmt: skip
    show_rows(rows, columns, as_json=as_json, none="nobody is banned")


@command.command("add")
@click.argument("networks", nargs=-1, required=True)
@click.option("--until", type=AFTER, default=None, help='When it ends: "12h", "30d", or a date; a week if not given.')
@click.option("--reason", default="", help="What whoever is banned hears.")
@config_option
def add(networks: tuple[str, ...], until: float | None, reason: str) -> None:
    """Do not listen to NETWORKS: addresses, or networks such as 192.0.2.0/24."""
    for network in networks:
        done = perform("ban.add", {"network": network, "until": until, "reason": reason})
        click.echo(f"{done['network']}: banned until {ago(done['until'])}")


@command.command("lift")
@click.argument("networks", nargs=-1, required=True)
@config_option
def lift(networks: tuple[str, ...]) -> None:
    """Listen to NETWORKS again, and to all within them; "all" is everybody."""
    for network in networks:
        rows = perform("ban.lift", {"network": network})
        for row in rows:
            click.echo(f"{row['network']}: listened to again")
        if not rows:
            click.echo("nobody was banned")
