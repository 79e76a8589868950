"""Is there room on the disk for another message?

A full disk loses nothing (the write fails and the sender hears 452), but flags, indexes and accounts.db need room
too: mail is refused while there is still some left.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mailserver.ports.clock import Clock

__all__ = ["DiskSpace"]

MIN_FREE_OCTETS = 64 << 20
MIN_FREE_INODES = 1000
#: A message is written with its trace fields, and perhaps twice (spooled, then put together).
_SHARE = 1.5
_INTERVAL = 1.0


class DiskSpace:
    """The free space of the file system that `path` is on, looked at once a second at most."""

    def __init__(self, path: Path, clock: Clock, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs) -> None:
        self._path = path
        self._clock = clock
        self._statvfs = statvfs
        self._looked = -_INTERVAL
        self._free = 0
        self._fault = ""

    def fault(self, octets: int = 0) -> str:
        """Why a message of this size should not be taken in now; "" when there is room for it."""
        now = self._clock.monotonic()
        if now - self._looked >= _INTERVAL:
            self._looked = now
            self._look()
        return self._fault or ("the disk is full" if self._free < MIN_FREE_OCTETS + octets * _SHARE else "")

    def _look(self) -> None:
        try:
            found = self._statvfs(self._path)
        except OSError as error:
            self._fault = f"the data directory cannot be read: {error.strerror}"
            return
        self._free = found.f_bavail * found.f_frsize
        # Some file systems (btrfs) have no fixed number of inodes and say 0.
        short = found.f_files and found.f_favail < MIN_FREE_INODES
        self._fault = "the disk has no free inodes" if short else ""
