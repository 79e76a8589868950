"""What stands in cur/ and new/, compared with what the index knows. In threads; changes nothing.

Names are compared as the octets of the directory. Whatever is not a regular file (symlink, FIFO, directory, device) is
as if it were not there (ATTACKS H04).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mailserver.storage.maildir.gently import in_order
from mailserver.storage.maildir.index import BadValue
from mailserver.storage.maildir.keys import key_range
from mailserver.storage.maildir.names import parse

__all__ = ["FLAGS_CHANGED", "TO_CUR", "Difference", "Moved", "compare", "list_names", "mtimes"]

_UID = 0xFFFFFFFF
#: Values of `dirty` in the index: the flags are newer than the name; only the place is to change (new/ to cur/).
FLAGS_CHANGED, TO_CUR = 1, 2


@dataclass(slots=True)
class Moved:
    """A message of the index whose file has another name now."""

    uid: int
    base: bytes
    info: bytes
    in_new: bool
    flags: int
    dirty: bool


@dataclass(slots=True)
class Difference:
    """`appeared`: (in new/, name) of files the index does not know, sorted by base. `gone`: UIDs without a file."""

    appeared: list[tuple[bool, bytes]] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    #: Name of one of `appeared` → (in new/, name) of another file with the same base.
    doubled: dict[bytes, tuple[bool, bytes]] = field(default_factory=dict)
    entries: int = 0


def mtimes(path: str) -> tuple[int, int]:
    """When names in new/ and cur/ last changed, in nanoseconds."""
    return os.stat(f"{path}/new").st_mtime_ns, os.stat(f"{path}/cur").st_mtime_ns


def list_names(directory: str) -> set[bytes]:
    """The names of all regular files, without hidden ones. A directory that is not there is an error, never empty."""
    with os.scandir(os.fsencode(directory)) as entries:
        return {entry.name for entry in entries if entry.is_file(follow_symlinks=False) and entry.name[0] != 46}


def compare(db: sqlite3.Connection, number: int, path: str, uid_validity: int, *, new_only: bool) -> Difference:
    """Compare a folder. With `new_only` just new/ is read, unless something is missing there.

    Raises BadValue: the index has a name that cannot be that of its UID.
    """
    if new_only:
        found = _compare(db, number, uid_validity, [(True, list_names(f"{path}/new"))])
        if not found.gone:
            return found
    found = _compare(db, number, uid_validity, _list_both(path))
    if found.gone:
        # A rename that happens while a directory is being read can hide a file from the reader: look again.
        found = _compare(db, number, uid_validity, _union(_list_both(path), _list_both(path)))
    return found


def _list_both(path: str) -> list[tuple[bool, set[bytes]]]:
    # new/ first: a file that moves to cur/ meanwhile is then seen twice, not never.
    return [(True, list_names(f"{path}/new")), (False, list_names(f"{path}/cur"))]


def _union(
    first: Iterable[tuple[bool, set[bytes]]], second: Iterable[tuple[bool, set[bytes]]]
) -> list[tuple[bool, set[bytes]]]:
    return [(in_new, names | others) for (in_new, names), (_, others) in zip(first, second, strict=True)]


def _compare(
    db: sqlite3.Connection, number: int, uid_validity: int, listed: list[tuple[bool, set[bytes]]]
) -> Difference:
    # Row by row and name by name, and never all at once: the folder may have a million of each (ATTACKS H12).
    out = Difference(entries=sum(len(names) for _, names in listed))
    left = dict(listed)
    missing: dict[bytes, Moved] = {}
    any_known = False
    where = " AND in_new" if len(listed) == 1 else ""
    for key, base, info, in_new, flags, dirty in db.execute(
        f"SELECT key, base, info, in_new, flags, dirty FROM messages WHERE key BETWEEN ? AND ?{where}",  # noqa: S608
        key_range(number),
    ):
        if type(base) is not bytes or type(info) is not bytes:
            raise BadValue("a name in the index is no name")
        if not base.endswith(b",U=%d,V=%x" % (key & _UID, uid_validity)) and _own_uid(base, uid_validity) != key & _UID:
            raise BadValue(f"the index has a wrong name for UID {key & _UID}")
        any_known = True
        name = base + info
        if name in left[bool(in_new)]:
            left[bool(in_new)].remove(name)
        else:
            missing[base] = Moved(key & _UID, base, info, bool(in_new), flags, dirty == FLAGS_CHANGED)
    out.appeared = [(in_new, name) for in_new, names in left.items() for name in names]
    if out.appeared:
        removed = {base for (base,) in db.execute(
            "SELECT base FROM unlinks WHERE key BETWEEN ? AND ?", key_range(number))}  # fmt: skip
        out.appeared = [entry for entry in out.appeared if entry[1].partition(b":")[0] not in removed]

        def known(base: bytes) -> tuple[bool, bytes] | None:
            return _row_of(db, number, base, uid_validity) if any_known else None

        _match(out, missing, known)
        if missing and out.appeared:
            _claim(out, missing, uid_validity)
    out.gone = sorted(moved.uid for moved in missing.values())
    return out


def _row_of(db: sqlite3.Connection, number: int, base: bytes, uid_validity: int) -> tuple[bool, bytes] | None:
    """(in new/, name) of the row of this base, which has its UID in it."""
    query = "SELECT in_new, info FROM messages WHERE key = ? AND base = ?"
    row = db.execute(query, (number << 32 | min(_own_uid(base, uid_validity) or 0, _UID), base)).fetchone()
    return None if row is None else (bool(row[0]), base + row[1])


def _match(
    out: Difference, missing: dict[bytes, Moved], known: Callable[[bytes], tuple[bool, bytes] | None]
) -> None:
    unknown = []
    #: The last base, and its first file; files of one base follow each other.
    last: bytes | None = None
    first = (False, b"")
    for entry in in_order(out.appeared, key=_base_and_name):
        in_new, name = entry
        base, colon, info = name.partition(b":")
        moved = missing.pop(base, None)
        if moved is not None:
            moved.in_new, moved.info = in_new, colon + info
            out.moved.append(moved)
            last, first = base, entry
            continue
        other = first if base == last else known(base)
        if other is not None:
            out.doubled[name] = other
        if base != last:
            last, first = base, other or entry
        unknown.append(entry)
    out.appeared = unknown


def _base_and_name(entry: tuple[bool, bytes]) -> tuple[bytes, bytes]:
    return entry[1].partition(b":")[0], entry[1]


def _claim(out: Difference, missing: dict[bytes, Moved], uid_validity: int) -> None:
    """A file that has the UID of a message without a file in its name is that message, under a changed name."""
    by_uid = {moved.uid: moved for moved in missing.values()}
    unknown = []
    for in_new, name in out.appeared:
        base, colon, info = name.partition(b":")
        moved = by_uid.pop(_own_uid(base, uid_validity) or 0, None)
        if moved is None:
            unknown.append((in_new, name))
            continue
        del missing[moved.base]
        moved.base, moved.in_new, moved.info = base, in_new, colon + info
        out.moved.append(moved)
    out.appeared = unknown


def _own_uid(base: bytes, uid_validity: int) -> int | None:
    name = parse(os.fsdecode(base))
    return name.uid if name.uid_validity == uid_validity else None
