"""`mailserver bayes`: teach the server what is junk and what is not."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mailserver.commands.engine import perform
from mailserver.commands.options import Failed, config_option, json_option, show_rows

__all__ = ["command"]

#: What the server looks at of one message, and what goes to it at once.
_MOST_OCTETS = 256 << 10
_AT_ONCE = 512 << 10
_MOST_MESSAGES = 200
#: Lines of a mailbox that would be longer are cut there.
_LINE = 64 << 10


@click.group("bayes")
@config_option
def command() -> None:
    """Teach the server what is junk and what is not."""


@command.command("train")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--junk", "kind", flag_value="junk", help="It is junk.")
@click.option("--good", "kind", flag_value="good", help="It is mail that was wanted.")
@click.option("--account", default="", help="Teach this account, and others as far as they learn from each other.")
@click.option("--mailbox", default="", help="Learn from this mailbox of the account.")
@config_option
def train(paths: tuple[Path, ...], kind: str | None, account: str, mailbox: str) -> None:
    """Learn from PATHS: mbox files, Maildirs, folders of messages, or single messages.

    Without --account everybody is taught. A message counts once, however often it is given; given as the other kind, it
    is moved from one to the other.
    """
    if kind is None:
        raise click.UsageError("say what it is: --junk or --good")
    if bool(paths) == bool(mailbox):
        raise click.UsageError("name files, or a mailbox with --mailbox")
    if mailbox and not account:
        raise click.UsageError("name the account whose mailbox it is: --account ADDRESS")
    arguments: dict[str, Any] = {"account": account, "junk": kind == "junk"}
    learned = known = 0
    for done in _from_mailbox(arguments, mailbox) if mailbox else _from_files(arguments, paths):
        learned, known = learned + done["learned"], known + done["known"]
    old = f"; {known} were known already" if known else ""
    click.echo(f"learned from {learned} {'message' if learned == 1 else 'messages'}{old}")


@command.command("show")
@json_option
@config_option
def show(as_json: bool) -> None:
    """Show how much was learned, and what it weighs."""
    done = perform("bayes.show", {})
    rows = done["owners"]
    if not as_json:
        rows = [
            {**row, "account": row["account"] or "(everybody)", "weight": f"{100 * row['weight']:.0f} %"}
            for row in rows
        ]
    columns = {"account": "ACCOUNT", "junk": "JUNK", "good": "GOOD", "weight": "WEIGHT"}
    show_rows(rows, columns, as_json=as_json, none="nothing was learned yet")
    if not as_json and rows:
        click.echo(f"full weight with {done['enough']} of each; {done['size'] / (1 << 20):.1f} MiB")


@command.command("reset")
@click.argument("account", default="")
@click.option("--everybody", is_flag=True, help="Forget what all accounts learned together.")
@config_option
def reset(account: str, everybody: bool) -> None:
    """Forget what ACCOUNT taught. What others learned from it stays."""
    if bool(account) == everybody:
        raise click.UsageError("name an account, or --everybody")
    done = perform("bayes.reset", {"account": account})
    name = done["account"] or "everybody"
    click.echo(f"{name}: forgotten" if done["forgotten"] else f"{name}: nothing was learned")


def _from_mailbox(arguments: dict[str, Any], mailbox: str) -> Iterator[dict[str, Any]]:
    done: dict[str, Any] = {"more": True, "after": 0}
    while done["more"]:
        done = perform("bayes.train", {**arguments, "mailbox": mailbox, "after": done["after"]})
        yield done


def _from_files(arguments: dict[str, Any], paths: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    batch: list[str] = []
    size = 0
    for octets in _messages(paths):
        text = binascii.b2a_base64(octets, newline=False).decode()
        if batch and (size + len(text) > _AT_ONCE or len(batch) == _MOST_MESSAGES):
            yield perform("bayes.train", {**arguments, "messages": batch})
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield perform("bayes.train", {**arguments, "messages": batch})


def _messages(paths: tuple[Path, ...]) -> Iterator[bytes]:
    """The beginnings of all messages, with CRLF. Raises Failed."""
    for path in paths:
        try:
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            # What a Maildir's tmp/ has is not delivered, and its other files are no mail.
            is_maildir = path.is_dir() and (path / "cur").is_dir()
            for file in files:
                if file.is_file() and (not is_maildir or file.parent.name in ("cur", "new")):
                    yield from _in_file(file)
        except OSError as error:
            raise Failed(f"{error.filename or path}: {error.strerror or error}") from None


def _in_file(path: Path) -> Iterator[bytes]:
    """One message, or those of an mbox file (RFC 4155)."""
    message: list[bytes] = []
    size, after_empty, is_mbox = 0, True, None
    with path.open("rb") as file:
        while line := file.readline(_LINE):
            begins = after_empty and line.startswith(b"From ")
            is_mbox = begins if is_mbox is None else is_mbox
            after_empty = line in (b"\n", b"\r\n")
            if begins and is_mbox:
                if message:
                    yield b"".join(message)
                message, size = [], 0
                continue
            if is_mbox and line.startswith(b">") and line.lstrip(b">").startswith(b"From "):
                line = line[1:]
            if size < _MOST_OCTETS:
                line = line.rstrip(b"\r\n") + b"\r\n" if line.endswith(b"\n") else line
                message.append(line[: _MOST_OCTETS - size])
                size += len(line)
    if message:
        yield b"".join(message)
