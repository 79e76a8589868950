"""Durable files: every dance of write, fsync and rename exists once, here.

What returns has happened for good: data is fsynced before its name, and a name's directory before the function
returns. What raises (OSError) left either the old state or the new one behind, never half of one. Nothing here
follows a symlink in the last component of a path, and nothing is readable by others (0600, directories 0700).

An fsync that failed is never tried again on the same file: the kernel may have dropped the pages and say "fine" the
second time. The file is given up instead.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Sequence

__all__ = [
    "append_durably",
    "copy_durably",
    "fsync_dir",
    "fsync_file",
    "link_or_copy",
    "make_dir",
    "open_dir",
    "open_new",
    "open_regular",
    "read_at",
    "read_file",
    "remove_file",
    "remove_tree",
    "write_all",
    "write_durably",
]

_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO for reading must not wait for a writer (ATTACKS H04); it means nothing for regular files.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MAX_BUFFERS = 512
_COPY_CHUNK = 1 << 20
#: The file system cannot link here: another device, too many links, links forbidden (FAT, some network mounts).
_NO_LINK = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP})


def open_new(path: str) -> int:
    """A file that did not exist, for writing, mode 0600. Raises FileExistsError."""
    return os.open(path, _NEW, 0o600)


def open_regular(path: str) -> int:
    """A regular file for reading. Raises FileNotFoundError for anything else (symlink, FIFO, device, directory) too."""
    try:
        fd = os.open(path, _READ)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", path) from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "not a regular file", path)
    return fd


def open_dir(path: str) -> int:
    """A directory, for `read_at`."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def read_at(directory: int, name: str, most: int) -> bytes | None:
    """The first `most` octets of a file in an open directory, with as few system calls as can be; None: it cannot be
    read. Who knows the size asks for one octet more and compares: a FIFO or a device gives none, or too many."""
    try:
        fd = os.open(name, _READ, dir_fd=directory)
        try:
            return os.read(fd, most)
        finally:
            os.close(fd)
    except OSError:
        return None


def write_all(fd: int, buffers: Sequence[bytes]) -> None:
    """Write all of it, however often the kernel takes only a part."""
    if len(buffers) > _MAX_BUFFERS:
        buffers = [b"".join(buffers)]
    left = sum(map(len, buffers)) - os.writev(fd, buffers)
    if left:
        # A short write is rare (signal, nearly full disk): what is left is sent in one piece.
        data = memoryview(b"".join(buffers))[-left:]
        while data:
            data = data[os.write(fd, data) :]


def read_file(path: str, limit: int) -> bytes:
    """A whole regular file. Raises FileNotFoundError, and OSError (EFBIG) if it is longer than `limit` octets."""
    fd = open_regular(path)
    try:
        parts, left = [], limit + 1
        while left and (part := os.read(fd, min(left, _COPY_CHUNK))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(fd)
    if not left:
        raise OSError(errno.EFBIG, "the file is longer than it may be", path)
    return b"".join(parts)


def fsync_dir(path: str) -> None:
    """Make the names in a directory durable."""
    fd = open_dir(path)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_file(path: str) -> None:
    """Make the data of a file durable that another program wrote."""
    fd = open_regular(path)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: str, data: bytes) -> None:
    """Put `data` in the place of whatever was at `path`: after a crash it is the old file or the new one."""
    folder, name = os.path.split(path)
    # The length of `name` plus that of the mark stays below 255: only our own short names are written so.
    temporary = f"{folder}/.{name}.{secrets.token_hex(6)}.tmp"
    fd = open_new(temporary)
    try:
        try:
            write_all(fd, (data,))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        remove_file(temporary)
        raise
    fsync_dir(folder or ".")


def append_durably(path: str, data: bytes) -> None:
    """Append to a file (made when missing) and sync it. After a crash a prefix of `data` may stand there."""
    fd = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fresh = os.fstat(fd).st_size == 0
        write_all(fd, (data,))
        os.fsync(fd)
    finally:
        os.close(fd)
    if fresh:
        fsync_dir(os.path.dirname(path) or ".")


def make_dir(path: str) -> bool:
    """Make a directory, mode 0700, with its missing parents, each durable in its parent. False if it was there."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    except FileNotFoundError:
        make_dir(os.path.dirname(path))
        os.mkdir(path, 0o700)
    fsync_dir(os.path.dirname(path) or ".")
    return True


def remove_file(path: str) -> bool:
    """Unlink, if it is there. Not durable by itself."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def remove_tree(path: str) -> None:
    """Delete a directory and all in it; symlinks are removed, not followed. A second run finishes what a crash left."""
    pending = [path]
    made: list[str] = []
    while pending:
        folder = pending.pop()
        made.append(folder)
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            else:
                remove_file(entry.path)
    for folder in reversed(made):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue


def copy_durably(source: str, target: str) -> None:
    """A new file with the data and the mtime of `source`, its data synced, its name not yet."""
    reader = open_regular(source)
    try:
        status = os.fstat(reader)
        writer = open_new(target)
        try:
            try:
                for part in _parts(reader):
                    write_all(writer, (part,))
                os.utime(writer, ns=(status.st_atime_ns, status.st_mtime_ns))
                os.fsync(writer)
            finally:
                os.close(writer)
        except BaseException:
            remove_file(target)
            raise
    finally:
        os.close(reader)


def link_or_copy(source: str, target: str, spare: str) -> None:
    """Another name for `source`, or a copy where there can be none. The new name is not yet durable.

    The copy grows under the name `spare`, of the same file system as `target`: a crash leaves no half message there.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        copy_durably(source, spare)
        try:
            os.rename(spare, target)
        except BaseException:
            remove_file(spare)
            raise


def _parts(fd: int) -> Iterable[bytes]:
    while part := os.read(fd, _COPY_CHUNK):
        yield part
