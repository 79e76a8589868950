"""What the disk's errors mean: words for the peer, and when to stop trusting it (ATTACKS §4.3)."""

from __future__ import annotations

import errno
from collections.abc import Callable

import structlog

from mailserver.model.errors import MailError, StorageFailure
from mailserver.ports.clock import Clock

__all__ = ["Faults"]

_log = structlog.get_logger()
_WINDOW = 60.0
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Faults:
    """Counts I/O errors of the store and the queue, which are on one disk. A second one within a minute breaks both: no
    new mail until the process is restarted."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: float | None = None
        self.count = 0
        self.broken = False
        #: Called, from whatever thread saw it, when the disk is broken: the process should end (exit code 70).
        self.on_broken: Callable[[], None] = _nobody

    def give_up(self, error: OSError) -> None:
        """After this error nobody knows what is on the disk: broken at once. In any thread."""
        self.note(error)
        if not self.broken:
            self.broken = True
            self.on_broken()

    def note(self, error: OSError) -> None:
        """An error while something was being made durable. In any thread."""
        self.count += 1
        _log.error("disk.write_failed", error=errno.errorcode.get(error.errno or 0, str(error.errno)))
        if error.errno != errno.EIO:
            return
        now = self._clock.monotonic()
        last, self._last = self._last, now
        if last is not None and now - last < _WINDOW and not self.broken:
            self.broken = True
            self.on_broken()

    def failure(self, error: Exception) -> MailError:
        """As the one who waits for the commit is told it."""
        if isinstance(error, MailError):
            return error
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return StorageFailure("the disk is full, try again later", detail=str(error), status="4.3.1")
        return StorageFailure("the message could not be kept, try again later", detail=str(error))

    def check(self) -> None:
        """Raises StorageFailure when the disk is not to be trusted any more."""
        if self.broken:
            raise StorageFailure("the disk fails, no mail can be kept now")


def _nobody() -> None:
    """Before anyone wants to know."""
