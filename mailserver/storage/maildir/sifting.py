"""Looking into messages in the thread that reads them, so that what is of no use never leaves it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.reading import BATCH_OCTETS, load, open_message
from mailserver.storage.maildir.rows import FileRow

__all__ = ["sift_batch"]


def sift_batch(
    folder: Folder, files_of: Mapping[int, FileRow], uids: Sequence[int], *, sizes: Mapping[int, int],
    test: Callable[[int, bytes], bool], patient: bool,
) -> tuple[list[int], int]:  # fmt: skip
    """Messages from the beginning of `uids` that pass, until a batch is full; and how many of `uids` were dealt with.

    One without a file is passed over, but if `patient` the batch ends before it.
    """
    out: list[int] = []
    octets = done = 0
    for uid in uids:
        row = files_of.get(uid)
        if row is not None:
            if octets > BATCH_OCTETS:
                break
            try:
                data = _beginning(folder, row, sizes[uid])
            except FileNotFoundError:
                if patient:
                    break
            else:
                octets += len(data)
                if test(uid, data):
                    out.append(uid)
        done += 1
    return out, done


def _beginning(folder: Folder, row: FileRow, size: int) -> bytes:
    if row.wire != row.size:
        return load(folder, row)
    fd = open_message(folder, row)
    try:
        data = os.read(fd, size)
        while len(data) < size and (more := os.read(fd, size - len(data))):
            data += more
        return data
    finally:
        os.close(fd)
