"""`mailbox export --dovecot`: what Dovecot 2.3 needs beside the mail to serve it with our UIDVALIDITYs and UIDs.

Flags are in the file names, keywords in `dovecot-keywords`, subscriptions in Dovecot's own format as they are. So only
`dovecot-uidlist` (version 3) is written here. Raises OSError.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from mailserver.net import files
from mailserver.storage.maildir import dovecot
from mailserver.storage.maildir.folder_state import MAX_UID, FolderState
from mailserver.storage.maildir.keywords import Keywords
from mailserver.storage.maildir.repair.inspection import directories, read_folder

__all__ = ["Exported", "export_dovecot"]

_GUID = re.compile(rb" G([0-9a-f]{32})(?: |\n|$)")


@dataclass(frozen=True, slots=True)
class Exported:
    """A folder for Dovecot. `keywords_left`: messages with keywords beyond the 26 that file names can tell."""

    mailbox: str
    messages: int
    uid_validity: int
    uid_next: int
    keywords_left: int


def export_dovecot(account: str) -> list[Exported]:
    """Write the list of every folder of an account that stands still."""
    out = []
    for directory in directories(account):
        folder = read_folder(account, directory.dirname)
        if directory.name is None or folder.state is None:
            continue
        keywords = Keywords(folder.path)
        entries, left = [], 0
        for file in folder.files:
            name = file.parsed
            uid = folder.own_uid(name)
            if uid is not None and 0 < uid < MAX_UID:
                entries.append((uid, name.base))
                left += bool(keywords.further_of(name.base))
        uid_next = max([folder.state.uid_floor, *(uid + 1 for uid, _ in entries)])
        dovecot.write_uidlist(
            folder.path, folder.state.uid_validity, min(uid_next, MAX_UID), _guid(folder.path, folder.state), entries
        )
        out.append(Exported(directory.name, len(entries), folder.state.uid_validity, uid_next, left))
    return out


def _guid(path: str, state: FolderState) -> str:
    """The folder's GUID in Dovecot: the one that it had there, else one that stays the same."""
    try:
        found = _GUID.search(files.read_file(f"{path}/{dovecot.UIDLIST}", dovecot.MAX_SIZE).split(b"\n", 1)[0])
    except OSError:
        found = None
    if found is not None:
        return found[1].decode()
    return hashlib.blake2b(state.mailbox_id.encode(), digest_size=16).hexdigest()
