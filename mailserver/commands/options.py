"""What commands have in common: --config before or after the arguments, --json, tables, passwords, failures."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
import orjson

__all__ = [
    "ConfigurationFailed",
    "Failed",
    "config_option",
    "json_option",
    "named_config",
    "printable",
    "read_password",
    "show",
    "show_rows",
]

F = TypeVar("F", bound=Callable[..., Any])

_CONFIG = "mailserver.config"
MAX_PASSWORD = 1024
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


class Failed(click.ClickException):
    """The command could not do what it should; the words say what, where and what to do."""

    exit_code = 1


class ConfigurationFailed(click.ClickException):
    """The configuration is wrong; one line per problem."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """The problems as they are: each line begins with its file and line."""
        click.echo(self.message, err=True, file=file)


def _remember(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta[_CONFIG] = value  # shared by the contexts of the group and of its commands


def config_option(function: F) -> F:
    """`--config FILE`, for the group and for every command: the last one counts."""
    text = "The configuration; by default config.toml, then /etc/mailserver/config.toml."
    option = click.option("--config", metavar="FILE", expose_value=False, callback=_remember, is_eager=True, help=text)
    return option(function)


def named_config() -> str | None:
    """The file that --config names, else None."""
    value = click.get_current_context().meta.get(_CONFIG)
    return value if isinstance(value, str) else None


def json_option(function: F) -> F:
    """`--json`, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


def read_password(prompt: str) -> str:
    """Asked for twice at a terminal; otherwise the first line of standard input. Raises Failed."""
    if sys.stdin.isatty():
        password: str = click.prompt(prompt, hide_input=True, confirmation_prompt=True)
    else:
        octets = sys.stdin.buffer.readline(4 * MAX_PASSWORD + 2)
        try:
            password = octets.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise Failed("the password on standard input is not UTF-8") from None
    if not password:
        raise Failed("there is no password: type one at a terminal, or give it as the first line of standard input")
    if len(password) > MAX_PASSWORD:
        raise Failed(f"the password is longer than {MAX_PASSWORD} characters")
    return password


def show(value: Any, *, as_json: bool, text: str) -> None:
    """Print a result: as JSON, or as `text` (nothing when empty)."""
    if as_json:
        click.echo(_escaped(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()))
    elif text:
        click.echo(text)


def _escaped(text: str) -> str:
    """JSON in which what a terminal would obey or not show (C1 controls, marks that turn the direction of writing) is
    written as an escape; the values stay the same. All such characters stand in strings."""
    return text if text.isascii() else _BEYOND_ASCII.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in match[0])


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool, none: str) -> None:
    """Print a list: all of it as JSON, or `columns` (key → heading) as an aligned table; `none` when it is empty."""
    if as_json:
        show(list(rows), as_json=True, text="")
        return
    if not rows:
        click.echo(none)
        return
    cells = [list(columns.values())] + [[_cell(row.get(key)) for key in columns] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value) or "-"
    return printable(str(value))


def printable(text: str) -> str:
    """What strangers wrote, fit for a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
