"""`mailserver domain`: domains whose mail is for us."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from mailserver.commands.asked import show_asked
from mailserver.commands.engine import perform
from mailserver.commands.options import config_option, json_option, show, show_rows

__all__ = ["command"]


@click.group("domain")
@config_option
def command() -> None:
    """Domains whose mail is for us."""


@command.command("add")
@click.argument("domain")
@click.option("--catch-all", default="", metavar="ADDRESS", help="Gets the mail for unknown local parts.")
@click.option("--postmaster", default="", metavar="ADDRESS", help="Gets the mail for postmaster and abuse.")
@click.option("--confirmed", is_flag=True, help="Ask nobody: the owners of addresses elsewhere agreed.")
@config_option
def add(domain: str, catch_all: str, postmaster: str, confirmed: bool) -> None:
    """Serve DOMAIN.

    A catch-all or postmaster elsewhere gets a message that asks whether its owner wants this mail, and nothing else
    until that is answered; they are listed as the aliases catch-all@DOMAIN and role-mail@DOMAIN.
    """
    arguments = {"domain": domain, "catch_all": catch_all, "postmaster": postmaster, "confirmed": confirmed}
    done = perform("domain.add", arguments)
    click.echo(f"{done['domain']}: served from now on; next: mailserver account add NAME@{done['domain']}")
    given = [what for what, address in (("unknown addresses", catch_all), ("postmaster", postmaster)) if address]
    show_asked(done["asked"], f"{' and '.join(given)} at {done['domain']}")


@command.command("remove")
@click.argument("domain")
@config_option
def remove(domain: str) -> None:
    """Serve DOMAIN no more. Its accounts must be removed first."""
    done = perform("domain.remove", {"domain": domain})
    click.echo(f"{done['domain']}: domain removed")
    for one in done["asked"]:
        show_asked([one], one["address"])


@command.command("list")
@json_option
@config_option
def show_all(as_json: bool) -> None:
    """List all domains."""
    columns = {
        "domain": "DOMAIN",
        "accounts": "ACCOUNTS",
        "catch_all": "CATCH-ALL",
        "postmaster": "POSTMASTER",
        "from_config": "IN CONFIG",
    }
    none = "no domains yet; serve one: mailserver domain add DOMAIN"
    show_rows(perform("domain.list", {}), columns, as_json=as_json, none=none)


@command.command("alias")
@click.argument("domain")
@click.argument("target")
@config_option
def alias(domain: str, target: str) -> None:
    """Serve DOMAIN, and let every address in it mean the same one in TARGET."""
    done = perform("domain.alias", {"domain": domain, "target": target})
    click.echo(f"{done['domain']}: every address means the same one in {done['target']} from now on")


@command.command("unalias")
@click.argument("domain")
@config_option
def unalias(domain: str) -> None:
    """Let DOMAIN stand for no other domain any more; it is still served."""
    click.echo(f"{perform('domain.unalias', {'domain': domain})['domain']}: stands for itself")


@command.command("aliases")
@json_option
@config_option
def aliases(as_json: bool) -> None:
    """List the domains that stand for others."""
    columns = {"domain": "DOMAIN", "target": "STANDS FOR"}
    show_rows(perform("domain.aliases", {}), columns, as_json=as_json, none="no domain stands for another one")


@command.group("dkim")
@config_option
def dkim() -> None:
    """Keys that sign outgoing mail (DKIM)."""


@dkim.command("list")
@click.argument("domain", default="")
@json_option
@config_option
def dkim_list(domain: str, as_json: bool) -> None:
    """Show the keys of DOMAIN, or of all domains, and their DNS records."""
    _show_keys(perform("dkim.list", {"domain": domain}), as_json)


@dkim.command("rotate")
@click.argument("domain")
@json_option
@config_option
def dkim_rotate(domain: str, as_json: bool) -> None:
    """Make the next keys of DOMAIN. They sign as soon as their records are seen in DNS; until then the old ones do."""
    _show_keys(perform("dkim.rotate", {"domain": domain}), as_json)


@dkim.command("activate")
@click.argument("domain")
@click.option("--force", is_flag=True, help="Even if DNS does not have their records yet.")
@json_option
@config_option
def dkim_activate(domain: str, force: bool, as_json: bool) -> None:
    """Let the next keys of DOMAIN sign now, instead of at the hourly look into DNS."""
    _show_keys(perform("dkim.activate", {"domain": domain, "force": force}), as_json)


def _show_keys(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        show(rows, as_json=True, text="")
        return
    columns = {"domain": "DOMAIN", "selector": "SELECTOR", "algorithm": "ALGORITHM", "state": "STATE", "dns": "IN DNS"}
    show_rows([{**row, "dns": _dns_advice(row)} for row in rows], columns, as_json=False, none="no keys yet")
    for row in rows:
        if row["state"] != "retired" and not row["in_dns"]:
            strings = " ".join(f'"{row["record"][at : at + 255]}"' for at in range(0, len(row["record"]), 255))
            click.echo(f"\nPublish: {row['name']}. TXT {strings}")


def _dns_advice(row: dict[str, Any]) -> str:
    if row["state"] != "retired":
        return "yes" if row["in_dns"] else "no: publish it"
    day = f"{datetime.fromtimestamp(row['remove_after'], UTC):%Y-%m-%d}"
    return f"remove it after {day}" if row["in_dns"] else "removed"
