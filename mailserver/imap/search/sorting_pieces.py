"""The `Rendered.SORTING` of messages, kept for mailboxes that were sorted a moment ago (RFC 5267 §4.5).

A list that is sorted is sorted again: by another column, with the next message, or for the next page of PARTIAL. As
messages never change, what is kept of them is never out of date; it is thrown away when there is too much of it, the
mailbox first that was used least lately. Those of another comparator than the usual one are not in the index: they are
made from header blocks.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import Executor

from mailserver.imap.search.remembered import Remembered
from mailserver.mime.comparators import CASEFOLD, Comparator
from mailserver.mime.sorting import EMPTY, Unpacked, sorting_by, unpacked
from mailserver.model.mailbox import Rendered
from mailserver.model.progress import Progress
from mailserver.ports.store import Mailbox

__all__ = ["SortingPieces"]

#: Of all mailboxes together, in octets.
_LIMIT = 64 << 20
#: What the values of a message cost beside their own octets.
_OVERHEAD = 600
_NOTHING = unpacked(EMPTY)
#: Messages of which the index is asked at a time.
_BATCH = 2_000


class SortingPieces:
    """Those of all mailboxes of a server. On the event loop only."""

    def __init__(self, workers: Executor, limit: int = _LIMIT) -> None:
        self._workers = workers
        self._limit = limit
        #: What was worked out of them.
        self.remembered = Remembered()
        self._octets = 0
        self._kept: OrderedDict[tuple[str, int, str], dict[int, Unpacked]] = OrderedDict()

    async def of(
        self, mailbox: Mailbox, uids: Sequence[int], progress: Progress | None = None,
        comparator: Comparator = CASEFOLD,
    ) -> AsyncIterator[list[Unpacked]]:  # fmt: skip
        """Those of these messages, in order, some at a time; one that is gone has nothing in it."""
        progress = progress or Progress()
        progress.begin(len(uids))
        key = (mailbox.mailbox_id, mailbox.uid_validity, comparator.name)
        for start in range(0, len(uids), _BATCH):
            batch = uids[start : start + _BATCH]
            kept = self._kept.get(key, {})
            pieces = [kept.get(uid) for uid in batch]
            if None in pieces:
                missing = [uid for uid, piece in zip(batch, pieces, strict=True) if piece is None]
                new = await self._new(mailbox, missing, comparator)
                self._keep(key, new)
                pieces = [new.get(uid) if piece is None else piece for uid, piece in zip(batch, pieces, strict=True)]
            progress.done += len(batch)
            yield [piece or _NOTHING for piece in pieces]

    async def _new(self, mailbox: Mailbox, uids: Sequence[int], comparator: Comparator) -> dict[int, Unpacked]:
        if comparator is CASEFOLD:
            found = await mailbox.rendered(uids, (Rendered.SORTING,))
            return {uid: unpacked(found[uid][0]) for uid in uids if uid in found}
        new, loop = dict[int, Unpacked](), asyncio.get_running_loop()
        async for blocks in mailbox.read_many(uids, header_only=True):
            new.update(await loop.run_in_executor(self._workers, _made, comparator, blocks))
        return new

    def _keep(self, key: tuple[str, int, str], new: dict[int, Unpacked]) -> None:
        kept = self._kept.setdefault(key, {})
        self._kept.move_to_end(key)
        self._octets += _cost(new) - _cost({uid: kept[uid] for uid in new.keys() & kept.keys()})
        kept.update(new)
        while self._octets > self._limit and self._kept:
            self._octets -= _cost(self._kept.popitem(last=False)[1])


def _made(comparator: Comparator, blocks: Iterable[tuple[int, bytes]]) -> dict[int, Unpacked]:
    return {uid: unpacked(sorting_by(comparator, block)) for uid, block in blocks}


def _cost(pieces: dict[int, Unpacked]) -> int:
    return sum(sum(map(len, piece[1:])) for piece in pieces.values()) + _OVERHEAD * len(pieces)
