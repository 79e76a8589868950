"""Bringing index and directory of one folder together: the first look after a start, and every look for strangers.

One hop to a thread: look at mtimes, list, compare, rename files of strangers, write the index. What the loop must then
do (resolve UIDs, change the table, wake sessions) is in the result. The account's lock is held around it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from mailserver.net import files
from mailserver.storage.maildir import dovecot, rows
from mailserver.storage.maildir.cleaning import usage_of
from mailserver.storage.maildir.folder import Arrival, Folder, Seen
from mailserver.storage.maildir.index import AccountIndex
from mailserver.storage.maildir.keys import key_range
from mailserver.storage.maildir.names import parse
from mailserver.storage.maildir.scan import Difference, Moved, compare, mtimes
from mailserver.storage.maildir.snapshots import forget_snapshot
from mailserver.storage.maildir.unknown_files import Adopted, adopt

__all__ = ["Look", "Memory", "Synced", "remember", "sync"]

#: An mtime that was younger than this when it was read may hide a later change of the same tick.
_TRUST_AFTER_NS = 2_000_000_000
_ADOPTED_AT_ONCE = 20_000


@dataclass(slots=True)
class Synced:
    """`changed`: uid → flags, of messages whose flags another program changed; `known`: files found with their UID."""

    seen: Seen
    number: int = 0
    gone: list[int] = field(default_factory=list)
    changed: dict[int, frozenset[str]] = field(default_factory=dict)
    adopted: Adopted = field(default_factory=Adopted)
    modseq_used: bool = False
    #: Octets and messages that the index (or, if it knew nothing, the names) counted before the first look.
    before: tuple[int, int] | None = None
    #: Names that differ from the flags in the index: there is something to flush.
    pending: bool = False


@dataclass(slots=True)
class Memory:
    """What the table in memory knows of the folder's messages: it outlives a lost index."""

    flags: Mapping[int, frozenset[str]]
    modseqs: Mapping[int, int]
    #: Messages that were removed lately, and whose files perhaps were not yet.
    removed: Collection[int]


@dataclass(slots=True)
class Look:
    """What a sync starts from. `first`: nothing is known yet in this process, or the index was lost meanwhile."""

    folder: Folder
    epoch: int
    visible_next: int
    modseq: int
    arrivals: list[Arrival]
    seen: Seen
    first: bool
    memory: Memory | None = None
    #: The index had never heard of the folder.
    fresh: bool = False
    #: Files that were taken in. Their UIDs must be resolved on the loop even if the rest fails.
    adopted: Adopted = field(default_factory=Adopted)


def sync(index: AccountIndex, look: Look) -> Synced:
    """Compare and adopt. Raises OSError, IndexLost, StorageFailure: then nothing was promised; it may be repeated."""
    folder = look.folder
    started = time.monotonic()
    before = mtimes(folder.path)
    trusted = time.time_ns() - max(before) > _TRUST_AFTER_NS

    counted: tuple[int, int] | None = None

    def compared(db: sqlite3.Connection) -> tuple[rows.FolderRow, Difference | None, list[int], list[int]]:
        nonlocal counted
        row = rows.folder_row(db, folder.state, look.modseq - 1)
        if look.arrivals:
            rows.add_messages(db, index, row.number, look.arrivals, look.arrivals[-1].uid + 1)
        if look.first:
            counted = usage_of(folder) if row.fresh or look.fresh else rows.usage(db, row.number)
        known = (row.new_mtime, row.cur_mtime) == before and row.epoch == look.epoch
        if counted is not None and known and not row.fresh and rows.is_whole(db, row.number, counted[1]):
            return row, None, [], []
        new_only = not look.first and look.seen.cur_mtime == before[1] and look.seen.trusted
        found = compare(db, row.number, folder.path, folder.state.uid_validity, new_only=new_only)
        taken, past = [], []
        if found.appeared or look.memory is not None:
            taken, past = (rows.uids_of(db, table, row.number) for table in ("messages", "tombstones"))
        return row, found, taken, past

    row, found, taken, past = index.run(compared)
    if found is None:
        pending = _has_pending(index, row.number)
        return Synced(Seen(*before, True, 0, 0.0, started), row.number, before=counted, pending=pending)
    adopted = look.adopted
    if found.appeared:
        _adopt(index, look, row, found, taken, past)
        if adopted.new or adopted.abandoned:
            before, trusted = mtimes(folder.path), False
    if look.memory is not None:
        # What the table has and no file is went while nobody looked, or was never there but in a damaged index.
        there = set(taken).difference(found.gone)
        found.gone = sorted(look.memory.flags.keys() - there)
    seen = Seen(*before, trusted, found.entries, time.monotonic() - started, started)
    out = Synced(seen, row.number, found.gone, {}, adopted, before=counted)
    out.modseq_used = bool(adopted.known_before)
    if look.first or found.gone or found.moved or adopted.known:
        index.run(lambda db: _write(db, index, look, row, found, out))
    out.pending = look.first and _has_pending(index, row.number)
    return out


def _has_pending(index: AccountIndex, number: int) -> bool:
    query = "SELECT count(*) FROM messages WHERE dirty AND key BETWEEN ? AND ?"
    return bool(index.run(lambda db: db.execute(query, key_range(number)).fetchone()[0]))


def _adopt(
    index: AccountIndex, look: Look, row: rows.FolderRow, found: Difference, taken: list[int], past: list[int]
) -> None:
    folder, memory = look.folder, look.memory

    def keeps(uid: int) -> bool:
        if not (look.first and row.uid_seen <= uid < look.visible_next):
            return False
        return memory is None or uid in memory.flags or uid in memory.removed

    uidlist = dovecot.uids(folder.path) if look.first and dovecot.is_adopting(folder.state) else None
    adopted = look.adopted
    # A UID that was told to be gone never names a message again.
    used = set(taken) | (set(past) if memory is None else set(past).difference(memory.removed))
    while found.appeared:
        if adopted.known:
            # What is told of a million files at once is more than memory and collector should see.
            index.run(lambda db: _write_known(db, index, look, row.number))
            adopted.known_before += len(adopted.known)
            adopted.known.clear()
        some = Difference(found.appeared[:_ADOPTED_AT_ONCE], doubled=found.doubled)
        del found.appeared[:_ADOPTED_AT_ONCE]
        adopt(folder, some, adopted, look.folder.keywords.flags_of, keeps, used, uidlist)
        if memory is not None:
            _forget_removed(folder, memory, adopted)
        taken += [arrival.uid for arrival in adopted.known]
    if uidlist is not None:
        with folder.lock:
            dovecot.adopting_done(folder.state)
            folder.state.save(folder.path)


def _forget_removed(folder: Folder, memory: Memory, adopted: Adopted) -> None:
    """The index was lost under a table that is in use: of what was removed, only the index knew the files.

    A file that is neither in the table nor known to have been removed gets a new UID: better twice seen than lost.
    """
    for arrival in adopted.known:
        if arrival.uid not in memory.flags:
            files.remove_file(f"{folder.new if arrival.in_new else folder.cur}/{arrival.base}{arrival.info}")
    adopted.known = [arrival for arrival in adopted.known if arrival.uid in memory.flags]


def _write(
    db: sqlite3.Connection, index: AccountIndex, look: Look, row: rows.FolderRow, found: Difference, out: Synced
) -> None:
    rows.folder_row(db, look.folder.state, look.modseq - 1)
    out.changed.clear()
    out.modseq_used = bool(out.adopted.known_before)
    _write_moved(db, index, look, row.number, found.moved, out)
    if found.gone:
        rows.remove_messages(db, row.number, found.gone, look.modseq, unlink=False)
        out.modseq_used = True
    if out.adopted.known:
        _write_known(db, index, look, row.number)
        out.modseq_used = True
    db.execute("UPDATE folders SET uid_seen = max(uid_seen, ?) WHERE number = ?", (look.visible_next, row.number))
    if out.seen.trusted:
        rows.trust(db, row.number, look.epoch, out.seen.new_mtime, out.seen.cur_mtime)
    else:
        rows.trust(db, row.number, look.epoch, -1, -1)


def _write_known(db: sqlite3.Connection, index: AccountIndex, look: Look, number: int) -> None:
    dirty = []
    for arrival in look.adopted.known:
        arrival.modseq = look.modseq
        if look.memory is not None:
            if arrival.flags != look.memory.flags[arrival.uid]:
                arrival.flags = look.memory.flags[arrival.uid]
                dirty.append((number << 32 | arrival.uid,))
            arrival.modseq = look.memory.modseqs[arrival.uid]
    rows.add_messages(db, index, number, look.adopted.known, 0)
    db.executemany("UPDATE messages SET dirty = 1 WHERE key = ?", dirty)


def _write_moved(
    db: sqlite3.Connection, index: AccountIndex, look: Look, number: int, moved: list[Moved], out: Synced
) -> None:
    for message in moved:
        key = number << 32 | message.uid
        db.execute(
            "UPDATE messages SET base = ?, info = ?, in_new = ? WHERE key = ?",
            (message.base, message.info, message.in_new, key),
        )
        if message.dirty:
            # A change of ours that is not yet in the name is newer than what the other program saw.
            continue
        letters = parse(os.fsdecode(message.base + message.info)).letters
        flags = look.folder.keywords.flags_of(letters, os.fsdecode(message.base))
        if flags != index.flag_set(message.flags):
            forget_snapshot(db, number)
            out.changed[message.uid] = flags
            out.modseq_used = True
            db.execute(
                "UPDATE messages SET flags = ?, modseq = ? WHERE key = ?",
                (index.flag_number(db, flags), look.modseq, key),
            )


def remember(index: AccountIndex, folder: Folder, epoch: int, seen: Seen) -> None:
    """At a clean stop: these mtimes are known to hide nothing."""
    now = mtimes(folder.path)
    if now != (seen.new_mtime, seen.cur_mtime) or time.time_ns() - max(now) <= _TRUST_AFTER_NS:
        return

    def work(db: sqlite3.Connection) -> None:
        rows.trust(db, rows.folder_row(db, folder.state, folder.highest_modseq).number, epoch, *now)

    index.run(work)
