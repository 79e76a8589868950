"""The mailboxes that an ESEARCH looks into (RFC 7377 §2.2).

Those that are not there, or that this user may not read, are passed over without a word.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from mailserver.imap.access import Access
from mailserver.imap.session import Session
from mailserver.model.errors import LimitReached, NotFound, NotPermitted
from mailserver.model.rights import Right
from mailserver.wire.imap.search_commands import Source, SourceKind

__all__ = ["MAX_MAILBOXES", "searched"]

#: Of one ESEARCH (RFC 7377 §2.4).
MAX_MAILBOXES = 1_000


async def searched(session: Session, sources: Iterable[Source]) -> dict[str, Access]:
    """Each of them once, by the name that the client knows; not the selected one for being selected.

    Raises:
        LimitReached: more than `MAX_MAILBOXES`.
    """
    found: dict[str, Access] = {}
    for source in sources:
        async for shown, access in _of(session, source):
            if Right.READ not in access.rights:
                continue
            found[shown] = access
            if len(found) > MAX_MAILBOXES:
                raise LimitReached(f"a search looks into at most {MAX_MAILBOXES} mailboxes")
    return found


def _of(session: Session, source: Source) -> AsyncIterator[tuple[str, Access]]:
    match source.kind:
        case SourceKind.MAILBOXES:
            return _named(session, source.names)
        case SourceKind.PERSONAL | SourceKind.INBOXES:
            # RFC 5465 §6.3: a rule or a plugin can file mail into any mailbox of one's own.
            return _own(session)
        case SourceKind.SUBSCRIBED:
            return _subscribed(session)
        case SourceKind.SUBTREE | SourceKind.SUBTREE_ONE:
            return _trees(session, source.names, one=source.kind is SourceKind.SUBTREE_ONE)
        case _:
            return _named(session, ())


async def _named(session: Session, names: Iterable[str]) -> AsyncIterator[tuple[str, Access]]:
    for name in names:
        try:
            access = await session.access(name, Right.READ)
        except (NotFound, NotPermitted):
            continue
        yield session.reach.to_client(access.account, access.name), access


async def _subscribed(session: Session) -> AsyncIterator[tuple[str, Access]]:
    subscribed = await session.reach.subscribed()
    async for shown, access in _all(session):
        if shown in subscribed:
            yield shown, access


async def _trees(session: Session, tops: Iterable[str], *, one: bool) -> AsyncIterator[tuple[str, Access]]:
    async for shown, access in _all(session):
        if any(_beneath(session, top, shown, one=one) for top in tops):
            yield shown, access


def _beneath(session: Session, top: str, shown: str, *, one: bool) -> bool:
    separator = session.services.layout.separator
    if shown == top:
        return True
    return shown.startswith(top + separator) and not (one and separator in shown[len(top) + 1 :])


async def _own(session: Session) -> AsyncIterator[tuple[str, Access]]:
    for info in await session.folders.list_mailboxes():
        if info.selectable:
            rights = session.reach.rights(session.owner, info.acl)
            access = Access(session.owner, session.folders, info.name, rights)
            yield session.reach.to_client(session.owner, info.name), access


async def _all(session: Session) -> AsyncIterator[tuple[str, Access]]:
    """What LIST would show, as far as it can be selected."""
    async for one in _own(session):
        yield one
    async for found in session.reach.shared_with_me():
        if found.info.selectable:
            yield session.reach.namespaces.shown(found.path), found.access
