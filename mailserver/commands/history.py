"""`mailserver history`: what became of messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mailserver.commands.engine import perform
from mailserver.commands.moments import BEFORE, moment
from mailserver.commands.options import config_option, json_option, show_rows
from mailserver.commands.telling import answered

__all__ = ["command"]

_STATUSES = (
    "accepted", "queued", "delivered", "deferred", "failed", "reported", "bounced", "dropped", "held", "released",
    "retried", "rescheduled", "refused",
)  # fmt: skip
_BY_HAND = ("dropped", "held", "released", "retried", "rescheduled")


@click.command("history")
@click.option("--from", "from_", metavar="PATTERN", help='The sender; "<>" is that of reports.')
@click.option("--to", "to", metavar="PATTERN", help="The recipient; a domain means all its addresses.")
@click.option("--since", type=BEFORE, help='Not older: "2h", "3d", or a date.')
@click.option("--until", type=BEFORE, help="Not newer.")
@click.option("--status", type=click.Choice(_STATUSES), help="What happened.")
@click.option("--destination", metavar="PATTERN", help='Where it was to go: a domain, a server, or "local".')
@click.option("--id", "id_", metavar="ID", help="A queue id or a Message-ID.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many.")
@json_option
@config_option
def command(
    from_: str | None, to: str | None, since: float | None, until: float | None, status: str | None,
    destination: str | None, id_: str | None, limit: int, as_json: bool,
) -> None:  # fmt: skip
    """What became of messages, the newest first. In a PATTERN, * and ? stand for any characters."""
    arguments = {
        "from": from_, "to": to, "since": since, "until": until, "status": status, "destination": destination,
        "id": id_, "limit": limit,
    }  # fmt: skip
    rows = perform("history.find", {name: value for name, value in arguments.items() if value is not None})
    if not as_json:
        rows = [
            {**row, "at": moment(row["at"]), "sender": row["sender"] or "<>", "words": _words(row)} for row in rows
        ]
    columns = {
        "at": "TIME",
        "queue_id": "ID",
        "status": "STATUS",
        "sender": "SENDER",
        "recipient": "RECIPIENT",
        "destination": "TO",
        "words": "ANSWER",
    }
    show_rows(rows, columns, as_json=as_json, none="nothing is found; how long it is kept: plugins.history.keep")


def _words(row: Mapping[str, Any]) -> str:
    if row["status"] == "reported":
        return f"{row['reply']}, by {row['report']}"
    if row["status"] in _BY_HAND:
        return f"by {row['report']}" if row["report"] else ""
    return answered(row) if row["reply"] else ""
