"""The part of `mailbox verify` that compares `index.db` with the directories. Reads only.

No index is no problem; one that says what is not so is.
"""

from __future__ import annotations

import os
import sqlite3
from types import TracebackType
from typing import Self

from mailserver.mime.render import render
from mailserver.model.mailbox import Rendered
from mailserver.storage.maildir import reading
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.folder_state import STATE_FILE, FolderState
from mailserver.storage.maildir.index import INDEX_FILE
from mailserver.storage.maildir.index_contents import (
    BAD_VALUE,
    FolderContents,
    IndexContents,
    MessageRow,
    connect_readonly,
    read_contents,
)
from mailserver.storage.maildir.keys import key_range
from mailserver.storage.maildir.keywords import Keywords
from mailserver.storage.maildir.names import FileName
from mailserver.storage.maildir.pieces import complete_keys, keys_of_pieces, read_pieces
from mailserver.storage.maildir.repair.findings import Findings, Problem
from mailserver.storage.maildir.repair.inspection import FolderOnDisk, MessageFile
from mailserver.storage.maildir.rows import FileRow

__all__ = ["IndexCheck"]

_SAMPLES = 50
_BATCH = 200
_UNBOUNDED = 1 << 62
_FIELDS = list(Rendered)


class IndexCheck:
    """The index of an account, folder by folder. A context manager: leaving it closes the database."""

    def __init__(self, account: str, out: Findings, *, full: bool, live: bool) -> None:
        self._path = f"{account}/{INDEX_FILE}"
        self._out = out
        self._full = full
        self._live = live
        self._db: sqlite3.Connection | None = None
        self._contents: IndexContents | None = None

    def __enter__(self) -> Self:
        if os.path.lexists(self._path):
            try:
                self._db = connect_readonly(self._path, live=self._live)
                self._contents = read_contents(self._db, full=self._full)
            except BAD_VALUE as error:
                self._damaged(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._db is not None:
            self._db.close()

    def _damaged(self, error: Exception) -> None:
        self._contents = None
        self._out.add(Problem.INDEX_DAMAGED, "", INDEX_FILE, f"{type(error).__name__}: {error}")

    def check_folders(self, mailbox_ids: set[str]) -> None:
        """Folders of the index that the account does not have."""
        for mailbox_id in sorted(set(self._contents.folders if self._contents else ()) - mailbox_ids):
            text = f"a folder with the MAILBOXID {mailbox_id}, which is not there"
            self._out.add(Problem.INDEX_FOLDER_UNKNOWN, "", INDEX_FILE, text)

    def check(self, folder: FolderOnDisk) -> set[str]:
        """One folder of the account; the bases of files whose messages were removed, and that will go."""
        contents, state = self._contents, folder.state
        known = contents.folders.get(state.mailbox_id) if contents and state else None
        if contents is None or state is None or known is None:
            return set()
        if known.uid_validity != state.uid_validity:
            text = f"the index is of UIDVALIDITY {known.uid_validity}, the folder of {state.uid_validity}"
            self._out.add(Problem.INDEX_OTHER_UIDVALIDITY, folder.dirname, "", text)
            return set()
        try:
            contents.load(known)
            _FolderCheck(folder, state, known, self._out).check()
            if contents.has_cache:
                self._check_rendered(contents.db, folder, state, known)
        except BAD_VALUE as error:
            self._damaged(error)
        finally:
            # The next folder may be as large.
            known.messages.clear()
        return {name.partition(":")[0] for name in known.unlinks.values()}

    def _check_rendered(
        self, db: sqlite3.Connection, folder: FolderOnDisk, state: FolderState, known: FolderContents
    ) -> None:
        keys = [key & 0xFFFFFFFF for key in keys_of_pieces(db, known.number)]
        copied = {content & 0xFFFFFFFF for (content,) in db.execute(
            "SELECT content FROM copies WHERE content BETWEEN ? AND ?", key_range(known.number))}  # fmt: skip
        for uid in keys:
            # Pieces outlive a message until its file went, and as long as copies have them.
            if uid not in known.messages and uid not in known.unlinks and uid not in copied:
                text = f"pieces of UID {uid}, which is not in the index"
                self._out.add(Problem.RENDERED_ORPHAN, folder.dirname, "", text)
        # What was only listed or searched so far (mime/render.py) is rendered for who asks more, or in the background.
        present = sorted({key & 0xFFFFFFFF for key in complete_keys(db, known.number)} & known.messages.keys())
        if not self._full:
            present = present[:: max(1, len(present) // _SAMPLES)]
        at = Folder("", folder.dirname, folder.path, state)
        for start in range(0, len(present), _BATCH):
            batch = present[start : start + _BATCH]
            # A batch is small enough to be held, and each message is compared alone.
            read = read_pieces(db, known.number, batch, _FIELDS, _UNBOUNDED)
            kept = dict(zip(read.uids, zip(*read.columns, strict=True), strict=True))
            for uid in batch:
                self._compare(at, uid, known.messages[uid], kept.get(uid))

    def _compare(self, folder: Folder, uid: int, row: MessageRow, kept: tuple[bytes, ...] | None) -> None:
        try:
            message = reading.load(folder, FileRow(uid, row.base, row.info, row.in_new, row.size, row.wire))
        except OSError:
            # Told already, or gone a moment ago.
            return
        fresh = render(message)
        if kept is None:
            text = f"the pieces of UID {uid} are incomplete, or their checksum is wrong"
        elif kept != tuple(fresh.get(field, b"") for field in _FIELDS):
            text = f"the pieces of UID {uid} are not those of the message"
        else:
            return
        self._out.add(Problem.RENDERED_WRONG, folder.dirname, row.base, text)


class _FolderCheck:
    """The rows of one folder against its files."""

    def __init__(self, folder: FolderOnDisk, state: FolderState, known: FolderContents, out: Findings) -> None:
        self._folder = folder
        self._state = state
        self._known = known
        self._out = out
        self._keywords = Keywords(folder.path)
        self._files: dict[str, MessageFile] = {}
        for file in folder.files:
            self._files.setdefault(file.parsed.base, file)

    def _add(self, problem: Problem, path: str, text: str) -> None:
        self._out.add(problem, self._folder.dirname, path, text)

    def check(self) -> None:
        """All of them."""
        known = self._known
        for uid, row in known.messages.items():
            file = self._files.get(row.base)
            if file is None:
                text = f"UID {uid} of the index has no file (another program removed it?)"
                self._add(Problem.ROW_WITHOUT_FILE, row.base, text)
            else:
                self._check_row(uid, row, file)
        for uid in sorted(known.tombstones.keys() & known.messages.keys()):
            self._add(Problem.TOMBSTONE_OF_MESSAGE, "", f"UID {uid} is there, and noted as removed")
        for uid in sorted(known.unlinks.keys() & known.messages.keys()):
            self._add(Problem.UNLINK_OF_MESSAGE, "", f"the file of UID {uid} is to be removed, but it is there")
        self._check_floors()
        self._check_files()

    def _check_row(self, uid: int, row: MessageRow, file: MessageFile) -> None:
        name = file.parsed
        if (row.info, row.in_new) != (name.info, file.in_new):
            self._add(Problem.ROW_MISPLACED, file.place, "another program moved the file or changed its flags")
        elif not row.dirty and row.flags != self._keywords.flags_of(name.letters, name.base):
            told, kept = sorted(self._keywords.flags_of(name.letters, name.base)), sorted(row.flags)
            self._add(Problem.FLAGS_DIFFER, file.place, f"the name says {told}, the index {kept}")
        wrong = []
        if self._folder.own_uid(name) != uid:
            wrong.append(f"UID {uid}")
        if row.size != file.size:
            wrong.append(f"{row.size} octets")
        if row.wire != _wire(name, row):
            wrong.append(f"{row.wire} octets with CRLF")
        if row.date != file.mtime:
            wrong.append(f"the date {row.date}, not {file.mtime}")
        if name.saved is not None and row.saved != name.saved:
            wrong.append(f"the date of saving {row.saved}")
        if wrong:
            self._add(Problem.ROW_WRONG, file.place, f"the index says wrongly: {', '.join(wrong)}")

    def _check_floors(self) -> None:
        known, state = self._known, self._state
        if known.highest_uid >= state.uid_floor:
            text = f"UID {known.highest_uid} was given, but the file says that none from {state.uid_floor} on was"
            self._add(Problem.UID_FLOOR_LOW, STATE_FILE, text)
        if known.highest_modseq >= state.modseq_floor:
            text = f"MODSEQ {known.highest_modseq} was told, but the file says that none from {state.modseq_floor} was"
            self._add(Problem.MODSEQ_FLOOR_LOW, STATE_FILE, text)

    def _check_files(self) -> None:
        known = self._known
        for file in self._folder.files:
            uid = self._folder.own_uid(file.parsed)
            # From `uid_seen` on the index may lack what arrived last.
            if uid is None or uid >= known.uid_seen or uid in known.messages or not file.size:
                continue
            if uid not in known.unlinks:
                self._add(Problem.FILE_WITHOUT_ROW, file.place, f"UID {uid} is missing in the index")


def _wire(name: FileName, row: MessageRow) -> int:
    if name.wire is not None:
        return name.wire
    # A file that got its UID here has W= if it needs it.
    return row.size
