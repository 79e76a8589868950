"""`mailserver junk`: from how many points on mail goes to Junk, or is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mailserver.commands.engine import perform
from mailserver.commands.options import config_option, json_option, show_rows

__all__ = ["command"]

_POINTS = click.FloatRange(0, 1000)


@click.group("junk")
@config_option
def command() -> None:
    """From how many points on mail goes to Junk, or is refused."""


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


def _number(points: float) -> str:
    return f"{points:g}" if points else "never"


def _words(row: Mapping[str, Any]) -> str:
    junk = f"mail goes to Junk from {row['junk']:g} points on" if row["junk"] else "no mail goes to Junk for its points"
    reject = f"is refused from {row['reject']:g} on" if row["reject"] else "none is refused"
    return f"{junk}, and {reject}" + ("" if row["own"] else " (as config.toml says)")
