"""One daemon per data directory: an flock on `.server/lock`, held for life; at any death the kernel gives it back."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["DataLocked", "data_lock", "is_locked"]


class DataLocked(Exception):
    """Another process owns this data directory; `owner` is its process id as it wrote it, or ""."""

    def __init__(self, data_dir: Path, owner: str) -> None:
        self.owner = owner
        who = f"process {owner}" if owner else "another process"
        super().__init__(f"{data_dir}: in use by {who}; stop it first, or give this server another data_dir")


@contextmanager
def data_lock(data_dir: Path) -> Iterator[None]:
    """Own `data_dir` (made with mode 0700 when it is missing) while the block runs.

    Raises:
        DataLocked: someone else does.
        OSError: the directory cannot be made or written.
    """
    state = data_dir / ".server"
    # Apart, because `parents` would make data_dir itself with the usual mode.
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataLocked(data_dir, _owner(fd)) from None
        # The number is for people only: the lock itself is the flock, so a stale number means nothing.
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def is_locked(data_dir: Path) -> bool:
    """Does a process own the directory now?"""
    try:
        fd = os.open(data_dir / ".server" / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _owner(fd: int) -> str:
    text = os.pread(fd, 32, 0).strip()
    return text.decode() if text.isdigit() else ""
