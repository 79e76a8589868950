"""`mailserver mailbox`: mail on disk."""

from __future__ import annotations

from typing import Any

import click

from mailserver.commands.engine import perform
from mailserver.commands.options import Failed, config_option, json_option, show, show_rows

__all__ = ["command"]

_FINDING = {"severity": "HOW BAD", "path": "WHERE", "text": "WHAT", "rebuild": "REBUILD"}
_MAILBOX = {"mailbox": "MAILBOX", "messages": "MESSAGES", "uid_validity": "UIDVALIDITY", "uid_next": "UIDNEXT"}


@click.group("mailbox")
@config_option
def command() -> None:
    """Mail on disk: look for faults, mend them, come from Dovecot and go back."""


_full = click.option("--full", is_flag=True, help="Read every message too.")


@command.command("verify")
@click.argument("address", required=False, default="")
@_full
@json_option
@config_option
def verify(address: str, full: bool, as_json: bool) -> None:
    """Look for anything wrong with the mail of ADDRESS, or of everyone. Changes nothing; exit code 1 means faults."""
    found = perform("mailbox.verify", {"address": address, "full": full})
    accounts = "1 account" if found["accounts"] == 1 else f"{found['accounts']} accounts"
    columns = {"account": "ACCOUNT", **_FINDING}
    show_rows(found["findings"], columns, as_json=as_json, none=f"{accounts}: nothing wrong")
    if faults := _faults(found["findings"]):
        raise Failed(f"{faults} faults; mend them: mailserver mailbox rebuild ADDRESS")


@command.command("rebuild")
@click.argument("address")
@_full
@json_option
@config_option
def rebuild(address: str, full: bool, as_json: bool) -> None:
    """Mend what verify finds, and make the index of ADDRESS anew from the files; UIDs and flags stay.

    Its mail programs are disconnected and come back. Exit code 1 means that something is still wrong.
    """
    done = perform("mailbox.rebuild", {"address": address, "full": full})
    mended = _faults(done["before"]) - _faults(done["after"])
    if as_json:
        show(done, as_json=True, text="")
    else:
        show_rows(
            done["after"], _FINDING, as_json=False, none=f"{done['account']}: {mended} faults mended, nothing wrong now"
        )
    if left := _faults(done["after"]):
        raise Failed(f"{left} faults are left")


@command.command("adopt")
@click.argument("address")
@json_option
@config_option
def adopt(address: str, as_json: bool) -> None:
    """Take over a Maildir that Dovecot or another program wrote, and that now stands at the place of ADDRESS.

    Of Dovecot's, UIDs, keywords and subscriptions are kept, so that no mail program downloads anything again. It would
    happen by itself at the first use; this does it now, and says what there is.
    """
    found = perform("mailbox.adopt", {"address": address})
    show_rows(found["mailboxes"], _MAILBOX, as_json=as_json, none=f"{found['account']}: no mailboxes")


@command.command("export")
@click.argument("address")
@click.option("--dovecot", is_flag=True, required=True, help="Write Dovecot's lists of UIDs, keywords, subscriptions.")
@json_option
@config_option
def export(address: str, dovecot: bool, as_json: bool) -> None:
    """Write what another server needs to go on with the Maildir of ADDRESS and its UIDs."""
    found = perform("mailbox.export", {"address": address})
    messages = sum(box["messages"] for box in found["mailboxes"])
    text = f"{found['account']}: {messages} messages in {len(found['mailboxes'])} mailboxes, in {found['path']}"
    if left := sum(box["keywords_left"] for box in found["mailboxes"]):
        text += f"\n{left} messages have keywords beyond the 26 of a folder that Dovecot can read from file names"
    show(found, as_json=as_json, text=text)


_SHARE = {"mailbox": "MAILBOX", "identifier": "WITH", "rights": "RIGHTS"}


@command.command("share")
@click.argument("address")
@click.argument("mailbox")
@click.option("--with", "identifier", required=True, help="An address, @domain, or anyone; with - it takes away.")
@click.option("--rights", required=True, help='Letters of RFC 4314, as "lrs"; +te adds, -te removes, "" ends it.')
@json_option
@config_option
def share(address: str, mailbox: str, identifier: str, rights: str, as_json: bool) -> None:
    """Let others use a MAILBOX of ADDRESS.

    Rights: l see it, r read, s mark as read, w set other flags, i put mail in, t and e delete mail, k make folders
    beneath it, x delete and rename it, a share it further.
    """
    arguments = {"address": address, "mailbox": mailbox, "identifier": identifier, "rights": rights}
    done = perform("mailbox.share", arguments)
    show_rows(done["shares"], _SHARE, as_json=as_json, none=f"{mailbox} is shared with nobody")


@command.command("shares")
@click.argument("address")
@json_option
@config_option
def shares(address: str, as_json: bool) -> None:
    """With whom ADDRESS shares which mailboxes."""
    done = perform("mailbox.shares", {"address": address})
    show_rows(done["shares"], _SHARE, as_json=as_json, none=f"{done['account']} shares nothing")


def _faults(findings: list[dict[str, Any]]) -> int:
    return sum(finding["severity"] != "notice" for finding in findings)
