"""`mailserver why`: the whole story of a message, going out or coming in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mailserver.commands.engine import perform
from mailserver.commands.judgement import judgements
from mailserver.commands.moments import ago
from mailserver.commands.options import config_option, json_option, printable, show
from mailserver.commands.telling import story, waiting_recipient

__all__ = ["command"]

_MOST = 200
_SERVICES = {
    "smtp": " from another server", "submission": " from a user", "sendmail": " from a program on this machine",
}  # fmt: skip


@click.command("why")
@click.argument("message")
@json_option
@config_option
def command(message: str, as_json: bool) -> None:
    """Tell what happened to MESSAGE: attempts, answers and TLS of one that goes out; for one that came in what was
    found about it, where it went, and what you can do about that.

    MESSAGE is a queue id, a Message-ID, or the address of a sender, for the newest ones of that sender.
    """
    found = perform("why", {"id": message})
    lines: list[str] = []
    for row in found:
        lines += ([""] if lines else []) + _story(row)
    show(found, as_json=as_json, text="\n".join(map(printable, lines)))


def _story(row: Mapping[str, Any]) -> list[str]:
    waiting = row["waiting"]
    lines = [_head(row, waiting)]
    told = row["events"][-_MOST:]
    if len(told) < len(row["events"]):
        lines.append(f"  … {len(row['events']) - len(told)} earlier events: mailserver history --id {row['queue_id']}")
    lines += [f"  {line}" for line in story(told)]
    lines += [f"  {line}" for line in judgements(row["judged"])]
    if waiting is None:
        return [*lines, f"  {_end(row)}"]
    until = f"tried until {ago(waiting['expires'])}" if waiting["expires"] is not None else "held until it is released"
    lines.append(f"  It is in the queue now, and {until}:")
    for recipient in waiting["recipients"]:
        if recipient["state"] in ("delivered", "failed"):
            continue
        lines += [f"    {line}" for line in waiting_recipient(recipient)]
    return lines


def _head(row: Mapping[str, Any], waiting: Mapping[str, Any] | None) -> str:
    """Its name, whence it came, and from whom."""
    known = {**(waiting or {}), **row}
    parts = [f"{row['queue_id']}"]
    service, peer = known.get("service"), known.get("peer")
    if service == "report":
        parts.append(f"a report about {known['origin']}, made {ago(known['at'])}")
    elif known.get("origin"):
        parts.append(f"made from {known['origin']} {ago(known['at'])}")
    else:
        arrived = float(known.get("at") or known.get("arrived") or 0)
        by = _SERVICES.get(service or "", "")
        parts.append(f"arrived{by} {ago(arrived)}" + (f", from {peer}" if peer else ""))
    account = f" (account {known['account']})" if known.get("account") else ""
    parts.append(f"sender {known.get('sender') or '<>'}{account}")
    if known.get("size"):
        parts.append(f"{known['size']} octets")
    if known.get("message_id"):
        parts.append(f"Message-ID <{known['message_id']}>")
    if known.get("held_until"):
        parts.append(f"to be sent {ago(known['held_until'])}, as its sender asked")
    return "; ".join(parts)


def _end(row: Mapping[str, Any]) -> str:
    """What the events come down to, of a message that is not here any more."""
    last: dict[str, str] = {}
    for event in row["events"]:
        if event["status"] in ("delivered", "failed", "dropped", "bounced"):
            last[event["recipient"]] = event["status"]
    ends = sorted(set(last.values()))
    refused = any(judged["refused"] for judged in row["judged"])
    if not ends and (refused or any(event["status"] == "refused" for event in row["events"])):
        return "It was refused: whoever sent it was told so."
    if not ends:
        return "It is not in the queue; how it ended is not in the history."
    if ends == ["delivered"]:
        return "It is delivered, and nothing is left to do."
    return f"It has left the queue: {', '.join(f'{list(last.values()).count(end)} {end}' for end in ends)}."
