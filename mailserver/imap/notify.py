"""What NOTIFY asked for, and what is to be told because of it (RFC 5465); one per session that ever used it.

Changes of accounts are noted as they come (`changed`, on the loop) and told when the connection may speak (`news`):
between commands as well as with their completions. What happens to messages is noted as the name of the mailbox alone,
so a thousand messages are one STATUS, and a client that does not read makes nothing grow. The selected mailbox is no
business of this file: `selected.py` knows what its client was told, `events` says what it wants to hear.

Names are compared as the client says them. Mailboxes of others are watched if they could be seen when NOTIFY came.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass

from mailserver.imap.access.layout import parents
from mailserver.imap.access.reach import Access
from mailserver.imap.session import Session
from mailserver.imap.slices import Turn
from mailserver.model.changes import (
    AccountChange,
    MailboxCreated,
    MailboxDeleted,
    MailboxRenamed,
    MessagesChanged,
    MetadataChanged,
    RightsChanged,
    SubscriptionChanged,
)
from mailserver.model.errors import NotFound
from mailserver.model.ids import AccountId
from mailserver.model.mailbox import SEPARATOR, MailboxInfo, MailboxStatus
from mailserver.model.rights import Right
from mailserver.ports.store import AccountStore
from mailserver.wire.imap import responses
from mailserver.wire.imap.commands import MESSAGE_EVENTS, EventGroup, Notify, NotifyEvent, StatusItem, Watched
from mailserver.wire.imap.fetch_items import FetchItem

__all__ = ["Notifications"]

#: Changes of names that may wait, and mailboxes whose changes may; with more NOTIFY ends (§5.8).
_MOST_NAMES, _MOST_MAILBOXES = 1_000, 20_000
_NO_ACCESS = b"\\NoAccess"
_OVERFLOW = b"* OK [NOTIFICATIONOVERFLOW] Too much happens at once; NOTIFY is off\r\n"

_SELECTED = (Watched.SELECTED, Watched.SELECTED_DELAYED)
#: What is needed to hear of messages (§5).
_READING = frozenset({Right.LOOKUP, Right.READ})
#: The event that tells of each change.
_EVENT_OF: dict[type[AccountChange], NotifyEvent] = {
    MailboxCreated: NotifyEvent.MAILBOX_NAME,
    MailboxDeleted: NotifyEvent.MAILBOX_NAME,
    MailboxRenamed: NotifyEvent.MAILBOX_NAME,
    SubscriptionChanged: NotifyEvent.SUBSCRIPTION_CHANGE,
    MetadataChanged: NotifyEvent.MAILBOX_METADATA_CHANGE,
}


@dataclass(frozen=True, slots=True)
class _Names:
    """What this user may look up in an account, by name; `parents`: of which of these names there are children."""

    infos: dict[str, MailboxInfo]
    parents: frozenset[str]


class Notifications:
    """What one session wants to hear. `end` it before another takes its place."""

    def __init__(self, session: Session, wanted: Notify, wake: Callable[[], None]) -> None:
        """`wake` is called when there is something to tell."""
        self._session = session
        self._wake = wake
        self._groups = tuple(group for group in wanted.groups if group.watched not in _SELECTED)
        selected = next((group for group in wanted.groups if group.watched in _SELECTED), None)
        #: Of the selected mailbox: what is told, what FETCH is sent of new messages, and whether EXPUNGE waits (§6.1).
        self.events = selected.events if selected is not None else frozenset[NotifyEvent]()
        self.fetch: tuple[FetchItem, ...] = selected.fetch if selected is not None else ()
        self.delayed = selected is not None and selected.watched is Watched.SELECTED_DELAYED
        self._names = {group: frozenset(map(self._spelled, group.names)) for group in self._groups}
        self._events = frozenset[NotifyEvent]().union(*(group.events for group in self._groups))
        self._subscribed = frozenset[str]()
        self._undo: list[Callable[[], None]] = []
        self._folders: dict[AccountId, AccountStore] = {}
        self._dirty: dict[tuple[AccountId, str], None] = {}
        self._changes: list[tuple[AccountId, AccountChange]] = []
        self._told: dict[tuple[AccountId, str], MailboxStatus] = {}
        #: Mailboxes that could be seen and not read when this began.
        self._closed: list[Access] = []
        self._overflow = False

    def _spelled(self, name: str) -> str:
        """As we say it to the client."""
        layout = self._session.services.layout
        try:
            return layout.to_client(layout.to_store(name))
        except NotFound:
            return name

    # --- beginning and end

    async def begin(self) -> list[Access]:
        """Start to listen; the mailboxes of which messages are watched."""
        if not self._groups:
            return []
        session = self._session
        self._listen(session.owner, session.folders)
        await self._note_subscriptions()
        watched, turn = list[Access](), Turn()
        async for access in self._mailboxes():
            await turn.pass_on()
            if access.account not in self._folders:
                self._listen(access.account, access.folders)
            if self._wanted(MESSAGE_EVENTS, access.account, access.name):
                (watched if Right.READ in access.rights else self._closed).append(access)
        return watched

    def closed(self) -> Iterator[bytes]:
        r"""\NoAccess for mailboxes that were asked for and may not be read (§3.1)."""
        for access in self._closed:
            shown = self._session.reach.to_client(access.account, access.name)
            separator = self._session.services.layout.separator
            yield responses.list_line((_NO_ACCESS,), separator, shown, utf8=self._session.utf8)

    async def _mailboxes(self) -> AsyncIterator[Access]:
        session = self._session
        for info in await session.folders.list_mailboxes():
            if info.selectable:
                yield Access(session.owner, session.folders, info.name, session.reach.rights(session.owner, info.acl))
        if any(group.watched in (Watched.SUBSCRIBED, Watched.SUBTREE, Watched.MAILBOXES) for group in self._groups):
            async for found in session.reach.shared_with_me():
                if found.info.selectable and self._covering(found.access.account, found.access.name):
                    yield found.access

    def _listen(self, account: AccountId, folders: AccountStore) -> None:
        self._folders[account] = folders
        self._undo.append(folders.observe(lambda change: self._changed(account, change)))

    def end(self) -> None:
        """Listen no more; nothing waits."""
        for undo in self._undo:
            undo()
        self._undo.clear()
        self._dirty.clear()
        self._changes.clear()
        self._groups, self.events, self.fetch = (), frozenset(), ()

    # --- what is wanted

    def _covering(self, account: AccountId, name: str) -> list[EventGroup]:
        """The groups that a mailbox belongs to."""
        reach, separator = self._session.reach, self._session.services.layout.separator
        shown = reach.to_client(account, name)
        trees = {shown, *parents(shown, separator)}

        def covers(group: EventGroup) -> bool:
            match group.watched:
                case Watched.PERSONAL | Watched.INBOXES:
                    # RFC 5465 §6.3: a rule or a plugin can file mail into any mailbox.
                    return account == reach.user
                case Watched.SUBSCRIBED:
                    return shown in self._subscribed
                case Watched.SUBTREE:
                    return not trees.isdisjoint(self._names[group])
                case _:
                    return shown in self._names[group]

        return [group for group in self._groups if covers(group)]

    def _wanted(self, events: frozenset[NotifyEvent], account: AccountId, name: str) -> frozenset[NotifyEvent]:
        """Which of these events are wanted of a mailbox. A group with NONE takes its mailboxes out of all others."""
        selected = self._session.selected
        here = selected is not None and (selected.owner, selected.mailbox.name) == (account, name)
        if here and events <= MESSAGE_EVENTS:
            # §3.1: of the selected mailbox, SELECTED alone decides.
            return frozenset()
        groups = self._covering(account, name)
        if any(not group.events for group in groups):
            return frozenset()
        return events.intersection(*[frozenset[NotifyEvent]().union(*(group.events for group in groups))])

    async def _note_subscriptions(self) -> None:
        self._subscribed = await self._session.reach.subscribed()

    # --- what happened

    def _changed(self, account: AccountId, change: AccountChange) -> None:
        """Take a note. What this client did itself it knows already (§5)."""
        if isinstance(change, MailboxRenamed):
            self._renamed(account, change)
        elif isinstance(change, MailboxDeleted):
            self._told.pop((account, change.name), None)
        if self._overflow or change in self._session.causing:
            return
        if isinstance(change, MessagesChanged):
            if not self._wanted(MESSAGE_EVENTS, account, change.name):
                return
            self._dirty[account, change.name] = None
        elif not self._concerns(change):
            return
        else:
            self._changes.append((account, change))
        if len(self._changes) > _MOST_NAMES or len(self._dirty) > _MOST_MAILBOXES:
            self.end()
            self._overflow = True
        self._wake()

    def _concerns(self, change: AccountChange) -> bool:
        """Whether a group wants its event, or it changes what others want."""
        if isinstance(change, RightsChanged | SubscriptionChanged):
            return True
        server = isinstance(change, MetadataChanged) and not change.name
        return (NotifyEvent.SERVER_METADATA_CHANGE if server else _EVENT_OF[type(change)]) in self._events

    def _renamed(self, account: AccountId, change: MailboxRenamed) -> None:
        """What was told of the old names is known of the new ones, and what waits is told of these."""
        for noted in (self._told, self._dirty):
            for key in [key for key in noted if key[0] == account and _beneath(key[1], change.old)]:
                noted[account, change.name + key[1][len(change.old) :]] = noted.pop(key)  # type: ignore[assignment]

    @property
    def waiting(self) -> bool:
        """Whether `news` would look at something."""
        return bool(self._dirty or self._changes or self._overflow)

    async def news(self) -> AsyncIterator[bytes]:
        """What happened since the last time, outside the selected mailbox."""
        if self._overflow:
            self._overflow = False
            yield _OVERFLOW
            return
        changes, self._changes = self._changes, []
        if any(isinstance(change, SubscriptionChanged) for _, change in changes):
            await self._note_subscriptions()
        names, turn = dict[AccountId, _Names](), Turn()
        for account, change in changes:
            if account not in names:
                # Once for all changes: a thousand of them in an account of many mailboxes are told in little time.
                names[account] = await self._all_names(account)
            async for piece in self._told_of(account, change, names[account]):
                yield piece
            await turn.pass_on()
        dirty, self._dirty = self._dirty, {}
        for account, name in dirty:
            yield await self._messages(account, name)

    # --- messages

    async def statuses(self, mailboxes: Iterable[Access]) -> AsyncIterator[bytes]:
        """How these mailboxes are now, for NOTIFY SET STATUS (§3.1)."""
        for access in mailboxes:
            try:
                found = await access.folders.status(access.name)
            except NotFound:
                continue
            wanted = self._wanted(MESSAGE_EVENTS, access.account, access.name)
            self._told[access.account, access.name] = found
            items = [StatusItem.MESSAGES, StatusItem.UIDNEXT, StatusItem.UIDVALIDITY]
            if NotifyEvent.FLAG_CHANGE in wanted and self._session.offers("CONDSTORE"):
                items.append(StatusItem.HIGHESTMODSEQ)
            yield self._status(access.account, access.name, found, items)

    async def _messages(self, account: AccountId, name: str) -> bytes:
        wanted, folders = self._wanted(MESSAGE_EVENTS, account, name), self._folders.get(account)
        if not wanted or folders is None or not self._session.reach.known(account):
            return b""
        try:
            info = await folders.find(name)
            if Right.READ not in self._session.reach.rights(account, info.acl):
                return b""
            found = await folders.status(name)
        except NotFound:
            return b""
        before = self._told.get((account, name))
        self._told[account, name] = found
        if found == before:
            return b""
        moved = before is None or (found.uid_validity, found.uid_next, found.messages) != (
            before.uid_validity, before.uid_next, before.messages,
        )  # fmt: skip
        if not moved and NotifyEvent.FLAG_CHANGE not in wanted:
            return b""
        items = [StatusItem.MESSAGES, StatusItem.UIDNEXT] if moved else []
        items.append(StatusItem.UIDVALIDITY)
        if NotifyEvent.FLAG_CHANGE in wanted:
            items.append(StatusItem.UNSEEN)
        if self._session.condstore:
            items.append(StatusItem.HIGHESTMODSEQ)
        return self._status(account, name, found, items)

    def _status(self, account: AccountId, name: str, found: MailboxStatus, items: Iterable[StatusItem]) -> bytes:
        values = {
            StatusItem.MESSAGES: found.messages,
            StatusItem.UIDNEXT: found.uid_next,
            StatusItem.UIDVALIDITY: found.uid_validity,
            StatusItem.UNSEEN: found.unseen,
            StatusItem.HIGHESTMODSEQ: found.highest_modseq,
        }
        shown = self._session.reach.to_client(account, name)
        return responses.status(shown, [(item, values[item]) for item in items], utf8=self._session.utf8)

    # --- names

    async def _all_names(self, account: AccountId) -> _Names:
        reach, folders = self._session.reach, self._folders.get(account)
        if folders is None or not reach.known(account):
            return _Names({}, frozenset())
        listed = await folders.list_mailboxes()
        infos = {info.name: info for info in listed if Right.LOOKUP in reach.rights(account, info.acl)}
        return _Names(infos, frozenset(parent for name in infos for parent in parents(name, SEPARATOR)))

    async def _told_of(self, account: AccountId, change: AccountChange, known: _Names) -> AsyncIterator[bytes]:
        if isinstance(change, MetadataChanged):
            yield await self._metadata(account, change)
            return
        events = self._events_of(account, change)
        names = list(_affected(change)) if events else []
        if isinstance(change, SubscriptionChanged) and not self._own_name(account, change.name):
            # Others' subscriptions are nobody's business, and of one's own to their mailboxes these are the owners.
            return
        for name in names:
            if await self._visible(account, name, change) and self._wanted(events, account, name):
                yield self._list_line(account, name, known, change)

    def _own_name(self, account: AccountId, name: str) -> bool:
        reach = self._session.reach
        return account == reach.user and reach.namespaces.parse(name) is None

    async def _visible(self, account: AccountId, name: str, change: AccountChange) -> bool:
        """Whether this user may know of the name at all (ATTACKS I15)."""
        reach, folders = self._session.reach, self._folders.get(account)
        if account == reach.user:
            return True
        if folders is None or not reach.known(account):
            return False
        if isinstance(change, RightsChanged):
            return True
        try:
            acl = (await folders.find(name)).acl
        except NotFound:
            if not isinstance(change, MailboxDeleted) or name != change.name:
                return False
            acl = change.acl
        return Right.LOOKUP in reach.rights(account, acl)

    def _events_of(self, account: AccountId, change: AccountChange) -> frozenset[NotifyEvent]:
        """Any of which is reason to tell of it; of a change of rights, those for which they matter (§5.4, §5.9)."""
        if not isinstance(change, RightsChanged):
            return frozenset({_EVENT_OF[type(change)]})
        before, after = (self._session.reach.rights(account, acl) for acl in (change.before, change.after))
        events = set[NotifyEvent]()
        if (Right.LOOKUP in before) != (Right.LOOKUP in after):
            events.add(NotifyEvent.MAILBOX_NAME)
        if _READING.issubset(before) != _READING.issubset(after):
            events |= MESSAGE_EVENTS
        return frozenset(events)

    async def _metadata(self, account: AccountId, change: MetadataChanged) -> bytes:
        """§5.6, §5.7. What is private to somebody else is told to nobody."""
        own, event = account == self._session.owner, _EVENT_OF[MetadataChanged]
        entries = [entry for entry in change.entries if own or not entry.lower().startswith("/private/")]
        if not change.name:
            wanted = own and any(NotifyEvent.SERVER_METADATA_CHANGE in group.events for group in self._groups)
        else:
            visible = await self._visible(account, change.name, change)
            wanted = visible and bool(self._wanted(frozenset({event}), account, change.name))
        if not wanted or not entries:
            return b""
        shown = self._session.reach.to_client(account, change.name) if change.name else ""
        return responses.metadata_changed(shown, entries, utf8=self._session.utf8)

    def _list_line(self, account: AccountId, name: str, known: _Names, change: AccountChange) -> bytes:
        session, info = self._session, known.infos.get(name)
        shown, attributes = session.reach.to_client(account, name), list[bytes]()
        if info is None:
            attributes += [b"\\NonExistent", b"\\Noselect"]
        elif not info.selectable:
            attributes.append(b"\\Noselect")
        elif Right.READ not in session.reach.rights(account, info.acl):
            attributes.append(_NO_ACCESS)
        attributes.append(b"\\HasChildren" if name in known.parents else b"\\HasNoChildren")
        if shown in self._subscribed:
            attributes.append(b"\\Subscribed")
        extended = []
        if isinstance(change, MailboxRenamed) and name == change.name:
            old = responses.mailbox(session.reach.to_client(account, change.old), utf8=session.utf8)
            extended.append(b'"OLDNAME" (%b)' % old)
        separator = session.services.layout.separator
        return responses.list_line(attributes, separator, shown, utf8=session.utf8, extended=extended)


def _beneath(name: str, top: str) -> bool:
    return name == top or name.startswith(top + SEPARATOR)


def _affected(change: AccountChange) -> Iterator[str]:
    """The names to tell of: of what was made or deleted also the one directly above it (§5.4)."""
    yield change.name
    if isinstance(change, MailboxCreated | MailboxDeleted) and SEPARATOR in change.name:
        yield change.name.rpartition(SEPARATOR)[0]
