"""Mailbox names ↔ Maildir++ directories: `A/b.c` is `.A.b%2ec`, in modified UTF-7 (RFC 3501 §5.1.3).

A directory that we did not make (`.Foo%Bar`, raw UTF-8) still gets a name; its own spelling on disk is remembered by
whoever listed it, because it is not what `directory` would give for that name.
"""

from __future__ import annotations

import os

from mailserver.model.errors import InvalidInput, LimitReached
from mailserver.model.mailbox import INBOX, SEPARATOR, check_mailbox_name
from mailserver.wire.imap import utf7

__all__ = ["directory", "mailbox_name"]

MAX_NAME = 255

def directory(name: str) -> str:
    """The directory of a (checked) mailbox below its account: "" for INBOX.

    Raises:
        LimitReached: longer than 255 octets.
    """
    if name == INBOX:
        return ""
    encoded = [utf7.encode(part).decode("ascii") for part in name.split(SEPARATOR)]
    made = "." + ".".join(part.replace("%", "%25").replace(".", "%2e") for part in encoded)
    if len(made) > MAX_NAME:
        raise LimitReached(f"a mailbox name has at most {MAX_NAME - 1} octets")
    return made


def mailbox_name(dirname: str) -> str | None:
    """The mailbox of a directory that was found in an account; None if it can be none."""
    if not dirname.startswith(".") or len(dirname) < 2:
        return None
    parts = dirname[1:].split(".")
    if "" in parts:
        return None
    name = SEPARATOR.join(_decode_part(part) for part in parts)
    try:
        return check_mailbox_name(name) if name.upper() != INBOX else None
    except InvalidInput:
        return None


def _decode_part(part: str) -> str:
    try:
        text = utf7.decode(os.fsencode(part))
    except InvalidInput:
        text = os.fsencode(part).decode("utf-8", "replace")
    # Only what we write ourselves; any other % belongs to a name that another program made.
    return text.replace("%2e", ".").replace("%25", "%")
