"""`mailbox rebuild`: puts right what verify finds in an account that nobody uses, with UIDs, flags and keywords kept.

The files are the truth. First what only the index knows goes into them (flags that were answered and are not yet in
names, removals that were answered, keywords whose letters lost their meaning), then names and state files are mended,
and last the index goes. No message is ever deleted, save those that a user removed; what is no message at all is put
into `mailserver-aside/`. Killed at any point, a second run ends in the same state. Raises OSError.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress

from mailserver.model.errors import InvalidInput, LimitReached
from mailserver.model.mailbox import INBOX, SEPARATOR, check_mailbox_name
from mailserver.net import files
from mailserver.storage.maildir import folder_names, layout, tree
from mailserver.storage.maildir.annotations import ACCOUNT_METADATA, METADATA, put_damaged_aside
from mailserver.storage.maildir.folder_state import new_mailbox_id
from mailserver.storage.maildir.index import INDEX_FILE
from mailserver.storage.maildir.index_contents import (
    BAD_VALUE,
    FolderContents,
    IndexContents,
    connect_readonly,
    read_contents,
)
from mailserver.storage.maildir.repair.inspection import Directory, FolderOnDisk, directories, read_folder
from mailserver.storage.maildir.repair.rebuild_folder import mend_folder, mend_layout
from mailserver.storage.maildir.repair.rebuild_state import mend_state
from mailserver.storage.maildir.salvage import UNREADABLE, finish_salvage, salvage
from mailserver.wire.imap import utf7

__all__ = ["rebuild_account"]

_NOT_IN_A_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029*%]")


def rebuild_account(path: str, now: float, *, full: bool = False) -> None:
    """Mend the account at this path. `full` reads every message for its size with CRLF."""
    layout.make_account(path, now)
    tree.finish_renames(path)
    _reach_all(path)
    account = layout.AccountState.load(path)
    found = directories(path)
    folders = [_read(path, directory) for directory in found]
    known = [folder.state.uid_validity for folder in folders if folder.state is not None]
    account.last_uid_validity = max([account.last_uid_validity, *known])
    index = _salvage(path)
    try:
        _mend_folders(path, found, folders, index, account, now, full=full)
    finally:
        if index is not None:
            index.db.close()
    account.epoch = 0
    account.save(path)
    _mend_subscriptions(path, found)
    for file in (f"{path}/{ACCOUNT_METADATA}", *(f"{folder.path}/{METADATA}" for folder in folders)):
        put_damaged_aside(file)
    _clear(path)
    _close_to_others(path)
    # Last: whatever the index alone knew is in the files now, and durable.
    for suffix in ("", "-wal", "-shm"):
        files.remove_file(f"{path}/{INDEX_FILE}{suffix}")
    files.fsync_dir(path)


def _read(path: str, directory: Directory) -> FolderOnDisk:
    inner = f"{path}/{directory.dirname}" if directory.dirname else path
    mend_layout(path, inner, directory.dirname)
    return read_folder(path, directory.dirname)


def _mend_folders(
    path: str,
    found: list[Directory],
    folders: list[FolderOnDisk],
    index: IndexContents | None,
    account: layout.AccountState,
    now: float,
    *,
    full: bool,
) -> None:
    used: set[str] = set()
    for folder in folders:
        # Of a folder that was copied with its state, the first by name keeps the identity.
        if folder.state is not None and folder.state.mailbox_id in used:
            folder.state.mailbox_id = new_mailbox_id()
        if folder.state is not None:
            used.add(folder.state.mailbox_id)
    for directory, folder in zip(found, folders, strict=True):
        state = mend_state(path, directory.name or "", folder, index, used, account, now)
        used.add(state.mailbox_id)
        mend_folder(path, folder, _contents(index, state.mailbox_id, state.uid_validity), full=full)


def _salvage(path: str) -> IndexContents | None:
    """The index, if all of it can be believed; else what it alone knows, if that can be."""
    file = f"{path}/{INDEX_FILE}"
    finish_salvage(file)
    contents = _whole(file)
    if contents is None and os.path.lexists(file):
        with suppress(*UNREADABLE):
            salvage(file, _never)
            contents = _whole(file)
    return contents


def _never(error: Exception) -> bool:
    """Whatever could not be read is given up now."""
    return False


def _whole(file: str) -> IndexContents | None:
    if not os.path.lexists(file):
        return None
    try:
        db = connect_readonly(file, live=False)
    except BAD_VALUE:
        return None
    try:
        return read_contents(db, full=True)
    except BAD_VALUE:
        db.close()
        return None


def _contents(index: IndexContents | None, mailbox_id: str, uid_validity: int) -> FolderContents | None:
    known = index.folders.get(mailbox_id) if index is not None else None
    if index is None or known is None or known.uid_validity != uid_validity:
        return None
    try:
        index.load(known)
    except BAD_VALUE:
        return None
    return known


def _reach_all(path: str) -> None:
    """Directories that no mailbox name reaches get one that does."""
    found = directories(path)
    names = {directory.name for directory in found if directory.name is not None}
    for directory in found:
        if directory.name is not None:
            continue
        name = _free_name(path, directory.dirname, names)
        os.rename(f"{path}/{directory.dirname}", f"{path}/{folder_names.directory(name)}")
        names.add(name)
    files.fsync_dir(path)


def _free_name(path: str, dirname: str, taken: set[str]) -> str:
    parts = [_decoded(part) for part in dirname.split(".")]
    wanted = SEPARATOR.join(part for part in parts if part) or "Recovered"
    for number in range(1, 1_000):
        name = wanted if number == 1 else f"{wanted}-{number}"
        try:
            if check_mailbox_name(name) not in taken:
                name = check_mailbox_name(name)
                if not os.path.lexists(f"{path}/{folder_names.directory(name)}"):
                    return name
        except (InvalidInput, LimitReached):
            break
    return f"Recovered-{secrets.token_hex(8)}"


def _decoded(part: str) -> str:
    try:
        text = utf7.decode(os.fsencode(part))
    except InvalidInput:
        text = os.fsencode(part).decode("utf-8", "replace")
    return _NOT_IN_A_NAME.sub("_", text.replace("%2e", "_").replace(SEPARATOR, "_")).strip().lstrip("~")


def _mend_subscriptions(path: str, found: list[Directory]) -> None:
    every = {directory.name for directory in found if directory.name is not None}
    file = f"{path}/{layout.SUBSCRIPTIONS}"
    try:
        data = files.read_file(file, layout.MAX_SUBSCRIPTIONS_SIZE)
    except OSError:
        data = None
    if data is not None and not list(layout.subscription_damage(data)):
        return
    if data is None and os.path.lexists(file):
        os.rename(file, f"{path}/{layout.SUBSCRIPTIONS}.{secrets.token_hex(4)}.damaged")
    names = set()
    for line in (data or b"").split(b"\n")[1:]:
        parts = [part.decode("utf-8", "replace") for part in line.split(b"\t")]
        try:
            name = check_mailbox_name(SEPARATOR.join(utf7.decode(part.encode()) for part in parts))
        except InvalidInput:
            continue
        # The last line may be a part of a name.
        if line + b"\n" in (data or b"") or name in every:
            names.add(name)
    # Rather a folder too many in somebody's list than one that seems to be gone.
    layout.save_subscriptions(path, names or every | {INBOX})


def _clear(path: str) -> None:
    for entry in list(os.scandir(path)):
        if entry.name.startswith((layout.MAKING, layout.GONE)):
            files.remove_tree(entry.path)
        elif layout.is_half_written(entry):
            files.remove_file(entry.path)


def _close_to_others(path: str) -> None:
    pending = [path]
    while pending:
        directory = pending.pop()
        _close(directory, os.lstat(directory))
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                _close(entry.path, entry.stat(follow_symlinks=False))


def _close(path: str, status: os.stat_result) -> None:
    if status.st_mode & 0o077:
        os.chmod(path, stat.S_IMODE(status.st_mode) & 0o700)
