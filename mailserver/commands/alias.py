"""`mailserver alias`: addresses that stand for others."""

from __future__ import annotations

import click

from mailserver.commands.engine import perform
from mailserver.commands.options import config_option, json_option, show_rows

__all__ = ["command"]


@click.group("alias")
@config_option
def command() -> None:
    """Addresses that stand for others."""


@command.command("add")
@click.argument("address")
@click.argument("targets", nargs=-1, required=True)
@config_option
def add(address: str, targets: tuple[str, ...]) -> None:
    """Send what comes for ADDRESS to the TARGETS, of ours or of anyone. "@DOMAIN" as ADDRESS is not an alias: see
    `domain add --catch-all`."""
    done = perform("alias.add", {"address": address, "targets": list(targets)})
    click.echo(f"{done['address']} → {', '.join(done['targets'])}")


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
    """List all aliases."""
    columns = {"address": "ADDRESS", "targets": "TARGETS", "from_config": "IN CONFIG"}
    show_rows(perform("alias.list", {}), columns, as_json=as_json, none="no aliases")
