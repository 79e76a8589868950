"""`mailserver domain`: domains whose mail is for us."""

from __future__ import annotations

import click

from mailserver.commands.engine import perform
from mailserver.commands.options import config_option, json_option, show_rows

__all__ = ["command"]


@click.group("domain")
@config_option
def command() -> None:
    """Domains whose mail is for us."""


@command.command("add")
@click.argument("domain")
@click.option("--catch-all", default="", metavar="ADDRESS", help="Gets the mail for unknown local parts.")
@click.option("--postmaster", default="", metavar="ADDRESS", help="Gets the mail for postmaster and abuse.")
@config_option
def add(domain: str, catch_all: str, postmaster: str) -> None:
    """Serve DOMAIN."""
    done = perform("domain.add", {"domain": domain, "catch_all": catch_all, "postmaster": postmaster})
    click.echo(f"{done['domain']}: served from now on; next: mailserver account add NAME@{done['domain']}")


@command.command("remove")
@click.argument("domain")
@config_option
def remove(domain: str) -> None:
    """Serve DOMAIN no more. Its accounts must be removed first."""
    click.echo(f"{perform('domain.remove', {'domain': domain})['domain']}: domain removed")


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
