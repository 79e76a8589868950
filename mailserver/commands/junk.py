"""`mailserver junk`: from how many points on mail goes to Junk, or is refused; and whom honeypots know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mailserver.commands.engine import perform
from mailserver.commands.moments import moment
from mailserver.commands.options import config_option, json_option, show_rows

__all__ = ["command"]

_POINTS = click.FloatRange(0, 1000)


@click.group("junk")
@config_option
def command() -> None:
    """From how many points on mail goes to Junk, or is refused; and whom honeypots know."""


@command.command("set")
@click.argument("account")
@click.option("--junk", type=_POINTS, help="With so many points mail goes to Junk; 0: none does.")
@click.option("--reject", type=_POINTS, help="With so many points mail is refused; 0: none is.")
@click.option("--default", is_flag=True, help="Forget the account's own numbers: those of config.toml count.")
@config_option
def set_points(account: str, junk: float | None, reject: float | None, default: bool) -> None:
    """Give ACCOUNT numbers of its own. What is not named stays as it is."""
    if junk is None and reject is None and not default:
        raise click.UsageError("say what to set: --junk POINTS, --reject POINTS or --default")
    done = perform("junk.set", {"account": account, "junk": junk, "reject": reject, "default": default})
    click.echo(f"{done['account']}: {_words(done)}")


@command.command("list")
@click.argument("account", default="")
@json_option
@config_option
def show_all(account: str, as_json: bool) -> None:
    """List the numbers of ACCOUNT, or of all accounts."""
    rows = perform("junk.list", {"account": account})
    columns = {"account": "ACCOUNT", "junk": "JUNK", "reject": "REJECT", "own": "ITS OWN"}
    if not as_json:
        rows = [
            {**row, "junk": _number(row["junk"]), "reject": _number(row["reject"])}
            for row in rows
        ]
    show_rows(rows, columns, as_json=as_json, none="there are no accounts")


@command.command("honeypots")
@json_option
@config_option
def honeypots(as_json: bool) -> None:
    """List the addresses that nobody uses, and whose senders get a bad name. Add one: mailserver alias block
    ADDRESS --honeypot"""
    rows = perform("honeypot.list", {})
    if not as_json:
        rows = [{**row, "since": moment(row["since"]) if row["since"] else ""} for row in rows]
    columns = {"address": "ADDRESS", "since": "SINCE", "from_config": "IN CONFIG"}
    show_rows(rows, columns, as_json=as_json, none="there are no honeypots")


@command.command("marks")
@json_option
@config_option
def marks(as_json: bool) -> None:
    """List who has a bad name for writing to honeypots: servers, and domains that were proved."""
    rows = perform("honeypot.marks", {})
    if not as_json:
        rows = [{**row, "at": moment(row["at"]), "until": moment(row["until"])} for row in rows]
    columns = {
        "who": "WHO", "kind": "WHAT", "at": "LAST TIME", "hits": "TIMES", "honeypot": "WROTE TO", "sender": "AS",
        "until": "UNTIL",
    }  # fmt: skip
    show_rows(rows, columns, as_json=as_json, none="nobody has written to a honeypot lately")


@command.command("unmark")
@click.argument("who", nargs=-1, required=True)
@config_option
def unmark(who: tuple[str, ...]) -> None:
    """Forget that WHO wrote to a honeypot: the address of a server, a domain, or "all"."""
    for one in who:
        for row in perform("honeypot.lift", {"who": one}):
            click.echo(f"{row['who']}: has no bad name any more")


def _number(points: float) -> str:
    return f"{points:g}" if points else "never"


def _words(row: Mapping[str, Any]) -> str:
    junk = f"mail goes to Junk from {row['junk']:g} points on" if row["junk"] else "no mail goes to Junk for its points"
    reject = f"is refused from {row['reject']:g} on" if row["reject"] else "none is refused"
    return f"{junk}, and {reject}" + ("" if row["own"] else " (as config.toml says)")
