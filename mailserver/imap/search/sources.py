"""The mailboxes that an ESEARCH looks into (RFC 7377 §2.2).

Those that are not there, or that this user may not read, are passed over without a word.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, KeysView, Sequence

from mailserver.imap.access.reach import Access
from mailserver.imap.session import Session
from mailserver.imap.slices import Turn
from mailserver.model.errors import LimitReached, NotFound, NotPermitted
from mailserver.model.rights import Right
from mailserver.wire.imap.commands import Source, SourceKind

__all__ = ["MAX_MAILBOXES", "searched"]

#: Of one ESEARCH (RFC 7377 §2.4).
MAX_MAILBOXES = 1_000


async def searched(session: Session, sources: Sequence[Source]) -> dict[str, Access]:
    """Each of them once, by the name that the client knows; not the selected one for being selected.

    Raises:
        LimitReached: more than `MAX_MAILBOXES`.
    """
    found: dict[str, Access] = {}
    turn = Turn()
    async for shown, access in _all(session, sources):
        await turn.pass_on()
        if shown is None or Right.READ not in access.rights:
            continue
        found[shown] = access
        if len(found) > MAX_MAILBOXES:
            raise LimitReached(f"a search looks into at most {MAX_MAILBOXES} mailboxes")
    return found


async def _all(session: Session, sources: Sequence[Source]) -> AsyncIterator[tuple[str | None, Access]]:
    """What the sources name. However many there are, all that LIST would show is looked through once."""
    reach = session.reach
    for name in _names(sources, SourceKind.MAILBOXES):
        try:
            access = await session.access(name, Right.READ)
        except (NotFound, NotPermitted):
            continue
        yield reach.to_client(access.account, access.name), access
    kinds = {source.kind for source in sources}
    if kinds <= {SourceKind.SELECTED, SourceKind.MAILBOXES}:
        return
    # RFC 5465 §6.3: a rule or a plugin can file mail into any mailbox of one's own.
    personal = not kinds.isdisjoint({SourceKind.PERSONAL, SourceKind.INBOXES})
    wanted = await _chosen(session, sources)
    for info in await session.folders.list_mailboxes():
        shown, rights = reach.to_client(session.owner, info.name), reach.rights(session.owner, info.acl)
        chosen = info.selectable and (personal or wanted(shown))
        yield shown if chosen else None, Access(session.owner, session.folders, info.name, rights)
    if kinds <= {SourceKind.SELECTED, SourceKind.MAILBOXES, SourceKind.PERSONAL, SourceKind.INBOXES}:
        return
    async for other in reach.shared_with_me():
        shown = reach.namespaces.shown(other.path)
        yield shown if other.info.selectable and wanted(shown) else None, other.access


def _names(sources: Iterable[Source], kind: SourceKind) -> KeysView[str]:
    """Each once, in their order."""
    return dict.fromkeys(name for source in sources if source.kind is kind for name in source.names).keys()


async def _chosen(session: Session, sources: Sequence[Source]) -> Callable[[str], bool]:
    """Whether a name is subscribed to or in a tree, if such are among the sources."""
    separator = session.services.layout.separator
    trees, children = (_names(sources, kind) for kind in (SourceKind.SUBTREE, SourceKind.SUBTREE_ONE))
    single = trees | children
    if any(source.kind is SourceKind.SUBSCRIBED for source in sources):
        single |= await session.reach.subscribed()

    def chosen(shown: str) -> bool:
        if shown in single:
            return True
        above = shown.rpartition(separator)[0]
        if above in children:
            return bool(above)
        while above and above not in trees:
            above = above.rpartition(separator)[0]
        return bool(above)

    return chosen
