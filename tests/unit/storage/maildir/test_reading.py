"""Reading a batch of messages from an open directory is as reading each of them (reading.py)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailserver.storage.maildir import reading
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.folder_state import FolderState
from mailserver.storage.maildir.rows import FileRow

HEADER = b"Subject: x\r\nX-Long: " + b"y" * 20_000 + b"\r\n\r\n"
TEXTS = {
    "usual": b"Subject: x\r\n\r\ntext\r\n",
    "empty": b"",
    "bare": b"Subject: x\n\ntext\n\nmore\n",
    "no end": b"Subject: x",
    "long header": HEADER + b"text\r\n",
    "nothing but a long header": HEADER[:-2],
    "long": b"\r\n" + b"z" * 100_000,
}


def folder_of(path: Path) -> Folder:
    for name in ("cur", "new", "tmp"):
        (path / name).mkdir(parents=True)
    return Folder("INBOX", ".", str(path), FolderState(uid_validity=1))


def row(uid: int, text: bytes, *, in_new: bool = False) -> FileRow:
    wire = len(text) + text.count(b"\n") - text.count(b"\r\n")
    return FileRow(uid, f"1.m{uid}.host,U={uid},", "" if in_new else ":2,", in_new, len(text), wire)


def read(folder: Folder, rows: list[FileRow], *, header_only: bool = False) -> list[tuple[int, bytes]]:
    files_of = {row.uid: row for row in rows}
    batch, done = reading.read_batch(folder, files_of, list(files_of), header_only=header_only, patient=False)
    assert done == len(rows)
    return batch


@pytest.mark.parametrize("in_new", [False, True])
def test_messages_and_headers_of_every_shape(tmp_path: Path, in_new: bool) -> None:
    folder = folder_of(tmp_path / "box")
    rows = [row(uid, text, in_new=in_new) for uid, text in enumerate(TEXTS.values(), 1)]
    for one, text in zip(rows, TEXTS.values(), strict=True):
        Path(one.path(folder.path)).write_bytes(text)
    assert read(folder, rows) == [(one.uid, reading.load(folder, one)) for one in rows]
    shown = [text if b"\r\n" in text else text.replace(b"\n", b"\r\n") for text in TEXTS.values()]
    headers = [text[: text.find(b"\r\n\r\n") + 4] if b"\r\n\r\n" in text else text for text in shown]
    headers[list(TEXTS).index("long")] = b"\r\n"
    assert [data for _, data in read(folder, rows, header_only=True)] == headers


@pytest.mark.parametrize("header_only", [False, True])
def test_what_is_no_message_is_passed_over(tmp_path: Path, header_only: bool) -> None:
    folder, text = folder_of(tmp_path / "box"), TEXTS["usual"]
    rows = [row(uid, text) for uid in range(1, 7)]
    paths = [Path(one.path(folder.path)) for one in rows]
    (tmp_path / "secret").write_bytes(text)
    paths[1].symlink_to(tmp_path / "secret")
    os.mkfifo(paths[2])
    paths[3].mkdir()
    paths[0].write_bytes(text)
    paths[5].write_bytes(text)
    assert [uid for uid, _ in read(folder, rows, header_only=header_only)] == [1, 6]


def test_a_file_that_is_not_as_the_index_says_is_read_as_it_is(tmp_path: Path) -> None:
    folder, text = folder_of(tmp_path / "box"), TEXTS["usual"]
    rows = [row(uid, text) for uid in (1, 2, 3)]
    for one, now in zip(rows, (text[:-5], text + b"more\r\n", text), strict=True):
        Path(one.path(folder.path)).write_bytes(now)
    os.rename(rows[2].path(folder.path), rows[2].path(folder.path) + "S")
    assert read(folder, rows) == [(1, text[:-5]), (2, text + b"more\r\n"), (3, text)]


def test_a_folder_that_is_gone_has_no_messages_and_nothing_stays_open(tmp_path: Path) -> None:
    folder, rows = folder_of(tmp_path / "box"), [row(1, b"x")]
    before = len(os.listdir("/proc/self/fd"))
    for name in ("tmp", "new", "cur"):
        assert read(folder, rows) == []
        (tmp_path / "box" / name).rmdir()
    assert read(folder, rows) == []
    assert len(os.listdir("/proc/self/fd")) == before
