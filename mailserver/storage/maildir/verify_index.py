"""The part of `mailbox verify` that compares `index.db` with the directories. Reads only.

No index is no problem; one that says what is not so is.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing

from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.index import key_range
from mailserver.storage.maildir.names import parse
from mailserver.storage.maildir.scan import list_names

__all__ = ["check_index"]

Found = tuple[str, str, str]
_UID = 0xFFFFFFFF


def check_index(account: str, folders: Sequence[Folder]) -> list[Found]:
    """(kind, path, text) of each disagreement."""
    path = f"{account}/index.db"
    if not os.path.lexists(path):
        return []
    try:
        # Not `immutable`: what stands in the WAL counts. Reading may make its -shm file, as any reader does.
        with closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, isolation_level=None)) as db:
            damage = [row[0] for row in db.execute("PRAGMA integrity_check(10)") if row[0] != "ok"]
            if damage:
                return [("index", path, f"the database is damaged: {damage[0]}")]
            numbers = {
                mailbox_id: (number, uid_validity, uid_seen)
                for mailbox_id, number, uid_validity, uid_seen in db.execute(
                    "SELECT mailbox_id, number, uid_validity, uid_seen FROM folders"
                )
            }
            found = []
            for folder in folders:
                row = numbers.pop(folder.state.mailbox_id, None)
                if row is not None and row[1] == folder.state.uid_validity:
                    found += list(_check_folder(db, folder, row[0], row[2]))
            found += [("index", path, f"a folder that does not exist ({mailbox_id})") for mailbox_id in numbers]
            return found
    except (sqlite3.Error, TypeError, ValueError) as error:
        return [("index", path, f"the database is damaged: {error}")]


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _check_folder(db: sqlite3.Connection, folder: Folder, number: int, uid_seen: int) -> Iterator[Found]:
    names = {True: list_names(folder.new), False: list_names(folder.cur)}
    indexed: set[int] = set()
    yield from _check_rows(db, folder, number, names, indexed)
    yield from _check_files(db, folder, number, uid_seen, names, indexed)
    buried = {key & _UID for (key,) in db.execute(
        "SELECT key FROM tombstones WHERE key BETWEEN ? AND ?", key_range(number))}  # fmt: skip
    for uid in sorted(buried & indexed):
        yield "index", folder.path, f"UID {uid} is there and was removed"


def _check_rows(
    db: sqlite3.Connection, folder: Folder, number: int, names: dict[bool, set[bytes]], indexed: set[int]
) -> Iterator[Found]:
    """What the index has; its UIDs are added to `indexed`."""
    sets = {key: frozenset(flags.split()) for key, flags in db.execute("SELECT number, flags FROM flag_sets")}
    for key, base, info, in_new, flags, modseq, size, dirty in db.execute(
        "SELECT key, base, info, in_new, flags, modseq, size, dirty FROM messages WHERE key BETWEEN ? AND ?",
        key_range(number),
    ):
        uid, name = key & _UID, os.fsdecode(base + info)
        parsed = parse(name)
        path = f"{folder.new if in_new else folder.cur}/{name}"
        indexed.add(uid)
        if base + info not in names[bool(in_new)]:
            yield "index", path, f"UID {uid} of the index has no file"
            continue
        if parsed.uid != uid:
            yield "index", path, f"the index calls it UID {uid}"
        if modseq >= folder.state.modseq_floor:
            yield "index", path, f"MODSEQ {modseq} is above all that were given"
        if parsed.size is not None and parsed.size != size:
            yield "index", path, f"the index says {size} octets"
        if dirty:
            yield "flags", path, "the name is not yet what the flags are"
        elif sets.get(flags) != folder.keywords.flags_of(parsed.letters, parsed.base):
            yield "flags", path, "the index has other flags than the name"


def _check_files(
    db: sqlite3.Connection,
    folder: Folder,
    number: int,
    uid_seen: int,
    names: dict[bool, set[bytes]],
    indexed: set[int],
) -> Iterator[Found]:
    """Files that the index should have and has not."""
    removed = {base for (base,) in db.execute("SELECT base FROM unlinks WHERE key BETWEEN ? AND ?", key_range(number))}
    for in_new, listed in names.items():
        for raw in sorted(listed):
            parsed = parse(os.fsdecode(raw))
            path = f"{folder.new if in_new else folder.cur}/{os.fsdecode(raw)}"
            if raw.partition(b":")[0] in removed:
                yield "leftover", path, "a removed message whose file is still there"
            elif parsed.uid_validity == folder.state.uid_validity and parsed.uid not in indexed:
                if parsed.uid is not None and parsed.uid < uid_seen:
                    yield "index", path, f"UID {parsed.uid} is missing in the index"
