"""The `Rendered.SORTING` of messages, kept for mailboxes that were sorted a moment ago (RFC 5267 §4.5).

A list that is sorted is sorted again: by another column, with the next message, or for the next page of PARTIAL. As
messages never change, what is kept of them is never out of date; it is thrown away when there is too much of it, the
mailbox first that was used least lately.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence

from mailserver.imap.search.remembered import Remembered
from mailserver.mime.sorting import EMPTY, Unpacked, unpacked
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

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        #: What was worked out of them.
        self.remembered = Remembered()
        self._octets = 0
        self._kept: OrderedDict[tuple[str, int], dict[int, Unpacked]] = OrderedDict()

    async def of(
        self, mailbox: Mailbox, uids: Sequence[int], progress: Progress | None = None
    ) -> AsyncIterator[list[Unpacked]]:
        """Those of these messages, in order, some at a time; one that is gone has nothing in it."""
        progress = progress or Progress()
        progress.begin(len(uids))
        for start in range(0, len(uids), _BATCH):
            batch = uids[start : start + _BATCH]
            kept = self._kept.get((mailbox.mailbox_id, mailbox.uid_validity), {})
            pieces = [kept.get(uid) for uid in batch]
            if None in pieces:
                missing = [uid for uid, piece in zip(batch, pieces, strict=True) if piece is None]
                found = await mailbox.rendered(missing, (Rendered.SORTING,))
                new = {uid: unpacked(found[uid][0]) for uid in missing if uid in found}
                self._keep(mailbox, new)
                pieces = [new.get(uid) if piece is None else piece for uid, piece in zip(batch, pieces, strict=True)]
            progress.done += len(batch)
            yield [piece or _NOTHING for piece in pieces]

    def _keep(self, mailbox: Mailbox, new: dict[int, Unpacked]) -> None:
        key = (mailbox.mailbox_id, mailbox.uid_validity)
        kept = self._kept.setdefault(key, {})
        self._kept.move_to_end(key)
        self._octets += _cost(new) - _cost({uid: kept[uid] for uid in new.keys() & kept.keys()})
        kept.update(new)
        while self._octets > self._limit and self._kept:
            self._octets -= _cost(self._kept.popitem(last=False)[1])


def _cost(pieces: dict[int, Unpacked]) -> int:
    return sum(sum(map(len, piece[1:])) for piece in pieces.values()) + _OVERHEAD * len(pieces)
