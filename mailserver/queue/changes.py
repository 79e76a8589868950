"""The two changes of items/ that are committed together with others: an item comes, an item goes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from mailserver.model.ids import QueueId
from mailserver.queue.commit import Task
from mailserver.queue.incoming import Published
from mailserver.queue.spool import Spool

__all__ = ["Injection", "Removal"]


class _Change(Task):
    """`future` ends when the change is durable or has failed; `failure` makes of an error what its waiter is told."""

    def __init__(self, spool: Spool, queue_id: QueueId, failure: Callable[[Exception], Exception]) -> None:
        self._spool = spool
        self.queue_id = queue_id
        self._failure = failure
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(self, error: Exception | None) -> None:
        """See Task."""
        # Whoever waits for the answer goes on before what the books set in motion.
        if not self.future.done():
            if error is None:
                self.future.set_result(None)
            else:
                self.future.set_exception(self._failure(error))
        self.ended(error)

    def ended(self, error: Exception | None) -> None:
        """On the loop: for the books, whether or not anyone still waits."""


class Injection(_Change):
    """A new item."""

    def __init__(
        self, spool: Spool, queue_id: QueueId, failure: Callable[[Exception], Exception],
        write: Callable[[], Published], ended: Callable[[QueueId, Published | None], None],
    ) -> None:  # fmt: skip
        """`ended` is called with what is durable, or with None."""
        super().__init__(spool, queue_id, failure)
        self._write = write
        self._ended = ended
        self._published: Published | None = None

    def write(self) -> None:
        """See Task."""
        self._published = self._write()

    def undo(self) -> None:
        """See Task."""
        if self._published is not None:
            os.close(self._published.fd)
        self._spool.take_back(self.queue_id)

    def ended(self, error: Exception | None) -> None:
        """See _Change."""
        self._ended(self.queue_id, self._published if error is None else None)


class Removal(_Change):
    """An item that is finished. `fd` is open on it, and is closed first, so that the file goes in one step."""

    def __init__(
        self, spool: Spool, queue_id: QueueId, failure: Callable[[Exception], Exception], fd: int | None,
        gone: Callable[[QueueId], None],
    ) -> None:  # fmt: skip
        """`gone` is called when the item is not there any more, be it durably or not."""
        super().__init__(spool, queue_id, failure)
        self._fd = fd
        self._gone = gone
        self._removed = False

    def write(self) -> None:
        """See Task."""
        if self._fd is not None:
            os.close(self._fd)
        self._spool.remove(self.queue_id)
        self._removed = True

    def ended(self, error: Exception | None) -> None:
        """See _Change."""
        if self._removed:
            self._gone(self.queue_id)
