"""The part of `mailbox verify` that looks at one folder: its state, its directories, the names of its files."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Collection

from mailserver.storage.maildir.annotations import METADATA, read_annotations
from mailserver.storage.maildir.checked import Damaged
from mailserver.storage.maildir.folder_state import MAX_UID, STATE_FILE
from mailserver.storage.maildir.keywords import JOURNAL, LETTERS_FILE, Keywords
from mailserver.storage.maildir.names import FLAG_LETTERS, FileName, is_ours
from mailserver.storage.maildir.repair.findings import Findings, Problem
from mailserver.storage.maildir.repair.inspection import SUBS, FolderOnDisk, MessageFile
from mailserver.storage.maildir.unknown_files import wire_size

__all__ = ["ABANDONED", "UNSAFE", "check_annotations", "check_folder", "usage_of"]

#: Seconds after which a file in tmp/ is nobody's any more (the Maildir convention).
ABANDONED = 36 * 3600
#: In a name, these would end a line of keywords.journal or of dovecot-uidlist.
UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


def check_folder(folder: FolderOnDisk, out: Findings, *, full: bool) -> None:
    """Everything that the folder's own files tell."""
    dirname = folder.dirname
    if folder.state is None:
        problem = Problem.FOLDER_STATE_MISSING if folder.state_missing else Problem.FOLDER_STATE_DAMAGED
        out.add(problem, dirname, STATE_FILE, folder.state_error)
    check_annotations(f"{folder.path}/{METADATA}", dirname, out)
    for sub in folder.missing:
        out.add(Problem.DIRECTORY_MISSING, dirname, sub, "the directory is missing")
    for path in folder.odd:
        out.add(Problem.NOT_A_FILE, dirname, path, "not a regular file, so the server does not look at it")
    if folder.dirname and not os.path.lexists(f"{folder.path}/maildirfolder"):
        out.add(Problem.MARKER_MISSING, dirname, "maildirfolder", "other programs want this file in a folder")
    _check_names(folder, out)
    _check_sizes(folder, out, full=full)
    _check_keywords(folder, out)
    _check_modes(folder, out)
    _check_temporary(folder, out)


def check_annotations(path: str, dirname: str, out: Findings) -> None:
    """Whether a file of annotations can be read."""
    try:
        read_annotations(path)
    except Damaged as error:
        out.add(Problem.METADATA_DAMAGED, dirname, os.path.basename(path), str(error))


def usage_of(folder: FolderOnDisk, removed: Collection[str]) -> tuple[int, int]:
    """Octets (with CRLF, as far as the names tell) and number of the messages whose bases are not in `removed`."""
    octets = messages = 0
    for file in folder.files:
        name = file.parsed
        if file.size and name.base not in removed:
            octets += name.wire or file.size
            messages += 1
    return octets, messages


def _check_names(folder: FolderOnDisk, out: Findings) -> None:
    bases: dict[str, MessageFile] = {}
    uids: dict[int, MessageFile] = {}
    highest = 0
    for file in sorted(folder.files, key=lambda file: file.name):
        name = file.parsed
        if UNSAFE.search(name.base):
            out.add(Problem.NAME_UNSAFE, folder.dirname, file.place, "the name has control characters")
        other = bases.setdefault(name.base, file)
        if other is not file:
            out.add(Problem.NAME_TWICE, folder.dirname, file.place, f"the same name, but for its flags: {other.place}")
            continue
        uid = _check_uid(folder, file, name, out)
        if uid is None:
            continue
        first = uids.setdefault(uid, file)
        if first is not file:
            out.add(Problem.UID_TWICE, folder.dirname, file.place, f"UID {uid} is also that of {first.place}")
        highest = max(highest, uid)
    if folder.state is not None and highest >= folder.state.uid_floor:
        text = f"UID {highest} is in use, but the file says that none from {folder.state.uid_floor} on was given"
        out.add(Problem.UID_FLOOR_LOW, folder.dirname, STATE_FILE, text)


def _check_uid(folder: FolderOnDisk, file: MessageFile, name: FileName, out: Findings) -> int | None:
    uid = folder.own_uid(name)
    if uid is not None and 0 < uid <= MAX_UID:
        return uid
    if uid is not None:
        out.add(Problem.UID_IMPOSSIBLE, folder.dirname, file.place, f"no message can have the UID {uid}")
    elif folder.state is not None and name.uid is not None and name.uid_validity is not None:
        text = f"its UID is of UIDVALIDITY {name.uid_validity}, here it is {folder.state.uid_validity}"
        out.add(Problem.UID_OF_ANOTHER_FOLDER, folder.dirname, file.place, text)
    elif folder.state is not None:
        out.add(Problem.UID_MISSING, folder.dirname, file.place, "another program put it here")
    return None


def _check_sizes(folder: FolderOnDisk, out: Findings, *, full: bool) -> None:
    for file in folder.files:
        name = file.parsed
        if not file.size:
            out.add(Problem.FILE_EMPTY, folder.dirname, file.place, "an empty file, which is no message")
        elif name.size is not None and name.size != file.size:
            text = f"the name says {name.size} octets, the file has {file.size}"
            out.add(Problem.SIZE_WRONG, folder.dirname, file.place, text)
        elif name.wire is not None and name.wire < file.size:
            text = f"the name says {name.wire} octets with CRLF, the file has {file.size}"
            out.add(Problem.WIRE_SIZE_WRONG, folder.dirname, file.place, text)
        elif full and (name.wire is not None or is_ours(name.base)):
            try:
                wire = wire_size(f"{folder.path}/{file.place}")
            except OSError:
                # Renamed or removed meanwhile.
                continue
            if wire != (name.wire or file.size):
                text = f"the name says {name.wire or file.size} octets with CRLF, it has {wire}"
                out.add(Problem.WIRE_SIZE_WRONG, folder.dirname, file.place, text)


def _check_keywords(folder: FolderOnDisk, out: Findings) -> None:
    keywords = Keywords(folder.path)
    letters, journal = keywords.damage()
    for text in letters:
        out.add(Problem.KEYWORDS_DAMAGED, folder.dirname, LETTERS_FILE, text)
    for text in journal:
        out.add(Problem.KEYWORDS_JOURNAL_DAMAGED, folder.dirname, JOURNAL, text)
    known = set(keywords.letters().values()).union(FLAG_LETTERS)
    unknown: dict[str, int] = {}
    for file in folder.files:
        for letter in set(file.parsed.letters) - known:
            if "a" <= letter <= "z":
                unknown[letter] = unknown.get(letter, 0) + 1
    for letter, count in sorted(unknown.items()):
        text = f"{count} messages have the letter {letter}, which stands for no keyword"
        out.add(Problem.KEYWORD_UNKNOWN, folder.dirname, LETTERS_FILE, text)


def _check_modes(folder: FolderOnDisk, out: Findings) -> None:
    for file in folder.files:
        if file.mode & 0o077:
            out.add(Problem.OPEN_TO_OTHERS, folder.dirname, file.place, f"its mode is {stat.S_IMODE(file.mode):04o}")
    # What stands beside INBOX's directories belongs to the account, and was looked at with it.
    beside = [] if not folder.dirname else [entry.name for entry in os.scandir(folder.path)]
    for name in beside:
        status = os.lstat(f"{folder.path}/{name}")
        if status.st_mode & 0o077 and not stat.S_ISLNK(status.st_mode):
            out.add(Problem.OPEN_TO_OTHERS, folder.dirname, name, f"its mode is {stat.S_IMODE(status.st_mode):04o}")


def _check_temporary(folder: FolderOnDisk, out: Findings) -> None:
    if SUBS[2] in folder.missing:
        return
    for entry in os.scandir(f"{folder.path}/{SUBS[2]}"):
        try:
            age = time.time() - entry.stat(follow_symlinks=False).st_mtime
        except FileNotFoundError:
            continue
        if age > ABANDONED:
            text = f"nobody finished it in {int(age) // 3600} hours"
            out.add(Problem.OLD_TEMPORARY, folder.dirname, f"{SUBS[2]}/{entry.name}", text)
