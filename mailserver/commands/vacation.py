"""`mailserver vacation`: answers for those who are away."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TextIO

import click

from mailserver.commands.engine import perform
from mailserver.commands.moments import AFTER, UNTIL, moment
from mailserver.commands.options import config_option, json_option, show, show_rows

__all__ = ["command"]


@click.group("vacation")
@config_option
def command() -> None:
    """Answers for those who are away."""


@command.command("set")
@click.argument("account")
@click.option("--subject", default="", help='Of the answers. Without it: "Auto: " and that of the message.')
@click.option("--text", default=None, help="What they say.")
@click.option("--file", "file", type=click.File("r", encoding="utf-8"), help="What they say is in this file.")
@click.option("--from", "starts", type=AFTER, default=None, help='When to begin: "2026-12-24". Without it: now.')
@click.option("--until", "ends", type=UNTIL, default=None, help='When to end; "2026-12-31" is the end of that day.')
@click.option("--days", type=click.IntRange(1, 30), help="One sender gets one answer in so many days.")
@click.option("--address", "addresses", multiple=True, help="A further address that reaches ACCOUNT; repeat.")
@config_option
def set_vacation(
    account: str, subject: str, text: str | None, file: TextIO | None, starts: float | None, ends: float | None,
    days: int | None, addresses: tuple[str, ...],
) -> None:  # fmt: skip
    """Answer the mail of ACCOUNT. What the answers say is read from standard input, or given with --text or --file.

    Mail is answered when To or Cc names ACCOUNT, an alias that led to it, or a further address, as one elsewhere that
    forwards its mail to ACCOUNT.
    """
    if text is not None and file is not None:
        raise click.UsageError("either --text or --file")
    if text is None:
        if file is None and sys.stdin.isatty():
            click.echo("What should the answers say? End with Ctrl-D on a line of its own.", err=True)
        text = (file or sys.stdin).read()
    arguments = {
        "account": account, "subject": subject, "text": text, "starts": starts, "ends": ends, "days": days,
        "addresses": list(addresses),
    }  # fmt: skip
    click.echo(_words(perform("vacation.set", arguments)))


@command.command("show")
@click.argument("account", default="")
@json_option
@config_option
def show_vacation(account: str, as_json: bool) -> None:
    """Show the answer of ACCOUNT, or which accounts have one."""
    rows = perform("vacation.show", {"account": account})
    if account and rows and not as_json:
        (row,) = rows
        subject = row["subject"] or "Auto: (that of the message)"
        further = "".join(f"\nAlso for: {one}" for one in row["addresses"])
        show(row, as_json=False, text=f"{_words(row)}{further}\n\nSubject: {subject}\n\n{row['text'].rstrip()}")
        return
    columns = {"account": "ACCOUNT", "answers": "ANSWERS NOW", "starts": "FROM", "ends": "UNTIL", "days": "DAYS"}
    if not as_json:
        rows = [{**row, "starts": moment(row["starts"]), "ends": moment(row["ends"])} for row in rows]
    none = f"{account} answers nobody" if account else "no account answers its mail"
    show_rows(rows, columns, as_json=as_json, none=none)


@command.command("off")
@click.argument("account")
@config_option
def off(account: str) -> None:
    """Answer no more, and forget the text."""
    done = perform("vacation.off", {"account": account})
    click.echo(f"{done['account']}: " + ("mail is answered no more" if done["was_set"] else "it answered nobody"))


def _words(row: Mapping[str, Any]) -> str:
    start = f"from {moment(row['starts'])}" if row["starts"] else "from now on"
    end = f" until {moment(row['ends'])}" if row["ends"] else ""
    days = "once a day" if row["days"] == 1 else f"once in {row['days']} days"
    return f"{row['account']}: mail is answered {start}{end}, each sender {days}"
