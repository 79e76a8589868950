"""ESEARCH, the SEARCH of several mailboxes (RFC 7377; MESSAGELIMIT: RFC 9738)."""

from __future__ import annotations

from contextlib import AsyncExitStack, nullcontext

from mailserver.imap.access.reach import Access
from mailserver.imap.message_limit import Reached, among, completed, message_limit
from mailserver.imap.replies import Responses, bad, ok
from mailserver.imap.search.evaluate import Found, asks_modseq, find
from mailserver.imap.search.filters import with_filters
from mailserver.imap.search.index import SearchIndex
from mailserver.imap.search.results import BAD_CHARSET, Results, saving
from mailserver.imap.search.sources import searched
from mailserver.imap.search.updates import begin, keep
from mailserver.imap.selected import Selected
from mailserver.imap.session import Session
from mailserver.model.errors import NotFound
from mailserver.model.rights import Right
from mailserver.wire.imap import commands
from mailserver.wire.imap.commands import Search, SourceKind

__all__ = ["esearch"]


async def esearch(session: Session, command: commands.MultiSearch) -> Responses:
    """One answer for each mailbox in which something was found; which one is selected does not change."""
    view = session.selected
    with nullcontext() if view is None else saving(view, command.search):
        search = await with_filters(session, command.search)
    here = any(source.kind is SourceKind.SELECTED for source in command.sources)
    if here and view is None:
        yield bad("no mailbox is selected")
        return
    if asks_modseq(search.key):
        yield session.enable_condstore()
    if search.bad_charset:
        yield BAD_CHARSET
        return
    elsewhere, partly = await searched(session, command.sources), list[Reached]()
    if view is not None:
        shown = session.reach.to_client(view.owner, view.mailbox.name)
        if here or shown in elsewhere:
            elsewhere.pop(shown, None)
            async for piece in _selected(session, view, shown, search, partly):
                yield piece
    for shown, access in elsewhere.items():
        yield await _other(session, shown, access, search, partly)
    # The limit is that of one mailbox; a UID would not say of which.
    for line in completed(ok("ESEARCH completed"), Reached(partly[0].limit) if partly else None):
        yield line


async def _selected(
    session: Session, view: Selected, shown: str, search: Search, partly: list[Reached]
) -> Responses:
    context = begin(session, search)
    with saving(view, search):
        index = SearchIndex.of(session, search, view.mailbox)
        found = await _find(session, view, search, index, partly)
    results = Results(found, search, search.returns or frozenset())
    results.save(view)
    if len(found):
        mailbox = (shown, view.mailbox.uid_validity)
        yield results.esearch(session.tag, modseq=asks_modseq(search.key), mailbox=mailbox, utf8=session.utf8)
    for piece in keep(view, context, found, whole=not partly):
        yield piece


async def _find(
    session: Session, view: Selected, search: Search, index: SearchIndex, partly: list[Reached]
) -> Found:
    rows, reached = among(view, search.key, message_limit(session))
    if reached is not None:
        partly.append(reached)
    return await find(
        view, search.key, session.services.workers, rows, index=index, progress=session.progress,
        comparator=session.collation.comparator,
    )  # fmt: skip


async def _other(session: Session, shown: str, access: Access, search: Search, partly: list[Reached]) -> bytes:
    try:
        async with AsyncExitStack() as lease:
            mailbox = await lease.enter_async_context(access.folders.open(access.name))
            await mailbox.refresh()
            if Right.READ not in session.reach.rights(access.account, mailbox.acl):
                # Taken away while others were searched (RFC 4314 §5.1.1).
                return b""
            index = SearchIndex.of(session, search, mailbox)
            elsewhere = Selected(mailbox, lease, read_only=True)
            found = await _find(session, elsewhere, search, index, partly)
    except NotFound:
        # Deleted a moment ago.
        return b""
    if not len(found):
        return b""
    results = Results(found, search, search.returns or frozenset())
    about = (shown, mailbox.uid_validity)
    return results.esearch(session.tag, modseq=asks_modseq(search.key), mailbox=about, utf8=session.utf8)
