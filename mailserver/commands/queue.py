"""`mailserver queue`: mail that waits to be sent."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from mailserver.commands.engine import perform
from mailserver.commands.options import config_option, json_option, show, show_rows

__all__ = ["command"]


@click.group("queue")
@config_option
def command() -> None:
    """Mail that waits to be sent."""


@command.command("list")
@json_option
@config_option
def show_all(as_json: bool) -> None:
    """List what waits, oldest first."""
    rows = perform("queue.list", {})
    if not as_json:
        rows = [{**row, "arrived": _time(row["arrived"]), "sender": row["sender"] or "<>"} for row in rows]
    columns = {
        "queue_id": "ID",
        "arrived": "ARRIVED",
        "size": "SIZE",
        "sender": "SENDER",
        "recipients": "RECIPIENTS",
        "attempts": "TRIES",
        "last_error": "LAST ERROR",
    }
    show_rows(rows, columns, as_json=as_json, none="the queue is empty")


@command.command("show")
@click.argument("queue_id", metavar="ID")
@json_option
@config_option
def show_one(queue_id: str, as_json: bool) -> None:
    """Show one waiting message."""
    row = perform("queue.show", {"queue_id": queue_id})
    lines = [
        f"id          {row['queue_id']}",
        f"sender      {row['sender'] or '<>'}",
        *(f"recipient   {recipient}" for recipient in row["recipients"]),
        f"size        {row['size']} octets",
        f"arrived     {_time(row['arrived'])}",
        f"next try    {_time(row['next_attempt'])}",
        f"tries       {row['attempts']}",
        f"last error  {row['last_error'] or '-'}",
    ]
    show(row, as_json=as_json, text="\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines))


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}" if seconds else "-"
