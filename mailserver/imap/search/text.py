"""Text keys of SEARCH (RFC 9051 §6.4.4): the index first, then messages, and of those only where text is.

What is looked into was found out when a message was indexed (mime/search.py). HEADER of a kept field, and the fields
among TEXT that are not plain ASCII, are looked for by the store's index. Other fields are tests of their raw lines, in
messages that have such a field: of those that the index lists, else of header blocks. BODY and TEXT read each message
up to its last text, in the thread that looks into it.

A comparator that the client selected (RFC 5255 §4) has no use for the index, which keeps texts as the usual one wants
them: it looks into raw lines and messages.

Everything is linear in what is read, and made in batches: between two of them others get their turn, and a search that
nobody waits for any more ends.
"""

from __future__ import annotations

import asyncio
import operator
import re
from array import array
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import compress, filterfalse

from mailserver.hooks.contexts import SearchAnswer
from mailserver.imap.search.index import SearchIndex
from mailserver.imap.slices import Turn
from mailserver.mime.comparators import CASEFOLD, Comparator
from mailserver.mime.headers import LISTED_FIELDS
from mailserver.mime.search import KEPT_FIELDS, SENT_ANY, Needle, Place, field_start, has_field, sent_after, sent_from
from mailserver.mime.search_by import SelectedNeedle
from mailserver.model.mailbox import Rendered
from mailserver.model.progress import Progress
from mailserver.ports.store import Mailbox
from mailserver.wire.imap.search_keys import (
    BodyText,
    DateKey,
    DateRelation,
    Header,
    ObjectId,
    ObjectKind,
    Text,
)

__all__ = ["TextKey", "TextSearch", "is_indexed"]

TextKey = Header | BodyText | Text | ObjectId | DateKey

#: Messages whose index pieces are looked through, read, or held at a time.
_LOOKED_THROUGH = 20_000
_READ = 1_000

_LISTED = frozenset(name.decode("ascii") for name in LISTED_FIELDS)
_KEPT = frozenset(name.decode("ascii") for name in KEPT_FIELDS)
_OBJECT_IDS = {ObjectKind.EMAIL: Rendered.EMAILID, ObjectKind.THREAD: Rendered.THREADID}
#: Greater than every piece that begins with a day.
_HIGHEST = b"\xff"
_Test = Callable[[bytes], bool]
_Needle = Needle | SelectedNeedle


def is_indexed(key: Header) -> bool:
    """Whether the index has this header field."""
    return key.name in _LISTED


class TextSearch:
    """Looks for text in messages of a mailbox, by their ascending UIDs."""

    def __init__(
        self, mailbox: Mailbox, uids: Sequence[int], workers: Executor, index: SearchIndex | None, progress: Progress,
        comparator: Comparator,
    ) -> None:  # fmt: skip
        self._mailbox = mailbox
        self._uids = uids
        self._workers = workers
        self._index = index
        self._progress = progress
        self._comparator = comparator
        self._turn = Turn()
        #: Of messages that were found by similarity: the best of their scores.
        self.scores: dict[int, int] = {}

    async def matching(self, key: TextKey, among: bytes, *, fuzzy: bool = False) -> bytes:
        """One octet for each UID, 0 or 1: which messages match, of those that have 1 in `among`."""
        uids = array("I", compress(self._uids, among))
        # RFC 6203 §3: what is nearly equal is so by no comparator.
        if not fuzzy and self._comparator is not CASEFOLD and isinstance(key, Header | BodyText | Text):
            found = await self._found_by(self._comparator, key, uids)
            return bytes(map(found.__contains__, self._uids))
        answer = await self._ask(key, fuzzy=fuzzy)
        if answer is None:
            found = await self._found(key, uids)
        else:
            known = bisect_right(uids, answer.complete_to)
            found = await self._found(key, uids[known:])
            found |= await self._named(key, answer, uids[:known], fuzzy=fuzzy)
        return bytes(map(found.__contains__, self._uids))

    async def _ask(self, key: TextKey, *, fuzzy: bool) -> SearchAnswer | None:
        if self._index is None or not isinstance(key, Header | BodyText | Text):
            return None
        return await self._index.ask(key, fuzzy=fuzzy)

    async def _named(self, key: TextKey, answer: SearchAnswer, uids: Sequence[int], *, fuzzy: bool) -> set[int]:
        """Of messages that a plugin knows."""
        named = array("I", filter(answer.uids.__contains__, uids))
        if fuzzy:
            for uid in named:
                self.scores[uid] = max(self.scores.get(uid, 1), min(answer.scores.get(uid, 1), 100))
        return set(named) if fuzzy or answer.exact else await self._found(key, named)

    async def _found(self, key: TextKey, uids: Sequence[int]) -> set[int]:
        match key:
            case ObjectId():
                octets = b"(%b)" % key.value.encode("ascii")
                return await self._by_piece(uids, _OBJECT_IDS[key.kind], octets, partial(operator.eq, octets))
            case Header() if key.name in _KEPT:
                octets = Needle(key.text).kept
                test = partial(has_field, name=key.name, octets=octets)
                return await self._by_piece(uids, Rendered.SEARCH_HEADERS, octets or field_start(key.name), test)
            case Header():
                return await self._in_field(key, Needle(key.text), uids)
            case DateKey():
                return await self._by_day(uids, key)
            case Text():
                needle = Needle(key.text)
                found = await self._by_piece(uids, Rendered.SEARCH_HEADERS, needle.kept, needle.is_kept)
                rest = array("I", filterfalse(found.__contains__, uids))
                return found | await self._in_messages(needle, rest, headers=True)
            case BodyText():
                return await self._in_messages(Needle(key.text), uids, headers=False)

    async def _found_by(self, comparator: Comparator, key: Header | BodyText | Text, uids: Sequence[int]) -> set[int]:
        needle = SelectedNeedle(key.text, comparator)
        if isinstance(key, Header):
            return await self._in_field(key, needle, uids)
        if isinstance(key, BodyText):
            return await self._in_messages(needle, uids, headers=False)
        found = await self._in_header_blocks(needle.in_header, uids)
        rest = array("I", filterfalse(found.__contains__, uids))
        return found | await self._in_messages(needle, rest, headers=True)

    async def _in_field(self, key: Header, needle: _Needle, uids: Sequence[int]) -> set[int]:
        having = await self._by_piece(uids, Rendered.SEARCH_HEADERS, field_start(key.name), lambda kept: True)
        return await self._by_lines(key, needle, sorted(having)) if key.text else having

    async def _by_piece(self, uids: Sequence[int], piece: Rendered, octets: bytes, test: _Test) -> set[int]:
        """By a piece that has these octets if the message matches; the test is for those that have them."""
        found = set()
        async for batch in self._batches(uids, _LOOKED_THROUGH):
            pieces = await self._mailbox.rendered_with(batch, piece, octets)
            found.update(await self._passing(test, pieces.items()))
        return found

    async def _by_day(self, uids: Sequence[int], key: DateKey) -> set[int]:
        # What has no day is no match.
        first = SENT_ANY if key.relation is DateRelation.BEFORE else sent_from(key.day)
        end = _HIGHEST
        if key.relation is not DateRelation.SINCE:
            end = sent_from(key.day) if key.relation is DateRelation.BEFORE else sent_after(key.day)
        found: set[int] = set()
        async for batch in self._batches(uids, _LOOKED_THROUGH):
            found.update(await self._mailbox.rendered_between(batch, Rendered.SEARCH_PLACES, first, end))
        return found

    async def _by_all(self, uids: Sequence[int], piece: Rendered, test: _Test) -> set[int]:
        """By a piece of which nothing is known but what the test finds."""
        found = set()
        async for batch in self._batches(uids, _READ):
            pieces = await self._mailbox.rendered(batch, (piece,))
            found.update(await self._passing(test, [(uid, text) for uid, (text,) in pieces.items()]))
        return found

    async def _by_lines(self, key: Header, needle: _Needle, uids: Sequence[int]) -> set[int]:
        """By raw header lines: those that the index lists, or whole header blocks."""
        test = _field_test(key.name, needle)
        if is_indexed(key):
            return await self._by_all(uids, Rendered.LISTED_HEADERS, test)
        return await self._in_header_blocks(test, uids)

    async def _in_header_blocks(self, test: _Test, uids: Sequence[int]) -> set[int]:
        found = set()
        self._progress.begin(len(uids))
        async for blocks in self._mailbox.read_many(uids, header_only=True):
            found.update(await self._passing(test, blocks))
            self._progress.done += len(blocks)
        return found

    async def _in_messages(self, needle: _Needle, uids: Sequence[int], *, headers: bool) -> set[int]:
        """By reading messages: those that have a place where it may be, up to the last such place."""
        found: set[int] = set()
        async for batch in self._batches(uids, _READ):
            pieces = await self._mailbox.rendered(batch, (Rendered.SEARCH_PLACES,))
            where = {uid: needle.where(piece, headers=headers) for uid, (piece,) in pieces.items()}
            sizes = {uid: max([end for _, _, _, end in places]) for uid, places in where.items() if places}
            async for some in self._mailbox.sift(sizes, partial(_is_in, needle, where, pieces)):
                found.update(some)
        return found

    async def _batches(self, uids: Sequence[int], size: int) -> AsyncIterator[Sequence[int]]:
        """So many at a time; others get their turn between them."""
        self._progress.begin(len(uids))
        for start in range(0, len(uids), size):
            await self._turn.pass_on()
            yield uids[start : start + size]
            self._progress.done = start + size

    async def _passing(self, test: _Test, texts: Collection[tuple[int, bytes]]) -> list[int]:
        if not texts:
            return []
        return await asyncio.get_running_loop().run_in_executor(self._workers, _passing, test, texts)


def _passing(test: _Test, texts: Iterable[tuple[int, bytes]]) -> list[int]:
    return [uid for uid, text in texts if test(text)]


def _is_in(
    needle: _Needle, where: Mapping[int, Sequence[Place]], pieces: Mapping[int, Sequence[bytes]], uid: int,
    message: bytes,
) -> bool:  # fmt: skip
    return needle.is_in(message, where[uid], pieces[uid][0])


def _field_test(field: str, needle: _Needle) -> _Test:
    name = field.encode("utf-8", "replace")
    pattern = re.compile(rb"^%b[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)" % re.escape(name), re.MULTILINE | re.IGNORECASE)
    return lambda lines: any(needle.in_header(match[1]) for match in pattern.finditer(lines))
