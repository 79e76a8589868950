"""`mailserver queue`: mail that waits to be sent."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from mailserver.commands.engine import perform
from mailserver.commands.moments import AFTER, BEFORE, ago, moment
from mailserver.commands.operator import operator
from mailserver.commands.options import Failed, config_option, json_option, printable, show, show_rows
from mailserver.commands.telling import waiting_recipient

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])

#: Ids that one request names.
_TOGETHER = 10_000


@click.group("queue")
@config_option
def command() -> None:
    """Mail that waits to be sent."""


def _filters(function: F) -> F:
    for option in (
        click.option("--older", "before", type=BEFORE, help='Arrived before: "2h", "3d", or a date.'),
        click.option("--status", type=click.Choice(["active", "waiting", "held"]), help="What it is doing."),
        click.option("--domain", metavar="PATTERN", help="A recipient's domain."),
        click.option("--to", "to", metavar="PATTERN", help="A recipient; a domain means all its addresses."),
        click.option("--from", "from_", metavar="PATTERN", help='The sender; "<>" is that of reports.'),
        click.option("--id", "more_ids", multiple=True, metavar="ID", help="This message; repeat for more."),
    ):
        function = option(function)
    return function


def _chooses(function: F) -> F:
    """For commands that change messages: ids, filters, --all."""
    function = _filters(function)
    function = click.option("--all", "all_", is_flag=True, help="All messages.")(function)
    return json_option(click.argument("ids", nargs=-1, metavar="[ID]...")(config_option(function)))


@command.command("list")
@_filters
@json_option
@config_option
def show_all(as_json: bool, **chosen: Any) -> None:
    """List what waits, oldest first. In a PATTERN, * and ? stand for any characters."""
    rows = perform("queue.list", _wanted(chosen))
    if not as_json:
        rows = [
            {**row, "arrived": moment(row["arrived"]), "sender": row["sender"] or "<>", "next": _next(row)}
            for row in rows
        ]
    columns = {
        "queue_id": "ID",
        "status": "STATUS",
        "arrived": "ARRIVED",
        "size": "SIZE",
        "sender": "SENDER",
        "recipients": "RECIPIENTS",
        "attempts": "TRIES",
        "next": "NEXT TRY",
        "last_error": "LAST ERROR",
    }
    show_rows(rows, columns, as_json=as_json, none="the queue is empty" if not _wanted(chosen) else "nothing matches")


@command.command("show")
@click.argument("queue_id", metavar="ID")
@json_option
@config_option
def show_one(queue_id: str, as_json: bool) -> None:
    """Show one waiting message: what happened to each recipient, and when it goes on."""
    row = perform("queue.show", {"queue_id": queue_id})
    lines = [
        f"id          {row['queue_id']}",
        f"sender      {row['sender'] or '<>'}" + (f" (account {row['account']})" if row["account"] else ""),
        f"size        {row['size']} octets",
        f"arrived     {ago(row['arrived'])}",
        f"status      {_status(row)}",
    ]
    if row["expires"] is not None:
        lines.append(f"tried until {ago(row['expires'])}")
    for recipient in row["recipients"]:
        lines += ["", *waiting_recipient(recipient)]
    show(row, as_json=as_json, text="\n".join(map(printable, lines)))


@command.command("hold")
@click.option("--until", type=AFTER, help='Until then: "2h", "2026-12-24 18:00"; without it, until it is released.')
@_chooses
def hold(until: float | None, as_json: bool, **chosen: Any) -> None:
    """Hold messages back: no attempt is made."""
    _change("queue.hold", {"until": until}, chosen, as_json, "held")


@command.command("release")
@_chooses
def release(as_json: bool, **chosen: Any) -> None:
    """Hold messages no longer, also those that their sender wants to be sent later, and send them now."""
    _change("queue.release", {}, chosen, as_json, "released", left="not held, so nothing was changed")


@command.command("retry")
@_chooses
def retry(as_json: bool, **chosen: Any) -> None:
    """Try messages now, also where their destination is left alone for a while."""
    _change("queue.retry", {}, chosen, as_json, "tried now", left="held; release it instead")


@command.command("reschedule")
@click.option("--at", type=AFTER, required=True, help='The next attempt: "30m" from now, or "2026-12-24 18:00".')
@_chooses
def reschedule(at: float, as_json: bool, **chosen: Any) -> None:
    """Try messages at another time."""
    what = f"tried at {moment(at)}"
    _change("queue.reschedule", {"at": at}, chosen, as_json, what, left="held; release it instead")


@command.command("flush")
@json_option
@config_option
def flush(as_json: bool) -> None:
    """Try everything now that is not held."""
    done = perform("queue.flush", {})
    show(done, as_json=as_json, text=f"{_count(done['changed'])} tried now")


@command.command("drop")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_chooses
def drop(yes: bool, as_json: bool, **chosen: Any) -> None:
    """Throw messages away. Their senders are not told."""
    wanted = _selection(chosen)
    if wanted.keys() != {"ids"} or len(wanted["ids"]) > 1:
        found = perform("queue.list", {name: value for name, value in wanted.items() if name != "all"})
        _confirm(found, yes)
        if wanted.keys() != {"ids"}:
            # Only what was asked about: others may have come meanwhile.
            wanted = {"ids": [row["queue_id"] for row in found]}
    _apply("queue.drop", wanted, {}, as_json, "dropped", "no longer there")


def _confirm(found: Sequence[Mapping[str, Any]], yes: bool) -> None:
    if not found:
        raise Failed("nothing matches")
    if yes:
        return
    question = f"{_count(found)} will be thrown away, and nobody is told"
    if not sys.stdin.isatty():
        raise Failed(f"{question}; say --yes if that is what you want")
    for row in found[:10]:
        click.echo(printable(f"{row['queue_id']}  {row['sender'] or '<>'} to {', '.join(row['recipients'][:3])}"))
    click.confirm(f"{question}. Go on?", abort=True)


def _change(
    operation: str, arguments: Mapping[str, Any], chosen: Mapping[str, Any], as_json: bool, what: str,
    left: str = "no longer there",
) -> None:  # fmt: skip
    _apply(operation, _selection(chosen), arguments, as_json, what, left)


def _apply(
    operation: str, wanted: Mapping[str, Any], arguments: Mapping[str, Any], as_json: bool, what: str, left: str
) -> None:
    """Do it, and say what was done; fails when a message that was named, or all of them, stays as it was."""
    ids = list(wanted.get("ids", ()))
    done: dict[str, list[str]] = {"changed": [], "left": []}
    parts = [ids[at : at + _TOGETHER] for at in range(0, len(ids), _TOGETHER)] or [[]]
    for part in parts:
        answer = perform(operation, {**wanted, **arguments, "ids": part, "by": operator()})
        done["changed"] += answer["changed"]
        done["left"] += answer["left"]
    known = {*done["changed"], *done["left"]}
    missing = [queue_id for queue_id in ids if queue_id not in known]
    show({**done, "missing": missing}, as_json=as_json, text="")
    if not as_json and (done["changed"] or not ids):
        named = f": {', '.join(done['changed'])}" if 0 < len(done["changed"]) <= 10 else ""
        click.echo(f"{_count(done['changed'])} {what}{named}")
    problems = [f"no message {queue_id} waits in the queue" for queue_id in missing]
    problems += [f"{queue_id} is {left}" for queue_id in done["left"][:10]]
    if problems:
        raise Failed("\n".join(problems))


def _selection(chosen: Mapping[str, Any]) -> dict[str, Any]:
    wanted = _wanted(chosen)
    if chosen.get("all_"):
        wanted["all"] = True
    if not wanted:
        raise click.UsageError("say which messages: ids, or --from, --to, --domain, --status, --older, or --all")
    return wanted


def _wanted(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What the operations take."""
    ids = [*chosen.get("ids", ()), *chosen["more_ids"]]
    given = {
        "from": chosen["from_"], "to": chosen["to"], "domain": chosen["domain"], "status": chosen["status"],
        "before": chosen["before"], "ids": ids,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value}


def _count(things: Sequence[object]) -> str:
    return f"{len(things)} message{'' if len(things) == 1 else 's'}"


def _next(row: Mapping[str, Any]) -> str:
    if row["status"] == "held":
        return f"held until {moment(row['held_until'])}" if row["held_until"] else "held"
    return "now" if row["status"] == "active" else moment(row["next_attempt"])


def _status(row: Mapping[str, Any]) -> str:
    if row["status"] != "held":
        return str(row["status"])
    if row["held_until"] is None:
        return "held until somebody releases it"
    asked = ", as its sender asked" if row["held_until"] == row["held_by_sender"] else ""
    return f"held until {ago(row['held_until'])}{asked}"
