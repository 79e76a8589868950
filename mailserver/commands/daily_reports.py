"""What all reports of a day have in common, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mailserver.commands.moments import moment

__all__ = ["Lines", "Row", "describe", "fate", "plural", "reported"]

Row = Mapping[str, Any]
Lines = Iterator[str]
_TITLES = {
    "received": "What others report about us", "sources": "Who sends in our name, as others see it",
    "sent": "What we report about others",
}  # fmt: skip
_STATES = {
    "sent": "sent to {told}",
    "unwanted": "not sent: the domain does not ask for reports",
    "failed": "given up: {trouble}",
}


def describe(told: Row, **lines: Lines) -> Lines:
    """Parts of an answer, each with its lines, and the records by which reports come below those that came."""
    wanted = [name for name in _TITLES if name in told]
    for name in wanted:
        yield _TITLES[name]
        yield from list(lines[name]) or ["  nothing yet"]
        if name == "received":
            yield ""
            yield from _records(told["records"])
        if name != wanted[-1]:
            yield ""


def reported(row: Row) -> str:
    """When, who, and about whom."""
    day = f"{datetime.fromtimestamp(row['begins'], UTC):%Y-%m-%d}"
    return f"  {day}  {row['organisation'] or row['contact']} about {row['domain']}"


def fate(row: Row) -> str:
    """What became of a report of ours."""
    if row["state"] == "waiting":
        trouble = f"; last try: {row['trouble']}" if row["trouble"] else ""
        return f"              to be sent {moment(row['next'])}{trouble}"
    words = _STATES[row["state"]].format(told=", ".join(row["told"]), trouble=row["trouble"])
    missing = f"; not to {row['trouble']}" if row["state"] == "sent" and row["trouble"] else ""
    return f"              {words}{missing}"


def plural(number: int, noun: str) -> str:
    """With the noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _records(rows: Sequence[Row]) -> Lines:
    for row in rows:
        if row["asks"]:
            yield f"  {row['name']} is right: {', '.join(row['published'])}"
        elif row["published"]:
            rua = row["text"].rpartition("; ")[2]
            yield f"  {row['name']} asks for no reports: {', '.join(row['published'])}; add {rua}"
        else:
            state = "is missing in DNS; publish" if row["published"] == [] else "cannot be looked up now; it should be"
            yield f"  {row['name']} {state}:"
            yield f'    {row["name"]}. IN TXT "{row["text"]}"'
