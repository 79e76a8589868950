"""What Dovecot keeps beside a Maildir: `dovecot-uidlist` (version 3). Read for adoption, written for the way back.

    3 V<uidvalidity> N<next uid> G<guid>
    <uid> [<letter><value> …] :<name up to the colon>
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from mailserver.net import files
from mailserver.storage.maildir.folder_state import MAX_UID, FolderState

__all__ = [
    "UIDLIST",
    "UidList",
    "adopting_done",
    "is_adopting",
    "read_uidlist",
    "start_adopting",
    "uids",
    "write_uidlist",
]

UIDLIST = "dovecot-uidlist"
MAX_SIZE = 512 << 20
_ADOPT = "adopt"
_ENTRY = re.compile(rb"([0-9]{1,10})(?: [^:\n]*)? :(.+)")


@dataclass(slots=True)
class UidList:
    """`uids` maps the base of a file name to its UID."""

    uid_validity: int
    next_uid: int
    uids: dict[str, int] = field(default_factory=dict)


def read_uidlist(folder: str) -> UidList | None:
    """The list of a folder; None if there is none that can be understood."""
    try:
        lines = files.read_file(f"{folder}/{UIDLIST}", MAX_SIZE).split(b"\n")
    except OSError:
        return None
    head = lines[0].split(b" ")
    values = {word[:1]: word[1:] for word in head[1:]}
    if head[0] != b"3" or not values.get(b"V", b"").isdigit() or not values.get(b"N", b"").isdigit():
        return None
    out = UidList(int(values[b"V"]), int(values[b"N"]))
    if not (0 < out.uid_validity <= MAX_UID and 0 < out.next_uid <= MAX_UID):
        return None
    highest = 0
    for line in lines[1:]:
        found = _ENTRY.fullmatch(line)
        if found is None or int(found[1]) > MAX_UID - 1:
            continue
        uid = int(found[1])
        # Dovecot appends while it runs: a later line for the same file replaces the earlier one.
        out.uids[os.fsdecode(found[2].partition(b":")[0])] = uid
        highest = max(highest, uid)
    out.next_uid = max(out.next_uid, highest + 1)
    return out


def write_uidlist(folder: str, uid_validity: int, next_uid: int, guid: str, entries: Iterable[tuple[int, str]]) -> None:
    """Write the list for these (UID, base)."""
    lines = [b"3 V%d N%d G%b\n" % (uid_validity, next_uid, guid.encode())]
    lines += [b"%d :%b\n" % (uid, os.fsencode(base)) for uid, base in sorted(entries)]
    files.write_durably(f"{folder}/{UIDLIST}", b"".join(lines))


def start_adopting(state: FolderState) -> None:
    """Until the first complete look, files get the UIDs that Dovecot's list gives them."""
    state.others[_ADOPT] = UIDLIST


def is_adopting(state: FolderState) -> bool:
    """Was the folder Dovecot's, and not every file has its UID in its name yet?"""
    return state.others.get(_ADOPT) == UIDLIST


def adopting_done(state: FolderState) -> None:
    """Every file has its UID in its name."""
    state.others.pop(_ADOPT, None)


def uids(folder: str) -> dict[str, int]:
    """The UIDs of Dovecot's list, for a folder that is being adopted."""
    found = read_uidlist(folder)
    return {} if found is None else found.uids
