"""`mailbox verify`: everything about an account on disk that is not as it should be. Changes nothing.

Meant for a stopped server. While one runs, work in progress is reported too (a file in tmp/, a name that is a second
behind its flags), which is why each problem has a kind that can be filtered.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from mailserver.model.flags import SYSTEM_FLAGS
from mailserver.storage.maildir import layout, tree
from mailserver.storage.maildir.checked import Damaged, read_checked
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.keywords import LETTERS_FILE
from mailserver.storage.maildir.names import FLAG_LETTERS, FileName, is_ours, parse
from mailserver.storage.maildir.unknown_files import wire_size
from mailserver.storage.maildir.verify_index import check_index

__all__ = ["Problem", "problems_of_store", "verify_account"]


@dataclass(frozen=True, slots=True)
class Problem:
    """`kind` is a word for programs, `path` what it is about, `text` for people. `mends`: rebuild puts it right."""

    kind: str
    path: str
    text: str
    mends: bool = True


def verify_account(path: str, *, deep: bool = False) -> list[Problem]:
    """All problems of the account at this path. `deep` reads every message, too."""
    found = list(_account_files(path))
    loaded = layout.Loaded(layout.AccountState.load(path), {}, set())
    for name, dirname, folder in layout.folders_of(path):
        inner = f"{path}/{dirname}" if dirname else path
        if folder is None:
            found.append(Problem("state", inner, f"{name}: mailserver-folder is missing or damaged"))
        elif name in loaded.folders:
            found.append(Problem("name", inner, f"two directories are the mailbox {name}", mends=False))
        else:
            loaded.folders[name] = folder
            found += _Folder(folder, deep).problems()
    found += _between(path, loaded)
    found += (Problem(*problem) for problem in check_index(path, list(loaded.folders.values())))
    return found


def _account_files(path: str) -> Iterator[Problem]:
    try:
        read_checked(f"{path}/{layout.ACCOUNT_FILE}", layout.ACCOUNT_FILE)
    except FileNotFoundError:
        yield Problem("account", path, "mailserver-account is missing")
    except Damaged as error:
        yield Problem("account", path, str(error))
    for entry in os.scandir(path):
        if entry.name.startswith((layout.MAKING, layout.GONE)):
            yield Problem("leftover", entry.path, "a folder that was being made or removed")
        elif entry.name == tree.INTENT:
            yield Problem("leftover", entry.path, "a rename of folders that was not finished")
        elif entry.name.endswith(".tmp") and entry.name.startswith("."):
            yield Problem("leftover", entry.path, "a file that was being replaced")
        if entry.is_symlink():
            continue
        mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
        if mode & 0o077:
            yield Problem("mode", entry.path, f"others can get at it: {mode:04o}")


def _between(path: str, loaded: layout.Loaded) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for folder in loaded.folders.values():
        state = folder.state
        if state.mailbox_id in seen:
            yield Problem("state", folder.path, f"has the MAILBOXID of {seen[state.mailbox_id]}", mends=False)
        seen[state.mailbox_id] = folder.name
        if state.uid_validity > loaded.state.last_uid_validity:
            yield Problem("account", path, f"the UIDVALIDITY of {folder.name} is above the highest ever given")


class _Folder:
    """The problems of one folder's directories and files."""

    def __init__(self, folder: Folder, deep: bool) -> None:
        self._folder = folder
        self._deep = deep
        self._uids: dict[int, str] = {}
        self._bases: dict[str, str] = {}

    def problems(self) -> Iterator[Problem]:
        """All of them."""
        folder = self._folder
        if folder.dirname and not os.path.lexists(f"{folder.path}/maildirfolder"):
            yield Problem("layout", folder.path, "maildirfolder is missing")
        for directory in (folder.tmp, folder.new, folder.cur):
            if not os.path.isdir(directory):
                yield Problem("layout", directory, "the directory is missing")
                continue
            mode = stat.S_IMODE(os.stat(directory).st_mode)
            if mode & 0o077:
                yield Problem("mode", directory, f"others can get at it: {mode:04o}")
            for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
                yield from self._entry(directory, entry)

    def _entry(self, directory: str, entry: os.DirEntry[str]) -> Iterator[Problem]:
        if directory == self._folder.tmp:
            yield Problem("leftover", entry.path, "a message that was being written")
            return
        if entry.name.startswith("."):
            yield Problem("file", entry.path, "a hidden file, which is no message", mends=False)
            return
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            yield Problem("file", entry.path, "not a regular file", mends=False)
            return
        if status.st_mode & 0o077:
            yield Problem("mode", entry.path, f"others can get at it: {stat.S_IMODE(status.st_mode):04o}")
        name = parse(os.fsdecode(entry.name))
        yield from self._name(directory, entry.path, name)
        yield from self._sizes(entry.path, name, status.st_size)

    def _name(self, directory: str, path: str, name: FileName) -> Iterator[Problem]:
        folder = self._folder
        other = self._bases.setdefault(name.base, path)
        if other != path:
            yield Problem("name", path, f"the same message as {other}")
        if name.uid is None or name.uid_validity != folder.state.uid_validity:
            yield Problem("uid", path, "the name has no UID of this folder")
        elif name.uid >= folder.state.uid_floor:
            yield Problem("uid", path, f"UID {name.uid} is above all that were given")
        elif self._uids.setdefault(name.uid, path) != path and other == path:
            yield Problem("uid", path, f"UID {name.uid} is also that of {self._uids[name.uid]}")
        if directory == folder.new and name.info:
            yield Problem("name", path, "a message in new/ has flags in its name")
        known = folder.keywords.flags_of(name.letters, name.base)
        letters = {letter for letter in name.letters if letter not in FLAG_LETTERS}
        with_letter = len(known.difference(SYSTEM_FLAGS) - folder.keywords.without_letter(known))
        if len(letters) > with_letter:
            yield Problem("flags", path, f"a flag letter means nothing ({LETTERS_FILE})", mends=False)

    def _sizes(self, path: str, name: FileName, size: int) -> Iterator[Problem]:
        if not size:
            yield Problem("file", path, "an empty file, which is no message", mends=False)
        elif name.size is not None and name.size != size:
            yield Problem("size", path, f"the name says {name.size} octets, the file has {size}")
        elif self._deep:
            try:
                wire = wire_size(path)
            except OSError as error:
                yield Problem("file", path, f"cannot be read: {error}", mends=False)
                return
            told = name.wire or (name.size if is_ours(name.base) else wire)
            if told != wire:
                yield Problem("size", path, f"the name says {told} octets with CRLF, it has {wire}")


def problems_of_store(data_dir: str, *, deep: bool = False) -> dict[str, list[Problem]]:
    """Every account of a data directory (`domain/local`) with its problems."""
    out = {}
    for domain in sorted(os.scandir(data_dir), key=lambda entry: entry.name):
        if domain.name.startswith(".") or not domain.is_dir(follow_symlinks=False):
            continue
        for local in sorted(os.scandir(domain.path), key=lambda entry: entry.name):
            if local.name.startswith("."):
                continue
            if os.path.isdir(f"{local.path}/cur"):
                out[f"{domain.name}/{local.name}"] = verify_account(local.path, deep=deep)
    return out
