"""Searches whose results a client keeps, and wants to hear the changes of: RETURN (UPDATE) (RFC 5267 §4.3).

What is expunged is told here, when the client is told of other changes and before the EXPUNGE itself, which may have to
wait; messages that come, and those that match now or no longer, are `updates.py`'s.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from mailserver.mime.comparators import Collation
from mailserver.ports.store import Mailbox
from mailserver.wire.imap.commands import SortCriterion
from mailserver.wire.imap.fetch_items import FetchItem
from mailserver.wire.imap.responses import context_update, status_line, string
from mailserver.wire.imap.search_keys import SearchKey

__all__ = ["MAX_CONTEXTS", "MAX_SORTED", "PIECE", "Context", "Contexts", "Numbering", "no_updates"]

#: Of one selected mailbox; RFC 5267 §4.3.1 wants at least one.
MAX_CONTEXTS = 10
#: Results of a SORT: what comes is put in order among all of them.
MAX_SORTED = 20_000
#: Messages that are looked at in one step: what changes all of them is told in many, and others get their turn.
PIECE = 4_000

#: Message numbers of UIDs, as the client counts now.
Numbering = Callable[[Sequence[int]], Sequence[int]]


def no_updates(tag: bytes, why: str) -> bytes:
    """Of the search with this tag nothing (more) will be told (RFC 5267 §4.3.1)."""
    return status_line(b"*", "NO", why, f"NOUPDATE {string(tag).decode('ascii')}")


@dataclass(slots=True, kw_only=True)
class Context:
    """One of them, as the client knows it.

    Attributes:
        key: without message numbers and `$`: these mean what they meant when the command came.
        criteria: of SORT; empty for the order of the mailbox.
        collation: the session's when the command came.
        fetch: what the client wants to see of new messages among the results (RFC 5465 §7).
        results: UIDs in the order that was asked for.
        modseq, last_uid: changes and messages up to here were looked at; `generation`: so were those that are gone.
    """

    tag: bytes
    key: SearchKey
    uid: bool
    criteria: tuple[SortCriterion, ...]
    collation: Collation
    fetch: tuple[FetchItem, ...] = ()
    results: array[int]
    modseq: int
    last_uid: int
    generation: int

    def among(self, uids: Sequence[int]) -> set[int]:
        """Those of these ascending UIDs that are results."""
        return set(uids).intersection(self.results if self.criteria or not uids else self.results[self._part(uids)])

    def change(self, results: Sequence[int], numbering: Numbering) -> bytes:
        """From now on these are the results of a SORT; what the client is told, nothing when they are the same."""
        old, new = set(self.results), set(results)
        removed, added = old - new, new - old
        parts = (
            (b"REMOVEFROM", self._places(self.results, removed, numbering, shrinking=True)),
            (b"ADDTO", self._places(results, added, numbering, shrinking=False)),
        )
        self.results = array("I", results)
        return context_update(self.tag, parts, uid=self.uid) if removed or added else b""

    def exchange(self, removed: Collection[int], added: Collection[int], numbering: Numbering) -> bytes:
        """In the order of the mailbox no positions are needed, that of each is clear; what the client is told."""
        if not removed and not added:
            return b""
        moves = ((b"REMOVEFROM", sorted(removed)), (b"ADDTO", sorted(added)))
        parts = [(name, [(0, uids if self.uid else numbering(uids))]) for name, uids in moves if uids]
        part = self._part(sorted([*removed, *added]))
        left = [uid for uid in self.results[part] if uid not in removed]
        self.results[part] = array("I", sorted([*left, *added]))
        return context_update(self.tag, parts, uid=self.uid)

    def _part(self, uids: Sequence[int]) -> slice:
        """Where these ascending UIDs are, or would be."""
        return slice(bisect_left(self.results, uids[0]), bisect_right(self.results, uids[-1]))

    def _places(
        self, results: Sequence[int], moved: Collection[int], numbering: Numbering, *, shrinking: bool
    ) -> list[tuple[int, Sequence[int]]]:
        """Positions and what is put in or taken away there, one after the other (RFC 5267 §4.3.2)."""
        places: list[tuple[int, list[int]]] = []
        last, passed = -2, 0
        for at, uid in enumerate(results):
            if uid not in moved:
                continue
            if at == last + 1:
                places[-1][1].append(uid)
            else:
                places.append((at + 1 - (passed if shrinking else 0), [uid]))
            last, passed = at, passed + 1
        return [(place, uids if self.uid else numbering(uids)) for place, uids in places]


class Contexts:
    """Those of one selected mailbox, by tag."""

    __slots__ = ("_by_tag",)

    def __init__(self) -> None:
        self._by_tag: dict[bytes, Context] = {}

    def __contains__(self, tag: bytes) -> bool:
        return tag in self._by_tag

    def __len__(self) -> int:
        return len(self._by_tag)

    def __iter__(self) -> Iterator[Context]:
        return iter(list(self._by_tag.values()))

    def add(self, context: Context) -> None:
        """Keep this one."""
        self._by_tag[context.tag] = context

    def cancel(self, tag: bytes) -> None:
        """Forget this one."""
        del self._by_tag[tag]

    def without_numbers(self) -> Iterator[bytes]:
        """Forget those that speak of message numbers, and tell the client (RFC 9586 §3 allows no number any more)."""
        for context in self:
            if not context.uid:
                self.cancel(context.tag)
                yield no_updates(context.tag, "Its message numbers cannot be told with UIDONLY")

    def expunged(self, mailbox: Mailbox, numbering: Numbering) -> Iterator[bytes]:
        """REMOVEFROM for what is gone; must be said before the client's numbers change."""
        table = mailbox.table
        for context in self:
            if context.generation == table.generation:
                continue
            gone = mailbox.expunged_since(context.generation)
            context.generation = table.generation
            lost = set(context.results).difference(table.uids) if gone is None else set(gone)
            if context.criteria:
                yield context.change([uid for uid in context.results if uid not in lost], numbering)
                continue
            removed = sorted(lost.intersection(context.results))
            for start in range(0, len(removed), PIECE):
                yield context.exchange(set(removed[start : start + PIECE]), (), numbering)
