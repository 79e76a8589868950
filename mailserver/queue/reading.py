"""Reading items: what a start finds on the disk, and what is wrong with it. Blocking; in the queue's threads."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mailserver.model.ids import QueueId
from mailserver.queue.codec import Damaged, Incomplete, read_new, read_tail
from mailserver.queue.packing import pack
from mailserver.queue.record import New
from mailserver.queue.spool import Spool
from mailserver.queue.state import Item, apply, beginning

__all__ = ["Found", "SetAside", "Unreadable", "check_all", "clean", "names", "read_items"]

_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{16}", re.ASCII)
#: One read gets NEW of an ordinary item, and all of it if the content is short.
_FIRST_READ = 16 << 10
#: A tail is some hundred octets per attempt; this is 2,000 recipients tried for weeks.
_MAX_TAIL = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A sound item, and the same `packed`; its content begins at `start`. `cut` octets behind its `end` are a torn
    append."""

    item: Item
    packed: bytes
    start: int
    end: int
    cut: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """Something that was moved to queue/aside/, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """The disk refused: nothing is known of it, and nothing was done to it."""

    name: str
    error: OSError


def clean(spool: Spool) -> Iterator[SetAside | Unreadable]:
    """Remove our own unfinished files from tmp/; others' are set aside. Raises OSError (the directory itself)."""
    for name in sorted(os.listdir(spool.tmp)):
        try:
            try:
                os.close(_open(spool.tmp, name)[0])
                os.unlink(name, dir_fd=spool.tmp)
            except Damaged as damage:
                spool.set_aside(spool.tmp, name)
                yield SetAside(name=f"tmp/{_printable(name)}", reason=str(damage))
        except OSError as error:
            yield Unreadable(name=f"tmp/{_printable(name)}", error=error)


def names(spool: Spool) -> list[str]:
    """What is in items/, oldest first. Raises OSError."""
    return sorted(os.listdir(spool.items))


def read_items(spool: Spool, some: Iterable[str]) -> list[tuple[str, Found | SetAside | Unreadable]]:
    """Read NEW and the records of these; what cannot be trusted is set aside. The content is not read."""
    return [(name, _read_or_set_aside(spool, name)) for name in some]


def _read_or_set_aside(spool: Spool, name: str) -> Found | SetAside | Unreadable:
    try:
        try:
            return _read(spool, name)
        except Damaged as damage:
            spool.set_aside(spool.items, name)
            return SetAside(name=f"items/{_printable(name)}", reason=str(damage))
    except OSError as error:
        return Unreadable(name=f"items/{_printable(name)}", error=error)


def check_all(spool: Spool) -> list[SetAside]:
    """Read every item whole and compare the content with its CRC; changes nothing. What was found to be wrong."""
    wrong: list[SetAside] = []
    for name in names(spool):
        try:
            fd, size = _open(spool.items, name)
            try:
                new, start, _ = _read_new(fd, size)
                _check_content(fd, new, start)
            finally:
                os.close(fd)
        except FileNotFoundError:
            continue
        except Damaged as damage:
            wrong.append(SetAside(name=f"items/{_printable(name)}", reason=str(damage)))
        except OSError as error:
            wrong.append(SetAside(name=f"items/{_printable(name)}", reason=f"it cannot be read: {error.strerror}"))
    return wrong


def _read(spool: Spool, name: str) -> Found:
    fd, size = _open(spool.items, name)
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
        item = Item(new=new, recipients=apply(beginning(new), records))
        if len(tail) > sound:
            _cut(spool, QueueId(name), end + sound)
        cut = len(tail) - sound
        return Found(item=item, packed=pack(item), start=start, end=end + sound, cut=cut)
    finally:
        os.close(fd)


def _cut(spool: Spool, queue_id: QueueId, size: int) -> None:
    """For tidiness: no record is in what is cut, so the next one that is written over it may leave a rest as well."""
    with contextlib.suppress(OSError):
        fd = spool.open(queue_id)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)


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
