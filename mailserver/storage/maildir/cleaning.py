"""After a crash: what an account uses is counted again, and what nobody finished writing is removed. In threads."""

from __future__ import annotations

import os
import time

import structlog

from mailserver.net import files
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.layout import Loaded
from mailserver.storage.maildir.names import is_ours, parse

__all__ = ["clear_temporary", "count_usage", "usage_of"]

_log = structlog.get_logger()
_ABANDONED = 36 * 3600


def count_usage(loaded: Loaded) -> None:
    """Octets (with CRLF, where the names tell) and messages of all folders, into the account's state."""
    octets = messages = 0
    for folder in loaded.folders.values():
        folder.baseline = used, count = usage_of(folder)
        octets += used
        messages += count
    loaded.state.octets, loaded.state.messages = octets, messages


def usage_of(folder: Folder) -> tuple[int, int]:
    """Octets and messages of a folder, from the names of its files."""
    octets = messages = 0
    for directory in (folder.new, folder.cur):
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                    continue
                name = parse(entry.name)
                size = name.wire or name.size
                if size is None:
                    try:
                        size = entry.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:
                        continue
                octets += size
                messages += 1
    return octets, messages


def clear_temporary(loaded: Loaded) -> None:
    """Remove from tmp/ what we wrote before this start, and what others left for a day and a half.

    Called before anything is committed to the account, so every file of ours is one that will never be finished.
    """
    for folder in loaded.folders.values():
        try:
            entries = list(os.scandir(folder.tmp))
        except FileNotFoundError:
            files.make_dir(folder.tmp)
            continue
        for entry in entries:
            try:
                written = entry.stat(follow_symlinks=False).st_mtime
            except FileNotFoundError:
                continue
            ours = is_ours(entry.name) and parse(entry.name).uid is None
            if (ours or written < time.time() - _ABANDONED) and entry.is_file(follow_symlinks=False):
                _log.info("storage.unfinished_file_removed", folder=folder.path)
                files.remove_file(entry.path)
