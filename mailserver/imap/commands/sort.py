"""SORT and UID SORT (RFC 5256 §3; SORT=DISPLAY: RFC 5957; ESORT and CONTEXT: RFC 5267; MODSEQ: RFC 7162 §3.1.9;
MESSAGELIMIT: RFC 9738 §3.3)."""

from __future__ import annotations

from mailserver.imap.message_limit import Reached, among, message_limit, too_many
from mailserver.imap.replies import Refused, Responses
from mailserver.imap.search.evaluate import asks_modseq, find
from mailserver.imap.search.filters import with_filters
from mailserver.imap.search.index import SearchIndex
from mailserver.imap.search.results import BAD_CHARSET, Results, saving
from mailserver.imap.search.sorting import in_order
from mailserver.imap.search.updates import begin, keep
from mailserver.imap.session import Session
from mailserver.wire.imap import commands, responses

__all__ = ["sort"]


async def sort(session: Session, command: commands.Sort) -> Responses:
    """Find messages and put them in order; with RETURN the answer is that of SEARCH, in this order."""
    view = session.view
    with saving(view, command.search):
        search = await with_filters(session, command.search)
    with_modseq = asks_modseq(search.key)
    if with_modseq:
        yield session.enable_condstore()
    context = begin(session, search, command.criteria)
    with saving(view, search):
        if search.bad_charset:
            yield BAD_CHARSET
            return
        _, reached = among(view, search.key, message_limit(session))
        if reached is not None:
            raise Refused(too_many(Reached(reached.limit)))
        index = SearchIndex.of(session, search, view.mailbox)
        services, collation = session.services, session.collation
        found = await find(
            view, search.key, services.workers, index=index, progress=session.progress,
            comparator=collation.comparator,
        )  # fmt: skip
        order = await in_order(view, found, command.criteria, services.sorting, session.progress, collation)
    results = Results(found, search, search.returns or frozenset(), order)
    if search.returns is None:
        yield responses.sort(results.numbers, results.highest_modseq() if with_modseq else None)
        return
    results.save(view)
    yield results.esearch(session.tag, modseq=with_modseq)
    for piece in keep(view, context, found, order):
        yield piece
