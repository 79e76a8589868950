"""The queue's directory: blocking file work, called in the queue's own threads.

    queue/lock          held (flock) by the one process that owns the queue
    queue/tmp/<id>      being written; nothing was promised; removed at start
    queue/items/<id>    an item: the rename into here is the commit point
    queue/aside/        what could not be trusted, kept for a person to look at; nothing in here is read again

Durable means: the file is synced before its rename, the directory after it, and only then does the caller hear of it.
One sync of the directory serves all renames that came before it began (`GroupSync`). After a failed sync of the
directory nobody knows which names are on the disk, and a second sync would say "fine" without making it so (the kernel
reports an error once): the spool takes nothing more until it is opened again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mailserver.model.errors import AlreadyExists, StorageFailure
from mailserver.model.ids import QueueId
from mailserver.net.files import make_dir
from mailserver.queue.codec import FRAME_SIZE, Damaged, Incomplete, encode_new, read_new, read_tail
from mailserver.queue.record import New
from mailserver.queue.state import Item, apply, beginning

__all__ = ["GroupSync", "Incoming", "Recovered", "SetAside", "Spool"]

_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{16}", re.ASCII)
#: One read gets NEW of an ordinary item, and its tail if the content is short.
_FIRST_READ = 16 << 10
#: A tail is some hundred octets per attempt; this is 2,000 recipients tried for weeks.
_MAX_TAIL = 64 << 20
_FILE, _DIRECTORY = 0o600, 0o700
_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A sound item that was found on the disk. `cut` octets of a torn append were removed from its end.

    `head` is the payload of NEW, `end` the size of the file.
    """

    item: Item
    head: bytes
    end: int
    cut: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """Something that was moved to queue/aside/, and why."""

    name: str
    reason: str


class GroupSync:
    """fsync of one directory for many threads: each returns after a sync that began when its own rename was done."""

    def __init__(self, sync: Callable[[], None]) -> None:
        self._sync = sync
        self._condition = threading.Condition()
        self._begun = 0
        self._finished = 0
        self._running = False
        self._failure: OSError | None = None

    def __call__(self) -> None:
        """Raises the OSError of the failed sync, now and ever after."""
        with self._condition:
            mine = self._begun + 1
            while self._failure is None and self._finished < mine:
                if self._running:
                    self._condition.wait()
                else:
                    self._lead()
            if self._failure is not None:
                raise self._failure

    def _lead(self) -> None:
        self._running = True
        self._begun += 1
        this = self._begun
        self._condition.release()
        failure = None
        try:
            self._sync()
        except OSError as error:
            failure = error
        finally:
            self._condition.acquire()
            self._running = False
            self._failure = self._failure or failure
            self._finished = this
            self._condition.notify_all()


class Incoming:
    """One item being written; ends with `commit` or `abort`, and nothing can be done to it after that.

    Made without I/O, so that whoever made it can always end it. The lock is for an `abort` that overtakes a `write`
    still under way in another thread: its file descriptor must not be closed, and the number taken by another file.
    """

    def __init__(self, spool: Spool, new: New) -> None:
        self._spool = spool
        self._new = new
        self._start = len(encode_new(new))
        self._crc = 0
        self._size = 0
        self._fd: int | None = None
        self._ended = False
        self._lock = threading.Lock()

    def write(self, chunk: bytes) -> None:
        """The next octets of the content."""
        with self._lock:
            self._pwrite(chunk, self._start + self._size)
            self._crc = zlib.crc32(chunk, self._crc)
            self._size += len(chunk)

    def commit(self) -> bytes:
        """Make the item durable under its name. NEW is written last, so that a file with NEW has its content.

        Returns the payload of NEW. Raises OSError, StorageFailure, AlreadyExists; then nothing was kept, `abort` has
        been done.
        """
        new = self._new
        with self._lock:
            try:
                if self._size != new.size:
                    raise StorageFailure("the message could not be kept", detail=f"{self._size} of {new.size} octets")
                head = encode_new(
                    New(queue_id=new.queue_id, arrived=new.arrived, envelope=new.envelope, size=new.size, crc=self._crc)
                )
                os.fsync(self._pwrite(head, 0))
                self._spool.publish(new.queue_id)
            except BaseException:
                self._end(unlink=True)
                raise
            self._end(unlink=False)
            return head[FRAME_SIZE:]

    def abort(self) -> None:
        """Throw away what was written."""
        with self._lock:
            self._end(unlink=True)

    def _end(self, *, unlink: bool) -> None:
        self._ended = True
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
            if unlink:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._new.queue_id, dir_fd=self._spool.tmp)

    def _pwrite(self, data: bytes, offset: int) -> int:
        if self._ended:
            raise StorageFailure("the message was given up")
        if self._fd is None:
            # Ids are random: O_EXCL is against our own mistakes, O_NOFOLLOW against what others put there.
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._new.queue_id, flags, _FILE, dir_fd=self._spool.tmp)
        _write_at(self._fd, data, offset)
        return self._fd


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
            self._items = os.open("items", _READ_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._root)
            undo.callback(os.close, self._items)
            self._sync_items = GroupSync(lambda: os.fsync(self._items))
            self._close = undo.pop_all().close

    def close(self) -> None:
        """Give the lock back. No `Incoming` may be open."""
        self._close()

    def publish(self, queue_id: QueueId) -> None:
        """tmp/ → items/, durable on return; the item is not there if it raises OSError or AlreadyExists."""
        try:
            os.stat(queue_id, dir_fd=self._items, follow_symlinks=False)
        except FileNotFoundError:
            pass
        else:
            # rename would replace the item that is there: a message lost.
            raise AlreadyExists("the queue has a message of this id")
        os.rename(queue_id, queue_id, src_dir_fd=self.tmp, dst_dir_fd=self._items)
        try:
            self._sync_items()
        except OSError:
            # Not acknowledged, so the sender keeps it; if it stays all the same, it is delivered twice, not lost.
            with contextlib.suppress(OSError):
                os.unlink(queue_id, dir_fd=self._items)
            raise

    def append(self, queue_id: QueueId, offset: int, data: bytes, *, sync: bool) -> None:
        """Write records at the end of an item, and sync them or not. Raises OSError: a part of them may stand there."""
        fd = os.open(queue_id, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._items)
        try:
            _write_at(fd, data, offset)
            if sync:
                os.fdatasync(fd)
        finally:
            os.close(fd)

    def remove(self, queue_id: QueueId) -> None:
        """Take an item away for good. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(queue_id, dir_fd=self._items)
        self._sync_items()

    def open_item(self, queue_id: QueueId) -> int:
        """A descriptor for reading. Raises OSError, Damaged."""
        return _open(self._items, queue_id)[0]

    def set_aside(self, queue_id: QueueId) -> None:
        """Move an item to aside/. Raises OSError."""
        self._set_aside(self._items, queue_id)

    def recover(self) -> tuple[list[Recovered], list[SetAside]]:
        """Read what is there: at start, before anything else. Raises OSError."""
        found: list[Recovered] = []
        aside: list[SetAside] = []
        for directory, fd in (("tmp", self.tmp), ("items", self._items)):
            for name in sorted(os.listdir(fd)):
                try:
                    if directory == "items":
                        found.append(self._read(name))
                    else:
                        os.close(_open(fd, name)[0])
                        os.unlink(name, dir_fd=fd)
                except Damaged as damage:
                    self._set_aside(fd, name)
                    aside.append(SetAside(name=f"{directory}/{_printable(name)}", reason=str(damage)))
        return found, aside

    def verify(self) -> list[SetAside]:
        """Read every item whole and compare the content with its CRC; changes nothing. What was found to be wrong."""
        wrong: list[SetAside] = []
        for name in sorted(os.listdir(self._items)):
            try:
                fd, size = _open(self._items, name)
                try:
                    new, start, _ = _read_new(fd, size)
                    _check_content(fd, new, start)
                finally:
                    os.close(fd)
            except FileNotFoundError:
                continue
            except Damaged as damage:
                wrong.append(SetAside(name=f"items/{_printable(name)}", reason=str(damage)))
        return wrong

    def _read(self, name: str) -> Recovered:
        fd, size = _open(self._items, name)
        try:
            new, start, begun = _read_new(fd, size)
            if new.queue_id != name:
                raise Damaged("the name and the NEW record do not agree")
            end = start + new.size
            if size < end:
                raise Damaged(f"{end - size} octets of the content are missing")
            if size - end > _MAX_TAIL:
                raise Damaged("too much after the content")
            tail = begun[end:] if len(begun) >= size else os.pread(fd, size - end, end) if size > end else b""
            records, sound = read_tail(tail)
            if len(tail) > sound:
                self._cut(name, end + sound)
            item = Item(new=new, recipients=apply(beginning(new), records))
            return Recovered(item=item, head=begun[FRAME_SIZE:start], end=end + sound, cut=len(tail) - sound)
        finally:
            os.close(fd)

    def _cut(self, name: str, size: int) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._items)
        try:
            os.ftruncate(fd, size)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _set_aside(self, directory: int, name: str) -> None:
        aside = os.open("aside", _READ_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._root)
        try:
            # The prefix keeps two of one name apart, and cannot make a long name too long.
            os.rename(name, f"{time.time_ns():x}.{name}"[:255], src_dir_fd=directory, dst_dir_fd=aside)
            os.fsync(aside)
            os.fsync(directory)
        finally:
            os.close(aside)


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _open(directory: int, name: str) -> tuple[int, int]:
    """A file of ours for reading, and its size. Raises Damaged: it cannot be one of ours."""
    if not _ID.fullmatch(name):
        raise Damaged("the name is not one of ours")
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise Damaged("not a regular file") from None
        raise
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise Damaged("not a regular file")
    return fd, status.st_size


def _read_new(fd: int, size: int) -> tuple[New, int, bytes]:
    """NEW, where the content begins, and the beginning of the file as far as it was read."""
    wanted = _FIRST_READ
    while True:
        data = os.pread(fd, wanted, 0)
        try:
            return *read_new(data, whole=len(data) >= size), data
        except Incomplete as more:
            if len(data) < wanted:
                raise Damaged("the file changes while it is read") from None
            wanted = more.needed


def _check_content(fd: int, new: New, start: int) -> None:
    crc, position, end = 0, start, start + new.size
    while position < end:
        chunk = os.pread(fd, min(1 << 20, end - position), position)
        if not chunk:
            raise Damaged(f"{end - position} octets of the content are missing")
        crc = zlib.crc32(chunk, crc)
        position += len(chunk)
    if crc != new.crc:
        raise Damaged("the content is damaged")


def _printable(name: str) -> str:
    """A foreign file's name for a log line."""
    return name.encode(errors="backslashreplace").decode().encode("unicode_escape").decode("ascii")[:200]
