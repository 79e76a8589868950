"""Renaming and removing folders on disk so that a crash leaves each of them fully old or fully new. In threads.

A tree is many directories side by side. `mailserver-renames` says first, durably, which of them become what; then they
are renamed one by one, and the file goes. The next load of the account finishes what the file says. A single removal
is one rename to a name that means nothing, whose rest the next load clears.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence

import structlog

from mailserver.net import files
from mailserver.storage.maildir.checked import Damaged, read_checked, write_checked
from mailserver.storage.maildir.layout import GONE

__all__ = ["finish_renames", "remove_directory", "rename_directories"]

_log = structlog.get_logger()
INTENT = "mailserver-renames"


def rename_directories(account: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Rename these directories of an account, all or none over crashes. The new names are free. Raises OSError."""
    intent = f"{account}/{INTENT}"
    write_checked(intent, INTENT, {str(at): f"{old}/{new}" for at, (old, new) in enumerate(pairs)})
    done: list[tuple[str, str]] = []
    try:
        for old, new in pairs:
            os.rename(f"{account}/{old}", f"{account}/{new}")
            done.append((old, new))
        files.fsync_dir(account)
    except OSError:
        for old, new in reversed(done):
            os.rename(f"{account}/{new}", f"{account}/{old}")
        files.fsync_dir(account)
        raise
    finally:
        # Durably: a stale intent would rename a later folder of the old name.
        files.remove_file(intent)
        files.fsync_dir(account)


def finish_renames(account: str) -> None:
    """After a crash: what was intended is done."""
    intent = f"{account}/{INTENT}"
    try:
        fields = read_checked(intent, INTENT)
    except FileNotFoundError:
        return
    except Damaged as error:
        # It was never durable, so nothing was renamed for it.
        _log.warning("storage.intent_damaged", path=account, error=str(error))
        fields = {}
    for pair in fields.values():
        old, _, new = pair.partition("/")
        if os.path.isdir(f"{account}/{old}") and not os.path.lexists(f"{account}/{new}"):
            os.rename(f"{account}/{old}", f"{account}/{new}")
    files.fsync_dir(account)
    files.remove_file(intent)
    files.fsync_dir(account)


def remove_directory(path: str) -> str:
    """Take a directory away durably; returns where its rest is, for `files.remove_tree`. Raises OSError."""
    parent = os.path.dirname(path)
    gone = f"{parent}/{GONE}{secrets.token_hex(8)}"
    os.rename(path, gone)
    files.fsync_dir(parent)
    return gone
