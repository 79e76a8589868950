"""Rendering in the background: whatever messages of the opened folders lack pieces, the newest first.

A folder says which UIDs are still to be looked through (`Folder.unrendered`): all of them when it is looked at for the
first time, then those that arrive. One batch of one folder at a time in the whole store, and all folders in turn; while
mail comes in, or somebody waits for the disk or the account, there is a pause before each batch, and a shorter one when
the batch before had to share the processor.
"""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from typing import TYPE_CHECKING

import structlog

from mailserver.mime.render import render
from mailserver.model.mailbox import Rendered
from mailserver.storage.maildir import rows
from mailserver.storage.maildir.folder import Folder
from mailserver.storage.maildir.index import IndexLost
from mailserver.storage.maildir.pieces import newest_lacking, store_pieces
from mailserver.storage.maildir.reading import load

if TYPE_CHECKING:
    from mailserver.storage.maildir.context import Context
    from mailserver.storage.maildir.upkeep import Upkeep

__all__ = ["Rendering", "note_unrendered"]

_log = structlog.get_logger()
#: Messages, and about how many octets of them, of one batch: some milliseconds.
_BATCH = 16
_OCTETS = 1 << 20
_PAUSE = 0.1
_SHORT_PAUSE = 0.02
#: A batch took more than so many times the time of the processor that it used, and not only a moment.
_CROWDED = 2
_SHORT = 0.005
#: Spans of UIDs that a folder remembers apart from each other.
_MAX_SPANS = 50


def note_unrendered(folder: Folder, first: int, last: int) -> None:
    """Messages with these UIDs, which are above all that were noted, may lack pieces."""
    spans = folder.unrendered
    if spans and (spans[-1][1] + 1 == first or len(spans) >= _MAX_SPANS):
        first = spans.pop()[0]
    spans.append((first, last))


class Rendering:
    """For one store. On the loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        #: Folders with something to look through, in turn.
        self._folders: dict[Folder, Upkeep] = {}
        self._running = False
        self._stopped = False
        #: The last batch had to wait for others.
        self._crowded = False

    def queue(self, upkeep: Upkeep, folder: Folder) -> None:
        """Begin with this folder, what arrived there is in the index."""
        if folder.unrendered and not self._stopped:
            self._folders[folder] = upkeep
            if not self._running:
                self._running = True
                self._context.background(self._run, "render")

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True
        self._folders.clear()

    async def _run(self) -> None:
        try:
            while self._folders:
                folder = next(iter(self._folders))
                upkeep = self._folders.pop(folder)
                # Another turn of the loop in any case.
                await asyncio.sleep(self._pause(upkeep))
                if not self._stopped and upkeep.keeps(folder):
                    await self._some(upkeep, folder)
        finally:
            self._running = False

    def _pause(self, upkeep: Upkeep) -> float:
        """For how long others have something better to do."""
        context = self._context
        if upkeep.wanted or context.reading.busy or context.loop.time() - context.last_arrival < _PAUSE:
            return _PAUSE
        return _SHORT_PAUSE if self._crowded else 0

    async def _some(self, upkeep: Upkeep, folder: Folder) -> None:
        low, high = folder.unrendered.pop()
        try:
            left, self._crowded = await self._context.reading.run(_timed, upkeep, folder, low, high)
        except IndexLost:
            # Whoever looks at the folder next begins with all of it.
            return
        except Exception:
            # Of these messages who asks for them is told; the other folders go on.
            _log.exception("storage.not_rendered", path=folder.path)
            return
        if left >= low:
            insort(folder.unrendered, (low, left))
        if folder.unrendered and not self._stopped:
            self._folders[folder] = upkeep


def _timed(upkeep: Upkeep, folder: Folder, low: int, high: int) -> tuple[int, bool]:
    """As `_render_newest`; and whether most of the time went to others, as when the event loop has much to do."""
    began, used = time.monotonic(), time.thread_time()
    left = _render_newest(upkeep, folder, low, high)
    return left, time.monotonic() - began > _CROWDED * (time.thread_time() - used) + _SHORT


def _render_newest(upkeep: Upkeep, folder: Folder, low: int, high: int) -> int:
    """Render the newest of these messages that lack pieces; the highest UID that is still to be looked at, or one below
    `low`. In a thread. Raises IndexLost."""
    index, number = upkeep.index, folder.number
    left, lacking = index.run(lambda db: newest_lacking(db, number, low, high, _BATCH, _OCTETS))
    if not lacking:
        return left
    found = index.run(lambda db: rows.file_rows(db, number, lacking))
    made: dict[int, dict[Rendered, bytes]] = {}
    for uid, row in found.items():
        try:
            made[uid] = render(load(folder, row))
        except FileNotFoundError:
            continue
        except OSError as error:
            _log.warning("storage.not_rendered", path=row.path(folder.path), error=str(error))

    # An account that is gone meanwhile may be there anew, with other messages of these numbers.
    index.run(lambda db: None if upkeep.stopping else store_pieces(db, number, made.items()))
    return left
