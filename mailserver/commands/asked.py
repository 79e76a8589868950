"""Who was asked whether he wants mail that is to be forwarded to him."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import click

from mailserver.commands.moments import moment

__all__ = ["show_asked", "waiting"]


def waiting(one: Mapping[str, Any], again: str) -> str:
    """A target whose owner did not agree yet; `again`: how he is asked once more."""
    if one["declined"]:
        return f"{one['target']} (said no)"
    if one["until"] < time.time():
        return f"{one['target']} (no answer came; {again} to ask again)"
    return f"{one['target']} (asked, until {moment(one['until'])})"


def show_asked(asked: Iterable[Mapping[str, Any]], name: str, seen: str = "mailserver alias list") -> None:
    """A line for each; `name` is whose mail it is, `seen` the command that shows what became of it."""
    for one in asked:
        later = f"will be asked at {moment(one['at'])}" if one["at"] > time.time() + 1 else "was asked to agree"
        click.echo(f"{one['target']} {later}, and gets no mail of {name} before; see: {seen}")
