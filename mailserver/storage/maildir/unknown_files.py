"""Files that the index does not know: our own of before a crash or a lost index, and those of other programs.

A file whose name has a UID of this folder keeps it, if the index can have missed it; two that claim one UID are
settled by their names, the lower keeps it. Every other file gets the next UID and is renamed. In threads.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import structlog

from mailserver.model.errors import LimitReached
from mailserver.net import files
from mailserver.storage.maildir.content import bare_newlines
from mailserver.storage.maildir.folder import Arrival, Folder
from mailserver.storage.maildir.gently import by_number
from mailserver.storage.maildir.names import FileName, is_ours, parse, with_uid
from mailserver.storage.maildir.scan import Difference

__all__ = ["Adopted", "adopt", "wire_size"]

_log = structlog.get_logger()
_CHUNK = 256 << 10


@dataclass(slots=True)
class Adopted:
    """`known`: files that keep their UID; `new`: files with a new one, to be resolved; `abandoned`: UIDs.

    Of `known`, `known_before` are in the index already, and no longer here.
    """

    known: list[Arrival] = field(default_factory=list)
    known_before: int = 0
    new: list[Arrival] = field(default_factory=list)
    abandoned: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Candidate:
    in_new: bool
    name: str
    parsed: FileName


def adopt(
    folder: Folder,
    found: Difference,
    out: Adopted,
    flags_of: Callable[[str, str], frozenset[str]],
    keeps: Callable[[int], bool],
    used: set[int],
    uidlist: Mapping[str, int] | None = None,
) -> None:
    """Take in what appeared, and say so in `out` (also when it raises half way).

    What appeared is sorted by base. `keeps(uid)` tells whether a file may keep this UID of its name; UIDs in flight are
    passed over before this. `used` are the UIDs that are taken, and grows. `uidlist` is Dovecot's (base → UID), for the
    one time when its folder becomes ours.
    """
    strangers: list[_Candidate] = []
    candidates: Iterator[_Candidate] = (
        _Candidate(in_new, name := os.fsdecode(raw), parse(name)) for in_new, raw in found.appeared
    )
    if found.doubled:
        # First, while both names of a pair are still what they were.
        candidates = iter([candidate for candidate in candidates if not _is_same_file(folder, candidate, found)])
    for candidate in candidates:
        parsed, uid = candidate.parsed, candidate.parsed.uid
        ours = uid is not None and parsed.uid_validity == folder.state.uid_validity
        if uid is not None and ours and folder.waiting(uid):
            continue
        listed = uidlist.get(parsed.base) if uidlist and not ours else None
        if listed is not None and listed not in used and keeps(listed):
            _keep_listed(folder, candidate, listed, flags_of, out)
            used.add(listed)
        elif uid is not None and ours and keeps(uid) and uid not in used:
            arrival = _look_at(folder, candidate, flags_of)
            if arrival is not None:
                arrival.uid = uid
                out.known.append(arrival)
                used.add(uid)
        else:
            strangers.append(candidate)
    _number(folder, strangers, flags_of, out)
    out.known = [*by_number(out.known, lambda arrival: arrival.uid)]


def _is_same_file(folder: Folder, candidate: _Candidate, found: Difference) -> bool:
    """Two names of one base: a second link to the same file is removed; else it is another message, and named so."""
    double = found.doubled.get(os.fsencode(candidate.name))
    if double is None:
        return False
    in_new, name = double
    path, other = _path(folder, candidate.in_new, candidate.name), _path(folder, in_new, os.fsdecode(name))
    try:
        same = os.path.samestat(os.lstat(path), os.lstat(other))
        if same:
            files.remove_file(path)
            return True
        fresh = f"{candidate.parsed.base}~{secrets.token_hex(4)}"
        os.rename(path, _path(folder, candidate.in_new, fresh + candidate.parsed.info))
    except OSError:
        return True
    candidate.name = fresh + candidate.parsed.info
    candidate.parsed.base, candidate.parsed.uid = fresh, None
    return False


def _keep_listed(
    folder: Folder, candidate: _Candidate, uid: int, flags_of: Callable[[str, str], frozenset[str]], out: Adopted
) -> None:
    arrival = _look_at(folder, candidate, flags_of)
    if arrival is not None and _rename(folder, candidate, arrival, uid):
        out.known.append(arrival)


def _number(
    folder: Folder, strangers: list[_Candidate], flags_of: Callable[[str, str], frozenset[str]], out: Adopted
) -> None:
    """UIDs for files that have none here, in the order of their names (which begin with the time)."""
    places = set()
    for candidate in strangers:
        arrival = _look_at(folder, candidate, flags_of)
        if arrival is None:
            continue
        try:
            uid = folder.take_uids()
        except LimitReached as error:
            _log.error("storage.no_more_uids", path=folder.path, error=error.text)
            return
        if _rename(folder, candidate, arrival, uid):
            out.new.append(arrival)
            places.add(candidate.in_new)
        else:
            out.abandoned.append(uid)
    for in_new in places:
        files.fsync_dir(folder.new if in_new else folder.cur)


def _rename(folder: Folder, candidate: _Candidate, arrival: Arrival, uid: int) -> bool:
    base = with_uid(arrival.base, uid, folder.state.uid_validity, size=arrival.size, wire=arrival.wire)
    if len(os.fsencode(base)) > 220:
        # The name was near the limit already; ours are unique without what the other program wrote.
        base = with_uid(
            f"{arrival.saved}.R{secrets.token_hex(8)}.adopted", uid, folder.state.uid_validity,
            size=arrival.size, wire=arrival.wire,
        )  # fmt: skip
    try:
        os.rename(_path(folder, candidate.in_new, candidate.name), _path(folder, candidate.in_new, base + arrival.info))
    except OSError as error:
        _log.info("storage.file_vanished", path=folder.path, error=error.errno)
        return False
    arrival.uid, arrival.base = uid, base
    return True


def _look_at(
    folder: Folder, candidate: _Candidate, flags_of: Callable[[str, str], frozenset[str]]
) -> Arrival | None:
    """The message's facts from its file; None if it is gone, empty, or no file."""
    parsed = candidate.parsed
    path = _path(folder, candidate.in_new, candidate.name)
    try:
        status = os.lstat(path)
        if not status.st_size:
            return None
        size = status.st_size
        if parsed.size == size and (parsed.wire is not None or is_ours(parsed.base)):
            wire = parsed.wire or size
        else:
            wire = wire_size(path)
    except OSError:
        return None
    return Arrival(
        parsed.uid or 0, parsed.base, candidate.in_new, parsed.info, size, wire, int(status.st_mtime),
        parsed.saved or int(status.st_mtime), flags_of(parsed.letters, parsed.base),
    )  # fmt: skip


def wire_size(path: str) -> int:
    """The size of a file with CRLF for every line end. Reads it all. Raises OSError."""
    fd = files.open_regular(path)
    try:
        size, last = 0, -1
        while chunk := os.read(fd, _CHUNK):
            size += len(chunk) + bare_newlines(chunk, last)
            last = chunk[-1]
    finally:
        os.close(fd)
    return size


def _path(folder: Folder, in_new: bool, name: str) -> str:
    return f"{folder.new if in_new else folder.cur}/{name}"
