"""An account as it stands on disk, read without changing anything: what verify looks at and rebuild starts from."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailserver.model.mailbox import INBOX
from mailserver.storage.maildir import folder_names
from mailserver.storage.maildir.checked import Damaged
from mailserver.storage.maildir.folder_state import STATE_FILE, FolderState
from mailserver.storage.maildir.layout import GONE, MAKING
from mailserver.storage.maildir.names import FileName, parse

__all__ = ["ASIDE", "SUBS", "Directory", "FolderOnDisk", "MessageFile", "directories", "read_folder"]

SUBS = ("new", "cur", "tmp")
#: Where rebuild puts what is no message.
ASIDE = "mailserver-aside"


@dataclass(slots=True)
class MessageFile:
    """A regular file of cur/ or new/, by its name and what lstat says."""

    in_new: bool
    name: str
    size: int
    mtime: int
    inode: tuple[int, int]
    mode: int

    @property
    def parsed(self) -> FileName:
        """The name, taken apart."""
        return parse(self.name)

    @property
    def place(self) -> str:
        """The path below the folder."""
        return f"{'new' if self.in_new else 'cur'}/{self.name}"


@dataclass(slots=True)
class Directory:
    """A directory that holds a folder: its mailbox name, None when no mailbox can have it; why, in `text`."""

    dirname: str
    name: str | None
    text: str = ""


@dataclass(slots=True)
class FolderOnDisk:
    """A folder's content. `odd`: paths below it that are no regular files. `state` None: see `state_error`."""

    dirname: str
    path: str
    state: FolderState | None = None
    state_error: str = ""
    state_missing: bool = False
    files: list[MessageFile] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def own_uid(self, name: FileName) -> int | None:
        """The UID that a name claims in this folder, if it is one."""
        if self.state is None or name.uid is None or name.uid_validity != self.state.uid_validity:
            return None
        return name.uid


def directories(account: str) -> list[Directory]:
    """Every directory of the account that holds mail, INBOX first. Raises OSError."""
    out = [Directory("", INBOX)]
    taken: set[str] = {INBOX}
    for entry in sorted(os.scandir(account), key=lambda entry: entry.name):
        if entry.name in (*SUBS, ASIDE) or entry.name.startswith((MAKING, GONE)):
            continue
        if not entry.is_dir(follow_symlinks=False) or not _holds_mail(entry.path):
            continue
        name = folder_names.mailbox_name(entry.name)
        if name is None:
            out.append(Directory(entry.name, None, "no mailbox can have this name, so nobody sees what is in it"))
        elif name in taken:
            text = f"another directory is the mailbox {name} already, so nobody sees what is in this one"
            out.append(Directory(entry.name, None, text))
        else:
            taken.add(name)
            out.append(Directory(entry.name, name))
    return out


def _holds_mail(path: str) -> bool:
    return any(os.path.isdir(f"{path}/{sub}") for sub in SUBS) or os.path.lexists(f"{path}/{STATE_FILE}")


def read_folder(account: str, dirname: str) -> FolderOnDisk:
    """The files first and the state after them: what a running server adds meanwhile is below the floors we then read.

    Raises OSError.
    """
    path = f"{account}/{dirname}" if dirname else account
    folder = FolderOnDisk(dirname, path)
    for sub in SUBS:
        if not os.path.isdir(f"{path}/{sub}"):
            folder.missing.append(sub)
    for in_new, sub in ((True, "new"), (False, "cur")):
        if sub not in folder.missing:
            _read_directory(folder, in_new, sub)
    try:
        folder.state = FolderState.load(path)
    except FileNotFoundError as error:
        folder.state_missing, folder.state_error = not os.path.lexists(f"{path}/{STATE_FILE}"), str(error)
    except (Damaged, OSError) as error:
        folder.state_error = str(error)
    return folder


def _read_directory(folder: FolderOnDisk, in_new: bool, sub: str) -> None:
    for name, status in _statuses(f"{folder.path}/{sub}"):
        if not stat.S_ISREG(status.st_mode):
            folder.odd.append(f"{sub}/{name}")
            continue
        inode = (status.st_dev, status.st_ino)
        folder.files.append(MessageFile(in_new, name, status.st_size, int(status.st_mtime), inode, status.st_mode))


def _statuses(path: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                yield entry.name, entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                # It went away or was renamed meanwhile: whoever needs to be sure looks twice.
                continue
