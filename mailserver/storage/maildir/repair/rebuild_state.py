"""The part of `mailbox rebuild` that finds a folder's state again, and raises floors that are too low."""

from __future__ import annotations

import os
import re
from collections.abc import Collection

from mailserver.model.mailbox import SpecialUse
from mailserver.net import files
from mailserver.storage.maildir.folder_state import MAX_MODSEQ, MAX_UID, STATE_FILE, FolderState
from mailserver.storage.maildir.index_contents import BAD_VALUE, FolderContents, IndexContents
from mailserver.storage.maildir.layout import NEW_ACCOUNT, AccountState
from mailserver.storage.maildir.recover import recovered_state
from mailserver.storage.maildir.repair.inspection import FolderOnDisk

__all__ = ["mend_state"]

_MAX_STATE = 1 << 20
#: Lines that have their own meaning; any other line of the file is somebody's, and is kept. Rights are never taken from
#: a damaged file: one wrong letter in it, and they would be somebody else's.
_KNOWN = ("uidvalidity", "uid_floor", "modseq_floor", "mailbox_id", "special_use", "acl", "adopt", "sum", STATE_FILE)
_KEY = re.compile(r"[a-z0-9_./:-]{1,100}")


def mend_state(
    account: str,
    name: str,
    folder: FolderOnDisk,
    index: IndexContents | None,
    used: Collection[str],
    accounts_state: AccountState,
    now: float,
) -> FolderState:
    """The folder's state, durable: as it was if that is possible. `used`: MAILBOXIDs of other folders. Raises OSError.

    A new UIDVALIDITY is given only if neither file names nor Dovecot's list nor the index tell the old one.
    """
    state = folder.state
    if state is None:
        state = folder.state = _recovered(account, name, folder, index, used, accounts_state, now)
    uids = [uid for file in folder.files if (uid := folder.own_uid(file.parsed)) is not None and uid <= MAX_UID]
    known = index.folders.get(state.mailbox_id) if index is not None else None
    if index is not None and known is not None and known.uid_validity == state.uid_validity:
        uid, modseq = _highest(index, known)
        uids.append(min(uid, MAX_UID))
        state.modseq_floor = max(state.modseq_floor, min(modseq + 1, MAX_MODSEQ))
    state.uid_floor = max(state.uid_floor, max(uids, default=0) + 1)
    accounts_state.last_uid_validity = max(accounts_state.last_uid_validity, state.uid_validity)
    state.save(folder.path)
    return state


def _highest(index: IndexContents, known: FolderContents) -> tuple[int, int]:
    seen = FolderContents(known.number, known.mailbox_id, known.uid_validity, known.uid_seen)
    try:
        index.load(seen)
    except BAD_VALUE:
        return known.uid_seen - 1, 0
    return seen.highest_uid, seen.highest_modseq


def _recovered(
    account: str,
    name: str,
    folder: FolderOnDisk,
    index: IndexContents | None,
    used: Collection[str],
    accounts_state: AccountState,
    now: float,
) -> FolderState:
    state = recovered_state(folder.path)
    told = _readable_fields(folder.path)
    row = _row_of(index, state, told, used)
    if state is None and row is not None:
        # An empty folder: its messages were removed, and their UIDs must not come again.
        state = FolderState(uid_validity=row.uid_validity, modseq_floor=int(now * 1e6))
    if state is None:
        state = FolderState(uid_validity=accounts_state.new_uid_validity(account, now))
    if row is not None and row.uid_validity == state.uid_validity:
        state.mailbox_id = row.mailbox_id
    words = told.get("special_use", "").split()
    usual = NEW_ACCOUNT.get(name)
    state.special_use = frozenset(use for use in SpecialUse if use.value in words or use is usual)
    others = {key: value for key, value in told.items() if key not in _KNOWN and _KEY.fullmatch(key)}
    state.others = others | state.others
    return state


def _row_of(
    index: IndexContents | None, state: FolderState | None, told: dict[str, str], used: Collection[str]
) -> FolderContents | None:
    """The index's row of a folder that lost its state: by what is left of its file, or as the only one in question."""
    if index is None:
        return None
    free = [row for row in index.folders.values() if row.mailbox_id not in used]
    if state is not None:
        free = [row for row in free if row.uid_validity == state.uid_validity]
    named = [row for row in free if row.mailbox_id == told.get("mailbox_id")]
    dated = [row for row in free if str(row.uid_validity) == told.get("uidvalidity")]
    for rows in (named, dated, free):
        if len(rows) == 1:
            return rows[0]
    return None


def _readable_fields(path: str) -> dict[str, str]:
    """What can be read of a damaged state file. To be believed only where something else says the same."""
    if not os.path.lexists(f"{path}/{STATE_FILE}"):
        return {}
    try:
        data = files.read_file(f"{path}/{STATE_FILE}", _MAX_STATE)
    except OSError:
        return {}
    lines = data.decode("utf-8", "replace").split("\n")
    return dict(line.split(" ", 1) for line in lines if " " in line)
