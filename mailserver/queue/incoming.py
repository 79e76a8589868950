"""A new item on its way to the disk, in the queue's threads."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from mailserver.model.errors import StorageFailure
from mailserver.net.files import write_all
from mailserver.queue.codec import encode_new
from mailserver.queue.record import New
from mailserver.queue.spool import Spool, write_at

__all__ = ["Incoming", "Published", "write_whole"]


@dataclass(frozen=True, slots=True)
class Published:
    """An item whose name is not durable yet: NEW with its CRC, where the content begins, and the file, still open."""

    new: New
    start: int
    fd: int


def write_whole(spool: Spool, new: New, content: bytes) -> Published:
    """A message that is at hand. Raises OSError, InvalidInput; then nothing was kept."""
    new = replace(new, crc=zlib.crc32(content))
    frame = encode_new(new)
    fd = spool.create(new.queue_id)
    try:
        try:
            write_all(fd, (frame, content))
        except BaseException:
            spool.discard(new.queue_id)
            raise
        spool.publish(new.queue_id, fd)
    except BaseException:
        os.close(fd)
        raise
    return Published(new, len(frame), fd)


class Incoming:
    """A message that comes in pieces; ends with `publish` or `abort`, and nothing can be done to it after that.

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
        """The next octets of the content. Raises OSError, StorageFailure (it was given up); then `abort` was done."""
        with self._lock:
            if self._ended:
                raise StorageFailure("the message was given up")
            if self._fd is None:
                self._fd = self._spool.create(self._new.queue_id)
            try:
                write_at(self._fd, chunk, self._start + self._size)
            except OSError:
                self._give_up()
                raise
            self._crc = zlib.crc32(chunk, self._crc)
            self._size += len(chunk)

    def publish(self) -> Published:
        """As `write_whole`. NEW is written last, so that a file with NEW has its content.

        Raises OSError, StorageFailure (it is not whole); then nothing was kept, `abort` has been done.
        """
        with self._lock:
            fd, self._fd = self._fd, None
            self._ended = True
            if fd is None:
                raise StorageFailure("the message was given up")
            try:
                return self._finish(fd)
            except BaseException:
                os.close(fd)
                raise

    def _finish(self, fd: int) -> Published:
        new = replace(self._new, crc=self._crc)
        try:
            if self._size != new.size:
                raise StorageFailure("the message could not be kept", detail=f"{self._size} of {new.size} octets")
            frame = encode_new(new)
            write_at(fd, frame, 0)
        except BaseException:
            self._spool.discard(new.queue_id)
            raise
        self._spool.publish(new.queue_id, fd)
        return Published(new, len(frame), fd)

    def abort(self) -> Callable[[], None]:
        """Throw away what was written. Returns nothing to be done."""
        with self._lock:
            self._give_up()
        return _nothing

    def _give_up(self) -> None:
        fd, self._fd = self._fd, None
        self._ended = True
        if fd is not None:
            os.close(fd)
            self._spool.discard(self._new.queue_id)


def _nothing() -> None:
    """There is nobody to tell."""
