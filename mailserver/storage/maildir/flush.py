"""What the index knows before the directories do: flags that belong into names, messages whose files must go.

In threads, in batches, with the account's lock held. The order is what makes it safe: rename or unlink, make the
directory durable, and only then let the index forget that there was something to do.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mailserver.net import files
from mailserver.storage.maildir.folder import Folder, Seen
from mailserver.storage.maildir.index import AccountIndex
from mailserver.storage.maildir.keys import as_json, key_range
from mailserver.storage.maildir.names import parse
from mailserver.storage.maildir.pieces import forget_pieces
from mailserver.storage.maildir.rows import check_name
from mailserver.storage.maildir.scan import TO_CUR, list_names, mtimes

__all__ = ["Flushed", "flush_names", "flush_unlinks", "mark_new", "never"]

BATCH = 500
#: After so many files it is asked whether someone waits.
_STEP = 20


@dataclass(slots=True)
class Flushed:
    """`more`: there is another batch. `stale`: a file was not where the index has it; look at the directory again."""

    more: bool
    stale: bool
    seen: Seen


def flush_names(index: AccountIndex, folder: Folder, number: int, wanted: Callable[[], bool]) -> Flushed:
    """Rename up to `BATCH` files to what their flags are now (and out of new/); fewer when the account is `wanted`."""
    query = "SELECT key, base, info, in_new, flags FROM messages WHERE dirty AND key BETWEEN ? AND ? LIMIT ?"

    def read(db: sqlite3.Connection) -> list[tuple[Any, frozenset[str]]]:
        rows = _named(db.execute(query, (*key_range(number), BATCH)).fetchall())
        return [(row, index.flag_set(row[-1])) for row in rows]

    rows = index.run(read)
    if not rows:
        return Flushed(False, False, folder.seen)
    before = mtimes(folder.path)
    done, further, stale = [], {}, False
    touched: set[str] = set()
    for at, ((key, raw_base, raw_info, in_new, flags), chosen) in enumerate(rows):
        if at % _STEP == _STEP - 1 and wanted():
            break
        base, info = os.fsdecode(raw_base), os.fsdecode(raw_info)
        new_info = folder.keywords.info(chosen, parse(base + info).letters)
        source = f"{folder.new if in_new else folder.cur}/{base}{info}"
        if in_new or new_info != info:
            try:
                os.rename(source, f"{folder.cur}/{base}{new_info}")
            except FileNotFoundError:
                stale = True
                continue
            touched.update((folder.cur, os.path.dirname(source)))
        further[base] = folder.keywords.without_letter(chosen)
        done.append((os.fsencode(new_info), key, flags))
    folder.keywords.journal(further)
    for directory in touched:
        files.fsync_dir(directory)
    query = "UPDATE messages SET info = ?, in_new = 0, dirty = 0 WHERE key = ? AND flags = ?"
    index.run(lambda db: db.executemany(query, done))
    more = not stale and (len(done) < len(rows) or len(rows) == BATCH)
    return Flushed(more, stale, _own_change(folder, before))


def _named(rows: list[Any]) -> list[Any]:
    """These rows, which begin with key, base and info. Raises BadValue."""
    for key, base, info, *_ in rows:
        check_name(key & 0xFFFFFFFF, base, info)
    return rows


def flush_unlinks(index: AccountIndex, folder: Folder, number: int, wanted: Callable[[], bool]) -> Flushed:
    """Unlink up to `BATCH` files of messages that were removed; fewer when the account is `wanted`."""
    query = "SELECT key, base, info, in_new FROM unlinks WHERE key BETWEEN ? AND ? LIMIT ?"
    rows = index.run(lambda db: _named(db.execute(query, (*key_range(number), BATCH)).fetchall()))
    if not rows:
        return Flushed(False, False, folder.seen)
    before = mtimes(folder.path)
    touched: set[str] = set()
    renamed: set[bytes] = set()
    done = rows
    for at, (_, base, info, in_new) in enumerate(rows):
        if at % _STEP == _STEP - 1 and wanted():
            done = rows[:at]
            break
        directory = folder.new if in_new else folder.cur
        if files.remove_file(f"{directory}/{os.fsdecode(base + info)}"):
            touched.add(directory)
        else:
            renamed.add(base)
    if renamed:
        touched.update(_remove_renamed(folder, renamed))
    for directory in touched:
        files.fsync_dir(directory)
    folder.keywords.forget(os.fsdecode(base) for _, base, *_ in done)
    index.run(lambda db: _forget(db, [key for key, *_ in done]))
    return Flushed(len(done) < len(rows) or len(rows) == BATCH, False, _own_change(folder, before))


def _forget(db: sqlite3.Connection, keys: list[int]) -> None:
    db.execute("DELETE FROM unlinks WHERE key IN (SELECT value FROM json_each(?))", (as_json(keys),))
    forget_pieces(db, keys)


def _remove_renamed(folder: Folder, bases: set[bytes]) -> set[str]:
    """Another program renamed the file, or it is gone already."""
    touched = set()
    for directory in (folder.new, folder.cur):
        for name in list_names(directory):
            if name.partition(b":")[0] in bases and files.remove_file(f"{directory}/{os.fsdecode(name)}"):
                touched.add(directory)
    return touched


def _own_change(folder: Folder, before: tuple[int, int]) -> Seen:
    """If nobody else wrote before us, the new mtimes are ours. Something may still hide behind them: not trusted."""
    seen = folder.seen
    if before != (seen.new_mtime, seen.cur_mtime):
        return seen
    return Seen(*mtimes(folder.path), False, seen.entries, seen.seconds, seen.at)


def mark_new(db: sqlite3.Connection, number: int) -> int:
    """Let the next flush move everything out of new/ (after a SELECT); how many."""
    query = "UPDATE messages SET dirty = ? WHERE in_new AND NOT dirty AND key BETWEEN ? AND ?"
    return db.execute(query, (TO_CUR, *key_range(number))).rowcount


def never() -> bool:
    """Nobody waits for the account."""
    return False
