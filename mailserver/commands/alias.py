"""`mailserver alias`: addresses that stand for others."""

from __future__ import annotations

from contextlib import suppress

import click

from mailserver.commands.asked import show_asked, waiting
from mailserver.commands.engine import perform
from mailserver.commands.moments import moment
from mailserver.commands.options import Failed, config_option, json_option, show, show_rows

__all__ = ["command"]


@click.group("alias")
@config_option
def command() -> None:
    """Addresses that stand for others."""


@command.command("add")
@click.argument("address")
@click.argument("targets", nargs=-1, required=True)
@click.option("--confirmed", is_flag=True, help="Ask nobody: the owners of the targets agreed.")
@config_option
def add(address: str, targets: tuple[str, ...], confirmed: bool) -> None:
    """Send what comes for ADDRESS to the TARGETS, of ours or of anyone. "@DOMAIN" as ADDRESS is not an alias: see
    `domain add --catch-all`.

    A target elsewhere gets a message that asks whether its owner wants this mail, and nothing else until that is
    answered. To ask again, add the alias again.
    """
    done = perform("alias.add", {"address": address, "targets": list(targets), "confirmed": confirmed})
    click.echo(f"{done['address']} → {', '.join(done['targets'])}")
    show_asked(done["asked"], done["address"])


@command.command("confirm")
@click.argument("address")
@click.argument("target")
@config_option
def confirm(address: str, target: str) -> None:
    """Use TARGET for ADDRESS without waiting for its owner's answer: you know that he agrees."""
    done = perform("alias.confirm", {"address": address, "target": target})
    click.echo(f"{done['target']} gets the mail for {done['address']} from now on")


@command.command("remove")
@click.argument("address")
@config_option
def remove(address: str) -> None:
    """Remove the alias ADDRESS."""
    click.echo(f"{perform('alias.remove', {'address': address})['address']}: alias removed")


@command.command("list")
@json_option
@config_option
def show_all(as_json: bool) -> None:
    """List all aliases, and which targets did not agree yet."""
    columns = {"address": "ADDRESS", "targets": "TARGETS", "from_config": "IN CONFIG", "waiting": "NOT CONFIRMED YET"}
    rows = perform("alias.list", {})
    if not as_json:
        rows = [{**row, "waiting": [waiting(one, "add the alias again") for one in row["pending"]]} for row in rows]
    show_rows(rows, columns, as_json=as_json, none="no aliases")


@command.command("temporary")
@click.argument("account")
@click.option("--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="It takes mail so long.")
@click.option("--note", default="", help="What it is for.")
@json_option
@config_option
def temporary(account: str, days: int, note: str, as_json: bool) -> None:
    """Make a random address that reaches ACCOUNT for some days; it can be dropped at any time."""
    made = perform("alias.temporary", {"account": account, "days": days, "note": note})
    show(made, as_json=as_json, text=f"{made['address']} reaches {made['account']} until {moment(made['until'])}")


@command.command("temporaries")
@click.argument("account", default="")
@json_option
@config_option
def temporaries(account: str, as_json: bool) -> None:
    """List the temporary addresses of ACCOUNT, or of all accounts."""
    columns = {"address": "ADDRESS", "account": "ACCOUNT", "until": "UNTIL", "note": "NOTE"}
    rows = perform("alias.temporaries", {"account": account})
    if not as_json:
        rows = [{**row, "until": moment(row["until"])} for row in rows]
    show_rows(rows, columns, as_json=as_json, none="no temporary addresses")


@command.command("drop")
@click.argument("address")
@config_option
def drop(address: str) -> None:
    """Drop the temporary ADDRESS: mail for it is refused from now on."""
    click.echo(f"{perform('alias.drop', {'address': address})['address']}: dropped")


@command.command("block")
@click.argument("address")
@click.option("--honeypot", is_flag=True, help="And whoever writes there has a bad name here for a while.")
@config_option
def block(address: str, honeypot: bool) -> None:
    """Refuse mail for ADDRESS, which a catch-all takes, an alias, or an account as a sub-address."""
    if honeypot:
        perform("honeypot.add", {"address": address})
    done = perform("alias.block", {"address": address})
    also = ", and who tries has a bad name" if honeypot else ""
    click.echo(f"{done['address']}: mail is refused from now on{also}")


@command.command("unblock")
@click.argument("address")
@config_option
def unblock(address: str) -> None:
    """Take mail for ADDRESS again. It is no honeypot any more, if it was one."""
    done = perform("alias.unblock", {"address": address})
    with suppress(Failed):
        # There is none, or the plugin that knows them is switched off.
        perform("honeypot.remove", {"address": address})
    click.echo(f"{done['address']}: blocked no more")


@command.command("blocked")
@json_option
@config_option
def blocked(as_json: bool) -> None:
    """List the addresses for which mail is refused."""
    rows = perform("alias.blocked", {})
    if not as_json:
        rows = [{**row, "since": moment(row["since"])} for row in rows]
    show_rows(rows, {"address": "ADDRESS", "since": "SINCE"}, as_json=as_json, none="no address is blocked")
