"""Reading messages from their files, and rendering what the index lacks. In threads; nothing here changes mail."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from mailserver.mime.headers import header_block_end
from mailserver.mime.render import renderer
from mailserver.model.mailbox import Rendered
from mailserver.net import files
from mailserver.storage.maildir import rows
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.index import AccountIndex
from mailserver.storage.maildir.pieces import PieceBatch, read_pieces, store_pieces
from mailserver.storage.maildir.rows import FileRow

__all__ = ["BATCH_OCTETS", "load", "open_message", "read_batch", "read_range", "read_rendered",
    "render_missing"]

BATCH_OCTETS = 1 << 20
#: Octets of messages, and of one kind of their pieces, that are read at once to be sent.
_SENT_OCTETS = _SENT_PIECES = 512 << 10
_RENDER_BATCH = 50
_BATCH_MESSAGES = 256
_FIRST_READ = 16 << 10
_CHUNK = 1 << 20
_BARE_LF = re.compile(rb"(?<!\r)\n")


def open_message(folder: Folder, row: FileRow) -> int:
    """The file of a message, wherever it went since the row was read. Raises FileNotFoundError: it is gone."""
    try:
        return files.open_regular(row.path(folder.path))
    except FileNotFoundError:
        pass
    # A flag changed in its name, by us or another program: the base still names it (ATTACKS H03). A second look may be
    # needed when it is renamed again meanwhile.
    for _ in range(3):
        found = _find(folder, row.base)
        if found is None:
            break
        try:
            return files.open_regular(found)
        except FileNotFoundError:
            continue
    raise FileNotFoundError(row.path(folder.path))


def find_message(folder: Folder, row: FileRow) -> str:
    """The path of a message now. Raises FileNotFoundError."""
    path = row.path(folder.path)
    if os.path.lexists(path):
        return path
    found = _find(folder, row.base)
    if found is None:
        raise FileNotFoundError(path)
    return found


def _find(folder: Folder, base: str) -> str | None:
    for directory in (folder.cur, folder.new, folder.cur):
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(base) and entry.name[len(base) : len(base) + 1] in ("", ":"):
                    return entry.path
    return None


def load(folder: Folder, row: FileRow) -> bytes:
    """A whole message as presented. Raises FileNotFoundError."""
    fd = open_message(folder, row)
    try:
        data = _read_all(fd, row.size)
    finally:
        os.close(fd)
    return data if row.wire == row.size else _BARE_LF.sub(b"\r\n", data)


def _read_all(fd: int, size: int) -> bytes:
    data = os.read(fd, size + 1)
    if len(data) == size:
        return data
    parts = [data]
    while data := os.read(fd, _CHUNK):
        parts.append(data)
    return b"".join(parts)


def _load_header(folder: Folder, row: FileRow) -> bytes:
    """The header block with its empty line, as presented."""
    fd = open_message(folder, row)
    try:
        data = os.read(fd, _FIRST_READ)
        while True:
            shown = data if row.wire == row.size else _BARE_LF.sub(b"\r\n", data)
            end = header_block_end(shown)
            more = b"" if end < len(shown) else os.read(fd, max(len(data), _FIRST_READ))
            if not more:
                return shown[:end]
            data += more
    finally:
        os.close(fd)


@contextmanager
def _directories(folder: Folder) -> Iterator[tuple[int, int]]:
    """`cur` and `new`, open while a batch is read: so messages are named by the last component of their paths only."""
    opened: list[int] = []
    try:
        with suppress(FileNotFoundError):
            # Else the whole folder was moved or deleted, and each message will tell.
            opened.append(files.open_dir(folder.cur))
            opened.append(files.open_dir(folder.new))
        yield (opened[0], opened[1]) if len(opened) == 2 else (-1, -1)
    finally:
        for directory in opened:
            os.close(directory)


def _message_in(directories: tuple[int, int], folder: Folder, row: FileRow) -> bytes:
    """As `load`."""
    data = files.read_at(directories[row.in_new], row.base + row.info, row.size + 1)
    if data is None or len(data) != row.size:
        # Whatever is unusual.
        return load(folder, row)
    return data if row.wire == row.size else _BARE_LF.sub(b"\r\n", data)


def _header_in(directories: tuple[int, int], folder: Folder, row: FileRow) -> bytes:
    """As `_load_header`."""
    data = files.read_at(directories[row.in_new], row.base + row.info, _FIRST_READ)
    if data is not None and row.wire == row.size and len(data) == min(row.size, _FIRST_READ):
        end = header_block_end(data)
        if end < len(data) or end == row.size:
            return data[:end]
    return _load_header(folder, row)


def read_batch(
    folder: Folder, files_of: Mapping[int, FileRow], uids: Sequence[int], *, header_only: bool, patient: bool
) -> tuple[list[tuple[int, bytes]], int]:
    """Messages from the beginning of `uids` until a batch is full; and how many of `uids` were dealt with.

    One without a file is passed over, but if `patient` the batch ends before it.
    """
    out: list[tuple[int, bytes]] = []
    octets = done = 0
    read = _header_in if header_only else _message_in
    with _directories(folder) as directories:
        for uid in uids:
            row = files_of.get(uid)
            if row is not None:
                if out and (octets + (0 if header_only else row.wire) > _SENT_OCTETS or len(out) >= _BATCH_MESSAGES):
                    break
                try:
                    data = read(directories, folder, row)
                except FileNotFoundError:
                    if patient:
                        break
                else:
                    out.append((uid, data))
                    octets += len(data)
            done += 1
    return out, done


def read_range(folder: Folder, row: FileRow, start: int, size: int | None) -> bytes:
    """A part of a message as presented. Raises FileNotFoundError."""
    if row.wire != row.size:
        data = load(folder, row)
        return data[start:] if size is None else data[start : start + size]
    fd = open_message(folder, row)
    try:
        left = max(0, os.fstat(fd).st_size - start)
        left = left if size is None else min(size, left)
        parts = []
        while left and (part := os.pread(fd, left, start)):
            parts.append(part)
            start += len(part)
            left -= len(part)
    finally:
        os.close(fd)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_rendered(
    index: AccountIndex, folder: Folder, number: int, uids: Sequence[int], fields: Sequence[Rendered], make: bool
) -> PieceBatch:
    """Pieces from the beginning of `uids` until a batch is full; if `make`, with those that were not there, of which a
    few are many. Raises IndexLost."""
    batch = index.run(lambda db: read_pieces(db, number, uids, fields, _SENT_PIECES))
    there = set(batch.uids)
    lacking = [uid for uid in uids[: batch.done] if uid not in there] if make and len(there) < batch.done else []
    if not lacking:
        return batch
    lacking = lacking[:_RENDER_BATCH]
    made = render_missing(index, folder, number, lacking, fields)
    found = dict(zip(batch.uids, zip(*batch.columns, strict=True), strict=bool(fields)))
    found.update({uid: tuple([pieces.get(field, b"") for field in fields]) for uid, pieces in made.items()})
    done = bisect_right(uids, lacking[-1])
    shown = [uid for uid in uids[:done] if uid in found]
    return PieceBatch(done, shown, list(zip(*[found[uid] for uid in shown], strict=True)))


def render_missing(
    index: AccountIndex, folder: Folder, number: int, uids: Sequence[int], fields: Sequence[Rendered]
) -> dict[int, dict[Rendered, bytes]]:
    """Render these messages, at least the asked pieces, and keep them. Raises IndexLost."""
    # Somebody waits. What is not made of them now, the background makes (rendering.py).
    made = renderer(fields)
    found = index.run(lambda db: rows.file_rows(db, number, uids))
    out: dict[int, dict[Rendered, bytes]] = {}
    for uid, row in found.items():
        try:
            out[uid] = made(load(folder, row))
        except FileNotFoundError:
            continue
    if out:
        index.run(lambda db: store_pieces(db, number, out.items()))
    return out
