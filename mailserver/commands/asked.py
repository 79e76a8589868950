"""Who was asked whether he wants mail that is to be forwarded to him."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import click

from mailserver.commands.moments import moment

__all__ = ["show_asked"]


def show_asked(asked: Iterable[Mapping[str, Any]], name: str) -> None:
    """A line for each; `name` is whose mail it is."""
    for one in asked:
        later = f"will be asked at {moment(one['at'])}" if one["at"] > time.time() + 1 else "was asked to agree"
        click.echo(f"{one['target']} {later}, and gets no mail of {name} before; see: mailserver alias list")
