"""A folder without a valid `mailserver-folder`: what it was, from Dovecot's list or from the names in it."""

from __future__ import annotations

import os
import time
from collections import Counter

import structlog

from mailserver.model.mailbox import SpecialUse
from mailserver.net import files
from mailserver.storage.maildir import dovecot
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.folder_state import MAX_UID, FolderState
from mailserver.storage.maildir.index import INDEX_FILE
from mailserver.storage.maildir.index_contents import BAD_VALUE, connect_readonly
from mailserver.storage.maildir.layout import NEW_ACCOUNT, AccountState
from mailserver.storage.maildir.names import parse
from mailserver.storage.maildir.scan import list_names

__all__ = ["recover_folder", "recovered_state"]

_log = structlog.get_logger()
#: UIDs that may have been given to messages that are no more; they are skipped.
_MARGIN = 1_000


def recover_folder(account: str, accounts_state: AccountState, name: str, dirname: str, now: float) -> Folder:
    """Make it one of ours: missing directories, and a state that gives no UID or MODSEQ twice. Raises OSError."""
    path = f"{account}/{dirname}" if dirname else account
    for sub in ("cur", "new", "tmp"):
        files.make_dir(f"{path}/{sub}")
    state = recovered_state(path)
    if state is None:
        state = FolderState(uid_validity=accounts_state.new_uid_validity(account, now))
    else:
        _ask_index(account, state)
    use = NEW_ACCOUNT.get(name)
    if use is not None:
        state.special_use = frozenset({SpecialUse(use)})
    state.save(path)
    return Folder(name, dirname, path, state)


def _ask_index(account: str, state: FolderState) -> None:
    """The index may remember UIDs of messages that are no more, and the MAILBOXID; a UIDVALIDITY is given only once."""
    if not os.path.lexists(f"{account}/{INDEX_FILE}"):
        return
    query = (
        "SELECT mailbox_id, max(uid_seen, coalesce((SELECT max(key) & 0xFFFFFFFF FROM tombstones"
        " WHERE key BETWEEN number << 32 AND number << 32 | 0xFFFFFFFF), 0) + 1) FROM folders WHERE uid_validity = ?"
    )
    try:
        db = connect_readonly(f"{account}/{INDEX_FILE}", live=True)
        try:
            found = db.execute(query, (state.uid_validity,)).fetchall()
        finally:
            db.close()
        if len(found) == 1:
            (mailbox_id, uid_next), = found
            state.uid_floor = max(state.uid_floor, min(int(uid_next), MAX_UID))
            state.mailbox_id = str(mailbox_id)
    except BAD_VALUE as error:
        _log.warning("storage.index_of_no_help", path=account, error=str(error))


def recovered_state(path: str) -> FolderState | None:
    """What the folder's files tell of its UIDVALIDITY and UIDs; None if nothing."""
    # No MODSEQ that was told can be as high as this; from here on they count by one again.
    modseq_floor = time.time_ns() // 1_000
    found = [parse(os.fsdecode(name)) for sub in ("cur", "new") for name in list_names(f"{path}/{sub}")]
    validities = Counter(name.uid_validity for name in found if name.uid_validity and name.uid)
    for uid_validity, _ in validities.most_common():
        if uid_validity <= MAX_UID:
            highest = max(name.uid for name in found if name.uid_validity == uid_validity and name.uid)
            floor = min(highest + 1 + _MARGIN, MAX_UID)
            return FolderState(uid_validity=uid_validity, uid_floor=floor, modseq_floor=modseq_floor)
    listed = dovecot.read_uidlist(path)
    if listed is None:
        return None
    state = FolderState(uid_validity=listed.uid_validity, uid_floor=listed.next_uid, modseq_floor=modseq_floor)
    dovecot.start_adopting(state)
    return state
