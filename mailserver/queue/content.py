"""The octets of a queued message, read from its file."""

from __future__ import annotations

import os
import zlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mailserver.model.errors import StorageFailure
from mailserver.queue.codec import FRAME_SIZE, decode_new

__all__ = ["ItemContent", "OpenItem", "open_content"]

_T = TypeVar("_T")
_HEAD = 1 << 20


class OpenItem:
    """The content part of an open file. `damaged` once its octets were seen to be others than were accepted."""

    def __init__(self, fd: int, head: bytes) -> None:
        new = decode_new(head)
        self._fd = fd
        self._start = FRAME_SIZE + len(head)
        self._crc = new.crc
        self.size = new.size
        self.damaged = False
        self.head = self.read(0, min(self.size, _HEAD))
        if self.size <= _HEAD:
            self.check(zlib.crc32(self.head))

    def read(self, start: int, size: int) -> bytes:
        """A range. Raises OSError, StorageFailure (the file is too short)."""
        wanted = max(0, min(size, self.size - start))
        data = os.pread(self._fd, wanted, self._start + start)
        while len(data) < wanted:
            more = os.pread(self._fd, wanted - len(data), self._start + start + len(data))
            if not more:
                self.damaged = True
                raise StorageFailure("the message in the queue is damaged", detail="octets are missing")
            data += more
        return data

    def check(self, crc: int) -> None:
        """This is the CRC of all of it. Raises StorageFailure."""
        if crc != self._crc:
            self.damaged = True
            raise StorageFailure("the message in the queue is damaged", detail="another CRC-32")

    def close(self) -> None:
        """No more will be read."""
        os.close(self._fd)


def open_content(fd: int, head: bytes) -> OpenItem:
    """`head` is the payload of NEW. Raises OSError, StorageFailure; then `fd` is closed."""
    try:
        return OpenItem(fd, head)
    except BaseException:
        os.close(fd)
        raise


class ItemContent:
    """`ports.store.ReadableContent`. What is read from the beginning to the end is compared with its checksum."""

    def __init__(self, opened: OpenItem, run: Callable[[Callable[[], bytes]], Awaitable[bytes]]) -> None:
        self._opened = opened
        self._run = run
        self._crc = 0
        self._seen = 0

    @property
    def size(self) -> int:
        """Octets in all."""
        return self._opened.size

    def head(self) -> bytes:
        """The first octets, at most 1 MiB."""
        return self._opened.head

    async def read(self, start: int, size: int) -> bytes:
        """A range. Raises StorageFailure."""
        head = self._opened.head
        if start + size <= len(head) or self.size == len(head):
            data = head[start : start + size]
        else:
            data = await self._run(lambda: self._opened.read(start, size))
        if start == self._seen and self.size > len(head):
            self._crc = zlib.crc32(data, self._crc)
            self._seen += len(data)
            if data and self._seen == self.size:
                self._opened.check(self._crc)
        return data
