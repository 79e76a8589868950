"""Orders and threads that were worked out a moment ago (RFC 5267 §4.5).

Both depend on which messages they are of and on nothing else, as messages never change: the next page of PARTIAL, or
the same list after a flag was set, need not be worked out again. Keys name the messages by a digest.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from hashlib import blake2b

from mailserver.ports.store import Mailbox

__all__ = ["Remembered", "key_of"]

_LIMIT = 16 << 20
#: What an entry costs beside its value.
_OVERHEAD = 500


def key_of(mailbox: Mailbox, what: Hashable, *columns: Sequence[int]) -> Hashable:
    """A key for something that was worked out from these columns of messages of a mailbox."""
    digest = blake2b(digest_size=20)
    for column in columns:
        digest.update(b"%d " % len(column))
        digest.update(array("I", column))
    return mailbox.mailbox_id, mailbox.uid_validity, what, digest.digest()


class Remembered:
    """What is used least lately goes first. On the event loop only."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._octets = 0
        self._values: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, key: Hashable) -> bytes | None:
        """What was kept, if it still is."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def keep(self, key: Hashable, value: bytes) -> None:
        """Keep it for a while; not at all if it would drive out most of the others."""
        if len(value) > self._limit // 4 or key in self._values:
            return
        self._values[key] = value
        self._octets += len(value) + _OVERHEAD
        while self._octets > self._limit:
            self._octets -= len(self._values.popitem(last=False)[1]) + _OVERHEAD
