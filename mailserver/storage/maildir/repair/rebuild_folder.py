"""The part of `mailbox rebuild` that mends one folder's directories, file names and keywords."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Collection, Iterable

from mailserver.net import files
from mailserver.storage.maildir.folder_state import MAX_UID, STATE_FILE
from mailserver.storage.maildir.index_contents import FolderContents, MessageRow
from mailserver.storage.maildir.keywords import Keywords
from mailserver.storage.maildir.names import FileName, is_ours
from mailserver.storage.maildir.repair.inspection import ASIDE, SUBS, FolderOnDisk, MessageFile
from mailserver.storage.maildir.repair.verify_folder import ABANDONED, UNSAFE
from mailserver.storage.maildir.unknown_files import wire_size

__all__ = ["mend_folder", "mend_layout"]

_SIZES = re.compile(r",[SW]=[0-9]{1,20}(?=,|$)")
_UIDS = re.compile(r",[UV]=[0-9a-f]{1,20}(?=,|$)")


def mend_layout(account: str, path: str, dirname: str) -> None:
    """All directories and the marker are there, what stands in their place or is no message is put aside."""
    for sub in SUBS:
        if os.path.lexists(f"{path}/{sub}") and not os.path.isdir(f"{path}/{sub}"):
            _put_aside(account, dirname, path, sub)
        files.make_dir(f"{path}/{sub}")
    if os.path.lexists(f"{path}/{STATE_FILE}") and not os.path.isfile(f"{path}/{STATE_FILE}"):
        _put_aside(account, dirname, path, STATE_FILE)
    if dirname and not os.path.lexists(f"{path}/maildirfolder"):
        os.close(files.open_new(f"{path}/maildirfolder"))
    for entry in os.scandir(os.path.join(path, SUBS[2])):
        status = entry.stat(follow_symlinks=False)
        if entry.is_file(follow_symlinks=False) and time.time() - status.st_mtime > ABANDONED:
            files.remove_file(entry.path)


def mend_folder(account: str, folder: FolderOnDisk, known: FolderContents | None, *, full: bool) -> None:
    """Names, flags and keywords, durably. `known` is what the index has of this folder, if it can be believed."""
    for path in folder.odd:
        _put_aside(account, folder.dirname, folder.path, path)
    for file in [file for file in folder.files if not file.size]:
        _put_aside(account, folder.dirname, folder.path, file.place)
        folder.files.remove(file)
    messages = known.messages if known is not None else {}
    if known is not None:
        _finish_removals(folder, known)
    rows = {
        file.name: row
        for file, uid in _with_uids(folder)
        if (row := messages.get(uid)) is not None and row.base == file.parsed.base
    }
    _mend_keywords(folder, rows)
    _mend_names(folder, full=full)
    for sub in SUBS:
        files.fsync_dir(f"{folder.path}/{sub}")
    files.fsync_dir(folder.path)


def _with_uids(folder: FolderOnDisk) -> Iterable[tuple[MessageFile, int]]:
    for file in folder.files:
        uid = folder.own_uid(file.parsed)
        if uid is not None:
            yield file, uid


def _put_aside(account: str, dirname: str, path: str, place: str) -> None:
    aside = f"{account}/{ASIDE}"
    files.make_dir(aside)
    name = f"{dirname or 'INBOX'}.{place.replace('/', '.')}"[-200:]
    os.rename(f"{path}/{place}", f"{aside}/{secrets.token_hex(4)}.{name}")
    files.fsync_dir(aside)


def _finish_removals(folder: FolderOnDisk, known: FolderContents) -> None:
    """Messages that a user removed, and whose files were not yet: their clients know that they are gone."""
    for file, uid in list(_with_uids(folder)):
        name = known.unlinks.get(uid)
        if name is not None and uid not in known.messages and name.partition(":")[0] == file.parsed.base:
            files.remove_file(f"{folder.path}/{file.place}")
            folder.files.remove(file)


# -- flags and keywords ------------------------------------------------------------------------------------------------


def _mend_keywords(folder: FolderOnDisk, rows: dict[str, MessageRow]) -> None:
    keywords = Keywords(folder.path)
    letters = keywords.letters()
    known = {keyword.lower() for keyword in letters}
    in_use = {letter for file in folder.files for letter in file.parsed.letters if "a" <= letter <= "z"}
    unknown = sorted(in_use.difference(letters.values()))
    # Keywords that an unchanged name should tell, and can tell no more.
    lost = {
        file.name: words
        for file in folder.files
        if (row := rows.get(file.name)) is not None
        and _unchanged(file, row)
        and (words := _without_letter(row, known) - keywords.further_of(file.parsed.base))
    }
    damaged = bool(unknown or lost or any(keywords.damage()))
    if damaged:
        for letter, keyword in _meanings(folder, rows, lost, unknown).items():
            letters[keyword] = letter
        keywords.replace(letters, {file.parsed.base: keywords.further_of(file.parsed.base) for file in folder.files})
    pending: dict[str, frozenset[str]] = {}
    for file in folder.files:
        row, name = rows.get(file.name), file.parsed
        if row is not None and row.dirty:
            # Answered, and on its way into the name.
            wanted = row.flags
        elif file.name in lost:
            wanted = keywords.flags_of(name.letters, name.base) | lost[file.name]
        else:
            continue
        info = keywords.info(wanted, name.letters)
        pending[name.base] = keywords.without_letter(wanted)
        if info != (name.info or ":2,"):
            _rename(folder, file, f"{name.base}{info}", in_new=False)
    keywords.journal(pending)


def _unchanged(file: MessageFile, row: MessageRow) -> bool:
    """Does the index say what the name said when it was last looked at?"""
    return not row.dirty and row.info == file.parsed.info


def _without_letter(row: MessageRow, known: Collection[str]) -> frozenset[str]:
    return frozenset(flag for flag in row.flags if not flag.startswith("\\") and flag.lower() not in known)


def _meanings(
    folder: FolderOnDisk, rows: dict[str, MessageRow], lost: dict[str, frozenset[str]], unknown: list[str]
) -> dict[str, str]:
    """letter → keyword for letters that lost theirs: what all messages with the letter have, and no other message.

    Where several keywords always come together, any order of them is the right one. What nothing tells is `unknown-N`,
    as Dovecot calls it, so that the letter is never given to another keyword.
    """
    having: dict[str, frozenset[str]] = {}
    lacking: dict[str, set[str]] = {letter: set() for letter in unknown}
    for file in folder.files:
        row = rows.get(file.name)
        if row is None or not _unchanged(file, row):
            continue
        words = lost.get(file.name, frozenset())
        for letter in unknown:
            if letter in file.parsed.letters:
                having[letter] = having.get(letter, words) & words
            else:
                lacking[letter] |= words
    out: dict[str, str] = {}
    for letter in unknown:
        sure = sorted(having.get(letter, frozenset()) - lacking[letter] - set(out.values()))
        out[letter] = sure[0] if sure else f"unknown-{ord(letter) - 97}"
    return out


# -- names -------------------------------------------------------------------------------------------------------------


def _mend_names(folder: FolderOnDisk, *, full: bool) -> None:
    keywords = Keywords(folder.path)
    moved: dict[str, frozenset[str]] = {}
    bases: dict[str, MessageFile] = {}
    for file in sorted(folder.files, key=lambda file: file.name):
        name = file.parsed
        base = _mended_base(folder, file, name, full=full)
        first = bases.get(base)
        if first is not None and first.inode == file.inode:
            # Two names of one file, as a crash between link and unlink leaves them. The one with flags is the later.
            older, later = sorted((first, file), key=lambda each: (not each.in_new, len(each.name)))
            files.remove_file(f"{folder.path}/{older.place}")
            bases[base] = later
            continue
        if first is not None:
            base = f"{_UIDS.sub('', base)}~{secrets.token_hex(4)}"
        if base != name.base:
            further = keywords.further_of(name.base)
            if further:
                moved[base] = further
            _rename(folder, file, base + name.info, in_new=file.in_new)
        bases[base] = file
    if moved:
        keywords.journal(moved)


def _mended_base(folder: FolderOnDisk, file: MessageFile, name: FileName, *, full: bool) -> str:
    base = name.base
    if UNSAFE.search(base):
        fields = "".join(re.findall(r",[SWUV]=[0-9a-f]+(?=,|$)", base))
        base = f"{name.saved or file.mtime}.R{secrets.token_hex(8)}.mended{fields}"
    uid = folder.own_uid(name)
    if uid is not None and not 0 < uid <= MAX_UID:
        base = _UIDS.sub("", base)
    told = name.wire if name.wire is not None else name.size
    checked = full and (name.wire is not None or is_ours(name.base))
    if name.size is None and name.wire is None:
        return base
    if name.size in (None, file.size) and (name.wire is None or name.wire >= file.size) and not checked:
        return base
    wire = wire_size(f"{folder.path}/{file.place}")
    if name.size in (None, file.size) and told == wire:
        return base
    sizes = f",S={file.size}" + (f",W={wire}" if wire != file.size else "")
    bare = _SIZES.sub("", base)
    stem, uids = _UIDS.sub("", bare), "".join(found[0] for found in re.finditer(_UIDS, bare))
    return f"{stem}{sizes}{uids}"


def _rename(folder: FolderOnDisk, file: MessageFile, name: str, *, in_new: bool) -> None:
    target = f"{'new' if in_new else 'cur'}/{name}"
    if os.path.lexists(f"{folder.path}/{target}"):
        return
    os.rename(f"{folder.path}/{file.place}", f"{folder.path}/{target}")
    file.name, file.in_new = name, in_new
