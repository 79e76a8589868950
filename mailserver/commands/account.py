"""`mailserver account`: people who have mail here."""

from __future__ import annotations

import time

import click

from mailserver.commands.engine import perform
from mailserver.commands.forward import command as forward
from mailserver.commands.options import config_option, json_option, read_password, show, show_rows
from mailserver.hooks.settings import format_size, parse_size
from mailserver.model.app_password import PROTOCOLS

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


@command.group("app-password")
@config_option
def app_password() -> None:
    """Further passwords of an account, one for each program; each can be taken back alone."""


@app_password.command("add")
@click.argument("address")
@click.argument("name")
@click.option("--for", "protocols", multiple=True, type=click.Choice(PROTOCOLS), help="Good for this alone; repeat.")
@json_option
@config_option
def app_password_add(address: str, name: str, protocols: tuple[str, ...], as_json: bool) -> None:
    """Make an app password called NAME for ADDRESS. It is shown this once."""
    made = perform("account.app_password.add", {"address": address, "name": name, "protocols": list(protocols)})
    show(made, as_json=as_json, text=f"{made['address']}, {made['name']}: {made['password']}")


@app_password.command("list")
@click.argument("address")
@json_option
@config_option
def app_password_list(address: str, as_json: bool) -> None:
    """List the app passwords of ADDRESS, and when each was used last."""
    rows = perform("account.app_password.list", {"address": address})
    if not as_json:
        rows = [
            {
                **row, "protocols": ", ".join(row["protocols"]) or "all", "created": _moment(row["created"]),
                "last_used": _moment(row["last_used"]),
            }
            for row in rows
        ]  # fmt: skip
    columns = {"name": "NAME", "protocols": "FOR", "created": "MADE", "last_used": "LAST USED"}
    show_rows(rows, columns, as_json=as_json, none="no app passwords")


@app_password.command("remove")
@click.argument("address")
@click.argument("name")
@config_option
def app_password_remove(address: str, name: str) -> None:
    """Take back the app password NAME; the sessions of ADDRESS end within a minute."""
    done = perform("account.app_password.remove", {"address": address, "name": name})
    click.echo(f"{done['address']}: app password removed")


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds)) if seconds else "never"


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


@command.command("folders")
@click.argument("address")
@click.argument("filing", type=click.Choice(("off", "existing", "create", "default")), default=None, required=False)
@json_option
@config_option
def folders(address: str, filing: str | None, as_json: bool) -> None:
    """Whether mail for a sub-address of ADDRESS goes into the mailbox of that name: never, when there is one, always
    or as config.toml says."""
    done = perform("account.folders", {"account": address, "filing": filing or ""})
    own = "" if done["own"] else " (as config.toml says)"
    show(done, as_json=as_json, text=f"{done['account']}: mailboxes of sub-addresses: {done['folders']}{own}")


command.add_command(forward)


def _limit(octets: int) -> str:
    return format_size(octets) if octets else "-"


def _of(usage: dict[str, int], what: str) -> str:
    used, limit = usage[what], usage[f"{what}_limit"]
    if what == "octets":
        return f"{format_size(used)} of {format_size(limit) if limit else 'unlimited'}"
    return f"{used} of {limit or 'unlimited'}"
