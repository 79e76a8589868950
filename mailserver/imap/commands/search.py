"""SEARCH and UID SEARCH (RFC 9051 §6.4.4; ESEARCH: RFC 4731; SEARCHRES: RFC 5182; MODSEQ: RFC 7162 §3.1.5;
CONTEXT: RFC 5267; FILTERS: RFC 5466; MESSAGELIMIT: RFC 9738)."""

from __future__ import annotations

from mailserver.imap.message_limit import among, completed, message_limit
from mailserver.imap.replies import Responses, ok
from mailserver.imap.search.evaluate import asks_modseq, find
from mailserver.imap.search.filters import with_filters
from mailserver.imap.search.index import SearchIndex
from mailserver.imap.search.results import BAD_CHARSET, Results, saving
from mailserver.imap.search.updates import begin, keep
from mailserver.imap.session import Session
from mailserver.wire.imap import commands, responses
from mailserver.wire.imap.commands import SearchReturn

__all__ = ["search"]


async def search(session: Session, command: commands.Search) -> Responses:
    """Find messages; IMAP4rev1 lists them, IMAP4rev2 and RETURN say what was asked of them."""
    view = session.view
    with saving(view, command):
        command = await with_filters(session, command)
    with_modseq = asks_modseq(command.key)
    if with_modseq:
        yield session.enable_condstore()
    context = begin(session, command)
    with saving(view, command):
        if command.bad_charset:
            yield BAD_CHARSET
            return
        index = SearchIndex.of(session, command, view.mailbox)
        rows, reached = among(view, command.key, message_limit(session))
        found = await find(
            view, command.key, session.services.workers, rows, index=index, progress=session.progress,
            comparator=session.collation.comparator,
        )  # fmt: skip
    results = Results(found, command, command.returns or frozenset({SearchReturn.ALL}))
    if command.returns is None and not session.rev2:
        yield responses.search(results.numbers, results.highest_modseq() if with_modseq else None)
    else:
        results.save(view)
        yield results.esearch(session.tag, modseq=with_modseq)
        for piece in keep(view, context, found, whole=reached is None):
            yield piece
    for line in completed(ok("SEARCH completed"), reached):
        yield line
