"""`mailserver account forward`: mail of an account that goes on to other addresses."""

from __future__ import annotations

import click

from mailserver.commands.asked import show_asked, waiting
from mailserver.commands.engine import perform
from mailserver.commands.options import config_option, json_option, show, show_rows

__all__ = ["command"]


@click.command("forward")
@click.argument("account", default="")
@click.argument("targets", nargs=-1)
@click.option("--keep/--no-keep", default=None, help="Whether a copy stays in the mailbox (as before; at first: yes).")
@click.option("--confirmed", is_flag=True, help="Ask nobody: the owners of the targets agreed.")
@click.option("--list", "listing", is_flag=True, help="Show who forwards, or where ACCOUNT forwards to.")
@click.option("--remove", is_flag=True, help="Forward no more; with TARGETS, to these no more.")
@json_option
@config_option
def command(
    account: str, targets: tuple[str, ...], keep: bool | None, confirmed: bool, listing: bool, remove: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Send what comes for ACCOUNT on to the TARGETS, in place of those before.

    Junk, and what the account refuses, is not forwarded. A target elsewhere gets a message that asks whether its owner
    wants this mail, and nothing else until that is answered: meanwhile all mail stays in the mailbox.
    """
    if (listing or not account) and (targets or remove or keep is not None or confirmed):
        raise click.UsageError("--list takes no more than an ACCOUNT")
    if remove and (keep is not None or confirmed):
        raise click.UsageError("--remove takes an ACCOUNT and TARGETS")
    if remove:
        _remove(account, targets, as_json)
    elif listing or not (targets or keep is not None or confirmed):
        _list(account, as_json)
    else:
        _set(account, targets, keep, confirmed, as_json)


def _set(account: str, targets: tuple[str, ...], keep: bool | None, confirmed: bool, as_json: bool) -> None:
    arguments = {"account": account, "targets": list(targets), "keep": keep, "confirmed": confirmed}
    done = perform("account.forward.set", arguments)
    copy = "a copy stays" if done["keep"] else "no copy stays"
    show(done, as_json=as_json, text=f"{done['account']} → {', '.join(done['targets'])}; {copy}")
    if not as_json:
        show_asked(done["asked"], done["account"], "mailserver account forward --list")


def _remove(account: str, targets: tuple[str, ...], as_json: bool) -> None:
    done = perform("account.forward.remove", {"account": account, "targets": list(targets)})
    left = f"is forwarded to {', '.join(done['targets'])} alone" if done["targets"] else "stays here from now on"
    show(done, as_json=as_json, text=f"{done['account']}: mail {left}")


def _list(account: str, as_json: bool) -> None:
    rows = perform("account.forward.list", {"account": account})
    if not as_json:
        rows = [
            {
                **row, "waiting": [waiting(one, "forward again") for one in row["pending"]],
                "keep": "yes" if row["keep"] else "no", "rests": "yes: the account is disabled" if row["rests"] else "",
            }
            for row in rows
        ]  # fmt: skip
    columns = {
        "account": "ACCOUNT", "targets": "FORWARDS TO", "keep": "KEEPS A COPY", "waiting": "NOT CONFIRMED YET",
        "rests": "RESTS",
    }  # fmt: skip
    none = f"the mail for {account} is not forwarded" if account else "no account forwards its mail"
    show_rows(rows, columns, as_json=as_json, none=none)
