"""One look at a folder: is it worth it, what other programs did, and the numbers of what is there. In threads."""

from __future__ import annotations

import sqlite3
import time

from mailserver.storage.maildir import rows
from mailserver.storage.maildir.flush import flush_unlinks, never
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.index import AccountIndex
from mailserver.storage.maildir.scan import mtimes
from mailserver.storage.maildir.sync import Look, Synced, sync

__all__ = ["FolderCounts", "look_now", "unchanged"]

#: How many messages have which flags, octets, the highest MODSEQ.
FolderCounts = tuple[dict[frozenset[str], int], int, int]
#: A folder with fewer files is listed at any doubt; a larger one not more often than this part of the time.
_SMALL = 2_000
_SHARE = 20


def look_now(index: AccountIndex, look: Look, count: bool) -> tuple[Synced, FolderCounts | None] | None:
    """What is found, and if `count` the folder's numbers when they may be others; None: nothing new.

    Raises OSError, IndexLost, StorageFailure: then `look` says what was adopted all the same.
    """
    folder = look.folder
    # With a table the numbers are known without asking; ones that were told once are kept right.
    count = folder.mailbox is None and (count or folder.counts is not None)
    if look.first:
        row = index.run(lambda db: rows.folder_row(db, folder.state, look.modseq - 1))
        look.fresh = row.fresh
        while flush_unlinks(index, folder, row.number, never).more:
            pass
    elif unchanged(folder):
        return _count_now(index, look) if count and folder.counts is None else None
    folder.reserve_modseqs()
    synced = sync(index, look)
    counts = None
    if count and (look.first or folder.counts is None or synced.gone or synced.changed):
        counts = index.run(lambda db: rows.load_counts(db, index, synced.number))
    return synced, counts


def _count_now(index: AccountIndex, look: Look) -> tuple[Synced, FolderCounts]:
    def work(db: sqlite3.Connection) -> tuple[int, FolderCounts]:
        number = rows.folder_row(db, look.folder.state, look.modseq - 1).number
        if look.arrivals:
            rows.add_messages(db, index, number, look.arrivals, look.arrivals[-1].uid + 1)
        return number, rows.load_counts(db, index, number)

    number, counts = index.run(work)
    return Synced(look.folder.seen, number), counts


def unchanged(folder: Folder) -> bool:
    """Is another look not worth it now? Raises OSError."""
    seen = folder.seen
    same = mtimes(folder.path) == (seen.new_mtime, seen.cur_mtime)
    if same and seen.trusted:
        return True
    if seen.entries < _SMALL:
        return False
    # Our own changes move the mtimes too: a large folder is not listed after each of them.
    pause = _SHARE * seen.seconds
    return time.monotonic() - seen.at < (max(2.0, pause) if same else pause)
