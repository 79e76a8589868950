"""THREAD and UID THREAD (RFC 5256 §3; MESSAGELIMIT: RFC 9738 §3.3)."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from mailserver.imap.message_limit import Reached, among, message_limit, too_many
from mailserver.imap.replies import Responses
from mailserver.imap.search.evaluate import Found, asks_modseq, find
from mailserver.imap.search.filters import with_filters
from mailserver.imap.search.index import SearchIndex
from mailserver.imap.search.remembered import key_of
from mailserver.imap.search.results import BAD_CHARSET
from mailserver.imap.search.threads import Forest, Threadable, by_references, by_subject, thread_lists
from mailserver.imap.session import Session
from mailserver.imap.slices import in_slices
from mailserver.mime.sorting import IDS, SortField
from mailserver.wire.imap import commands
from mailserver.wire.imap.commands import ThreadAlgorithm

__all__ = ["thread"]

#: Octets of an answer that are written at a time.
_PIECE = 64 << 10
_ALGORITHMS = {ThreadAlgorithm.ORDEREDSUBJECT: by_subject, ThreadAlgorithm.REFERENCES: by_references}


async def thread(session: Session, command: commands.Thread) -> Responses:
    """Find messages, and say which of them belong together."""
    view, search = session.view, await with_filters(session, command.search)
    if asks_modseq(search.key):
        yield session.enable_condstore()
    if search.bad_charset:
        yield BAD_CHARSET
        return
    _, reached = among(view, search.key, message_limit(session))
    if reached is not None:
        yield too_many(Reached(reached.limit))
        return
    index = SearchIndex.of(session, search, view.mailbox)
    comparator = session.collation.comparator
    found = await find(
        view, search.key, session.services.workers, index=index, progress=session.progress, comparator=comparator
    )
    kept = session.services.sorting
    numbers = found.uids if search.uid else found.numbers
    key = key_of(view.mailbox, (command.algorithm, search.uid, comparator.name), found.uids, numbers)
    answer = kept.remembered.get(key)
    if answer is None:
        forest = await in_slices(_ALGORITHMS[command.algorithm](await _threadable(session, found)))
        answer = await in_slices(_written(forest, numbers))
        kept.remembered.keep(key, answer)
    for start in range(0, len(answer), _PIECE):
        yield answer[start : start + _PIECE]


def _written(forest: Forest, numbers: Sequence[int]) -> Generator[None, None, bytes]:
    out = [b"* THREAD " if forest.roots else b"* THREAD"]
    for piece in thread_lists(forest, numbers):
        out.append(piece)
        yield
    out.append(b"\r\n")
    return b"".join(out)


async def _threadable(session: Session, found: Found) -> Threadable:
    messages, dates, box = Threadable(), found.dates, session.view.mailbox
    comparator = session.collation.comparator
    async for pieces in session.services.sorting.of(box, found.uids, session.progress, comparator):
        for piece in pieces:
            sent = piece[SortField.SENT]
            messages.sent.append(dates[len(messages.sent)] if sent is None else sent)
        messages.replies += [piece[SortField.IS_REPLY] != b"" for piece in pieces]
        messages.subjects += [piece[SortField.SUBJECT] for piece in pieces]
        messages.ids += [piece[IDS] for piece in pieces]
    return messages
