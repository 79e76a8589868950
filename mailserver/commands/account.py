"""`mailserver account`: people who have mail here."""

from __future__ import annotations

import click

from mailserver.commands.engine import perform
from mailserver.commands.options import config_option, json_option, read_password, show, show_rows
from mailserver.hooks.settings import format_size, parse_size

__all__ = ["command"]


class Octets(click.ParamType[int]):
    """A size such as 2GiB; 0 means no limit."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Octets. Fails with the words of the settings."""
        try:
            return parse_size(value if isinstance(value, int) else str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


_octets = click.option("--octets", type=Octets(), help='Most octets of mail: "2GiB"; 0 for no limit.')
_messages = click.option("--messages", type=click.IntRange(min=0), help="Most messages; 0 for no limit.")


@click.group("account")
@config_option
def command() -> None:
    """Accounts: people who have mail here."""


@command.command("add")
@click.argument("address")
@_octets
@_messages
@config_option
def add(address: str, octets: int | None, messages: int | None) -> None:
    """Create the account ADDRESS. The password is asked for, or read from standard input."""
    password = read_password(f"Password for {address}")
    made = perform(
        "account.add", {"address": address, "password": password, "octets": octets or 0, "messages": messages or 0}
    )
    click.echo(f"{made['address']}: account made")


@command.command("remove")
@click.argument("address")
@click.option("--purge", is_flag=True, help="Delete the mail too, for good. Without this the files stay.")
@config_option
def remove(address: str, purge: bool) -> None:
    """Remove the account ADDRESS; its mail stays on disk unless --purge is given."""
    done = perform("account.remove", {"address": address, "purge": purge})
    rest = ", its mail deleted" if purge else f"; its mail is still in {done['path']}"
    click.echo(f"{done['address']}: account removed{rest}")


@command.command("list")
@json_option
@config_option
def show_all(as_json: bool) -> None:
    """List all accounts."""
    rows = perform("account.list", {})
    if not as_json:
        rows = [
            {**row, "octets_limit": _limit(row["octets_limit"]), "messages_limit": row["messages_limit"] or "-"}
            for row in rows
        ]
    columns = {"address": "ADDRESS", "enabled": "ENABLED", "octets_limit": "MAY HOLD", "messages_limit": "MESSAGES"}
    show_rows(rows, columns, as_json=as_json, none="no accounts yet; make one: mailserver account add ADDRESS")


@command.command("password")
@click.argument("address")
@config_option
def password(address: str) -> None:
    """Set a new password for ADDRESS; sessions that used the old one end within a minute."""
    done = perform("account.password", {"address": address, "password": read_password(f"New password for {address}")})
    click.echo(f"{done['address']}: password set")


@command.command("quota")
@click.argument("address")
@_octets
@_messages
@json_option
@config_option
def quota(address: str, octets: int | None, messages: int | None, as_json: bool) -> None:
    """Show what ADDRESS uses and may use; with --octets or --messages, set the limits."""
    done = perform("account.quota", {"address": address, "octets": octets, "messages": messages})
    text = f"{done['address']}: {_of(done, 'octets')}, {_of(done, 'messages')} messages"
    show(done, as_json=as_json, text=text)


def _limit(octets: int) -> str:
    return format_size(octets) if octets else "-"


def _of(usage: dict[str, int], what: str) -> str:
    used, limit = usage[what], usage[f"{what}_limit"]
    if what == "octets":
        return f"{format_size(used)} of {format_size(limit) if limit else 'unlimited'}"
    return f"{used} of {limit or 'unlimited'}"
