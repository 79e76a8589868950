"""The queue's directory: blocking file work, called in the queue's own threads.

    queue/lock          held (flock) by the one process that owns the queue
    queue/tmp/<id>      being written; nothing was promised; removed at start
    queue/items/<id>    an item: the rename into here is where it begins to be one
    queue/aside/        what could not be trusted, kept for a person to look at; nothing in here is read again

A new item is written to its last octet, renamed, and then synced: the file, and after it the directory
(`directory_sync.py`). So one commit of the file system's journal has both, and a process that is killed anywhere leaves
whole items or none in items/. After a power failure an item that nobody was promised may stand there incomplete.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from mailserver.model.errors import StorageFailure
from mailserver.model.ids import QueueId
from mailserver.net.files import make_dir

__all__ = ["Spool", "write_at"]

_FILE, _DIRECTORY = 0o600, 0o700
_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: Ids are used once: O_EXCL is against our own mistakes, O_NOFOLLOW against what others put there.
_NEW = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class Spool:
    """The open queue directory."""

    def __init__(self, path: Path) -> None:
        """Make what is missing, and take the lock. Raises OSError, StorageFailure (another process has the queue)."""
        with contextlib.ExitStack() as undo:
            make_dir(str(path))
            self._root = os.open(path, _READ_DIRECTORY)
            undo.callback(os.close, self._root)
            flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open("lock", flags, _FILE, dir_fd=self._root)
            undo.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StorageFailure("the queue is in use by another process", detail=str(path)) from None
            for name in ("tmp", "items", "aside"):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, _DIRECTORY, dir_fd=self._root)
            os.fsync(self._root)
            self.tmp = os.open("tmp", _READ_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._root)
            undo.callback(os.close, self.tmp)
            self.items = os.open("items", _READ_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._root)
            undo.callback(os.close, self.items)
            self._aside = os.open("aside", _READ_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._root)
            undo.callback(os.close, self._aside)
            self._close = undo.pop_all().close
        #: Not acknowledged, and still there: what a restart finds is delivered, and the sender tries again as well.
        self._unwanted: set[QueueId] = set()

    def close(self) -> None:
        """Give the lock back. Nothing may be under way."""
        for queue_id in tuple(self._unwanted):
            self.take_back(queue_id)
        self._close()

    def create(self, queue_id: QueueId) -> int:
        """A new file in tmp/, for reading and writing. Raises OSError."""
        try:
            return os.open(queue_id, _NEW, _FILE, dir_fd=self.tmp)
        except FileExistsError:
            # The rest of an attempt of ours that failed, and then could not be removed: nobody was promised it.
            os.unlink(queue_id, dir_fd=self.tmp)
            return os.open(queue_id, _NEW, _FILE, dir_fd=self.tmp)

    def publish(self, queue_id: QueueId, fd: int) -> None:
        """tmp/ → items/, and its octets are on the disk. The name is not yet. Raises OSError; then it is in neither."""
        try:
            os.rename(queue_id, queue_id, src_dir_fd=self.tmp, dst_dir_fd=self.items)
        except OSError:
            self.discard(queue_id)
            raise
        try:
            os.fdatasync(fd)
        except OSError:
            self.take_back(queue_id)
            raise

    def discard(self, queue_id: QueueId) -> None:
        """Remove what never became an item. What cannot be removed is removed at the next start."""
        with contextlib.suppress(OSError):
            os.unlink(queue_id, dir_fd=self.tmp)

    def remove(self, queue_id: QueueId) -> None:
        """Take an item away, if it is there; not durably. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(queue_id, dir_fd=self.items)

    def unwanted(self, queue_id: QueueId) -> bool:
        """Is a rest of this name there that is to be removed? Then nothing may be published under it."""
        return queue_id in self._unwanted

    def take_back(self, queue_id: QueueId) -> None:
        """Remove an item that nobody was promised; if that fails, try again with each sync and at the end."""
        try:
            self.remove(queue_id)
        except OSError:
            self._unwanted.add(queue_id)
        else:
            # After the removal: until here nobody publishes another item of this name.
            self._unwanted.discard(queue_id)

    def sync(self) -> None:
        """Make the names in items/ durable. Raises OSError."""
        for queue_id in tuple(self._unwanted):
            self.take_back(queue_id)
        os.fsync(self.items)

    def open(self, queue_id: QueueId) -> int:
        """An item, for reading and writing. Raises OSError."""
        return os.open(queue_id, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.items)

    def set_aside(self, directory: int, name: str) -> None:
        """Move something from tmp/ or items/ to aside/. Raises OSError."""
        # The prefix keeps two of one name apart, and cannot make a long name too long.
        os.rename(name, f"{time.time_ns():x}.{name}"[:255], src_dir_fd=directory, dst_dir_fd=self._aside)
        os.fsync(self._aside)
        os.fsync(directory)


def write_at(fd: int, data: bytes, offset: int) -> None:
    """All of it, however often the kernel takes only a part. Raises OSError."""
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, memoryview(data)[written:], offset + written)
