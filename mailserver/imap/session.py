"""What one connection may do and has done: its state (RFC 9051 §3), its account, its selected mailbox, what it enabled.

Commands are in `commands/`, one file each; this file knows none of them. How bytes come and go
is the business of `connection/`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from mailserver.hooks.contexts import Session as Facts
from mailserver.hooks.dispatch import Hooks
from mailserver.imap.access.layout import Layout
from mailserver.imap.access.namespaces import Namespaces
from mailserver.imap.access.reach import Access, Reach
from mailserver.imap.capabilities.offers import Offers, is_off
from mailserver.imap.connection.watch import Watch
from mailserver.imap.fetch.places import Places
from mailserver.imap.replies import Responses
from mailserver.imap.roles import Connection, Conversation, News
from mailserver.imap.search.sorting_pieces import SortingPieces
from mailserver.imap.selected import FlagsShown, Selected
from mailserver.imap.settings import ImapSettings
from mailserver.mime.comparators import COMPARATORS, Collation, Comparator
from mailserver.model.changes import AccountChange
from mailserver.model.errors import LimitReached, MailError, NotFound
from mailserver.model.ids import AccountId
from mailserver.model.progress import Progress
from mailserver.model.rights import Acl, Right, Rights
from mailserver.net.facts import secured
from mailserver.net.login import LoginService
from mailserver.net.settings import LimitsSettings
from mailserver.ports.directory import Directory
from mailserver.ports.store import AccountStore, Mailbox, MailStore
from mailserver.wire.imap.limits import Limits
from mailserver.wire.imap.parse import Parser

__all__ = ["CommandSpec", "Services", "Session", "State"]


class State(Enum):
    """RFC 9051 §3; the logout state is the end of the connection."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """A command: in which states it may be given, and what runs it.

    Attributes:
        run: gives the untagged responses and the completion, from the session and the command's value.
        capability: the capability that brings it; where that is switched off, the command is refused.
        expunges: whether EXPUNGE may be told at its end (RFC 9051 §7.5.1).
    """

    name: str
    run: Callable[[Session, Any], Responses]
    states: frozenset[State]
    capability: str = ""
    expunges: bool = True


@dataclass(slots=True, kw_only=True)
class Services:
    """What all sessions of a server share. `limits` and `wire` are replaced when the configuration is read again."""

    settings: ImapSettings
    limits: LimitsSettings
    layout: Layout
    namespaces: Namespaces
    #: None knows everybody.
    directory: Directory | None
    store: MailStore
    login: LoginService
    hooks: Hooks
    tasks: set[asyncio.Task[None]]
    #: Threads for reading through messages (SEARCH, MIME); storage has its own.
    workers: Executor
    #: What SORT and THREAD compare.
    sorting: SortingPieces
    places: Places
    #: APPENDLIMIT, in octets.
    max_message_size: int
    capabilities: Callable[[Session], str]
    offers: Offers
    commands: Mapping[str, CommandSpec]
    counts: AccountCounts
    watch: Watch
    wire: Limits
    #: Of all commands by name, those of plugins among them.
    parsers: Mapping[bytes, Parser]
    #: For STARTTLS; None where it is not offered.
    tls: ssl.SSLContext | None

    def hold(self, task: asyncio.Task[None]) -> None:
        """The server ends after this task."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class AccountCounts:
    """Connections per account, over all listeners of the server."""

    __slots__ = ("_counts", "_limit")

    def __init__(self, limit: int) -> None:
        self._counts: dict[AccountId, int] = {}
        self._limit = limit

    def enter(self, account: AccountId) -> None:
        """One more. Raises LimitReached."""
        if self._counts.get(account, 0) >= self._limit:
            raise LimitReached("too many connections of this account")
        self._counts[account] = self._counts.get(account, 0) + 1

    def leave(self, account: AccountId) -> None:
        """One less."""
        count = self._counts.pop(account) - 1
        if count:
            self._counts[account] = count


class Session:
    """One client's state. Every attribute is for commands to read; the methods keep those that belong together so."""

    __slots__ = (
        "_client", "_reach", "_unregister", "account", "causing", "collation", "compressed", "condstore", "connection",
        "conversation", "facts", "notifications", "off", "progress", "qresync", "rev2", "selected", "services",
        "starttls", "store", "tag", "uid_only", "utf8",
    )  # fmt: skip

    def __init__(
        self, services: Services, facts: Facts, connection: Connection, conversation: Conversation, *, starttls: bool
    ) -> None:  # fmt: skip
        self.services = services
        self.facts = facts
        self.connection = connection
        self.conversation = conversation
        #: Whether STARTTLS is offered (still).
        self.starttls = starttls
        #: Of the command that runs, for ESEARCH.
        self.tag = b""
        self.account: AccountId | None = None
        self.store: AccountStore | None = None
        self.selected: Selected | None = None
        self.rev2 = self.utf8 = self.condstore = self.qresync = self.uid_only = self.compressed = False
        self._reach: Reach | None = None
        #: What SEARCH, SORT and THREAD compare by (RFC 5255 §4.2).
        self.collation = Collation(self.default_comparator)
        #: How far the running command is (RFC 9585 §4).
        self.progress = Progress()
        #: None until NOTIFY was used for the first time.
        self.notifications: News | None = None
        #: What the running command is about to change: its client need not be told (RFC 5465 §5).
        self.causing: Collection[AccountChange] = ()
        self._unregister: Callable[[], None] | None = None
        #: Name and version of the client, as it says.
        self._client = ("", "")
        #: The capabilities that are switched off here, in capitals.
        self.off = services.offers.off(None)

    @property
    def default_comparator(self) -> Comparator:
        """The one of clients that select none (RFC 5255 §4.4): it does not change while the connection is there."""
        return next(one for one in COMPARATORS if one.name == self.services.settings.default_comparator)

    def offers(self, capability: str) -> bool:
        """False: the operator switched this capability (in capitals) off, for all or for this account or client.

        What belongs to it is refused then; what was enabled before stays enabled.
        """
        if capability == "SEARCH=FUZZY" and not self._has_index():
            return False
        return not self.off or not is_off(capability.upper(), self.off)

    def _has_index(self) -> bool:
        return self.account is not None and self.services.hooks.searches_for(self.account)

    def identified(self, name: str, version: str) -> None:
        """The client said what it is (RFC 2971)."""
        self._client = (name, version)
        self.off = self.services.offers.off(self.account, *self._client)

    @property
    def state(self) -> State:
        """Where the session is."""
        if self.account is None:
            return State.NOT_AUTHENTICATED
        return State.AUTHENTICATED if self.selected is None else State.SELECTED

    # Commands run only in the states of their CommandSpec; these say so to the type checker.

    @property
    def view(self) -> Selected:
        """The selected mailbox, for commands of the selected state."""
        assert self.selected is not None  # noqa: S101
        return self.selected

    @property
    def folders(self) -> AccountStore:
        """The account's mail, for commands of the authenticated state."""
        assert self.store is not None  # noqa: S101
        return self.store

    @property
    def reach(self) -> Reach:
        """The mailboxes that this user can get at, for commands of the authenticated state."""
        assert self._reach is not None  # noqa: S101
        return self._reach

    @property
    def owner(self) -> AccountId:
        """The account, for commands of the authenticated state."""
        assert self.account is not None  # noqa: S101
        return self.account

    @property
    def administers_quotas(self) -> bool:
        """Whether the operator lets this user see and set the limits of all accounts (RFC 9208 §4.1.3)."""
        return self.account in self.services.settings.quota_administrators

    @property
    def shown(self) -> FlagsShown:
        """What unsolicited FETCH responses show beside FLAGS (RFC 9051 §7.5.2, RFC 7162 §3.2)."""
        return FlagsShown(
            uid=self.rev2 or self.qresync or self.notifications is not None, modseq=self.condstore
        )  # fmt: skip

    async def authenticate(self, account: AccountId) -> None:
        """Enter the authenticated state. Raises LimitReached (connections of the account)."""
        # Registered before anything else happens: a password change from now on ends this session too.
        unregister = self.services.login.register(account, self.connection.end, self.facts.peer)
        try:
            self.services.counts.enter(account)
            try:
                self.store = await self.services.store.open_account(account)
            except BaseException:
                self.services.counts.leave(account)
                raise
        except BaseException:
            unregister()
            raise
        self._unregister = unregister
        self.account = account
        services = self.services
        self._reach = Reach(
            account, self.store, services.store, services.namespaces, services.directory,
            anyone=services.settings.anyone,
        )  # fmt: skip
        self.facts = replace(self.facts, account=account)
        self.off = self.services.offers.off(account, *self._client)
        self.connection.logged_in()

    def tls_started(self, tls: ssl.SSLObject) -> None:
        """The layer of TLS is there."""
        self.facts = secured(self.facts, tls)
        self.starttls = False
        self._forget()

    def _forget(self) -> None:
        """Nothing is enabled."""
        self.rev2 = self.utf8 = self.condstore = self.qresync = self.uid_only = False

    def enable_uid_only(self) -> bytes:
        """From now on there are no message numbers (RFC 9586 §3); searches that would tell some are told of no more."""
        self.uid_only = True
        if self.selected is None:
            return b""
        self.selected.uid_only = True
        return b"".join(self.selected.contexts.without_numbers())

    def enable_utf8(self) -> None:
        """From now on mailbox names and strings are UTF-8 (RFC 6855 §3, RFC 9051 §5.1)."""
        if not self.utf8:
            self.utf8 = True
            self.connection.enabled_utf8()

    def enable_condstore(self) -> bytes:
        """A command that enables CONDSTORE came; what is to be told of a selected mailbox (RFC 7162 §3.1.2)."""
        if self.condstore:
            return b""
        self.condstore = True
        if self.selected is None:
            return b""
        return b"* OK [HIGHESTMODSEQ %d] CONDSTORE is on\r\n" % self.selected.modseq

    def pending(self, *, expunge: bool = True, flags: bool = True, pushed: bool = False) -> Iterator[bytes]:
        """What happened in the selected mailbox since the client was last told (selected.py)."""
        if self.selected is None or self.selected.revoked:
            return iter(())
        return self.selected.pending(
            self.shown, expunge=expunge, flags=flags, vanished=self.qresync or self.uid_only, pushed=pushed
        )  # fmt: skip

    def has_news(self) -> bool:
        """Whether there is something to tell, or the selected mailbox is lost; costs a few comparisons."""
        selected, news = self.selected, self.notifications
        return (selected is not None and (selected.has_pending() or bool(selected.lost))) or (
            news is not None and news.waiting
        )

    def brought(self, owner: AccountId, name: str, uids: Iterable[int]) -> None:
        """This client put these messages into a mailbox: it knows them, if it is the selected one (RFC 5465 §5.2)."""
        view = self.selected
        if view is not None and self.notifications and (view.owner, view.mailbox.name) == (owner, name):
            view.own.update(uids)

    async def access(self, client_name: str, *need: Right) -> Access:
        """The mailbox that a client calls so, for somebody who `need`s all of these rights on it; none: any right.

        Raises:
            NotFound: there is none, or this user may not know of it.
            NotPermitted: a right is missing.
        """
        return await self.reach.access(client_name, *need)

    async def tells_uids(self, client_name: str) -> bool:
        """Whether APPENDUID and COPYUID may be told of a mailbox: not where one only drops mail into it.

        To be asked before the messages go there: afterwards it may have another name.

        RFC 9051 §6.3.12, RFC 4315 §5: they would tell how much mail others put there.
        """
        if not self.offers("UIDPLUS"):
            return False
        try:
            await self.access(client_name, Right.READ)
        except MailError:
            return False
        return True

    async def select(self, access: Access, *, read_only: bool) -> Selected:
        """Open a mailbox. Raises NotFound; what was selected before must be left already."""
        lease, reach = AsyncExitStack(), self.reach
        mailbox: Mailbox = await lease.enter_async_context(access.folders.open(access.name))
        try:
            await mailbox.refresh()
        except BaseException:
            await lease.aclose()
            raise

        def judge(acl: Acl) -> Rights:
            return reach.rights(access.account, acl)

        if access.account != self.owner:
            # When the owner is disabled or removed, nobody else goes on in these mailboxes either.
            lease.callback(self.services.login.register(access.account, self.connection.end))
        self.selected = Selected(mailbox, lease, read_only=read_only, owner=access.account, judge=judge)
        self.selected.uid_only = self.uid_only
        return self.selected

    async def refresh(self) -> None:
        """Notice what other programs did to the selected mailbox. One that is gone is told by the connection (BYE)."""
        if self.selected is not None and not self.selected.mailbox.deleted:
            with contextlib.suppress(NotFound):
                await self.selected.mailbox.refresh()

    async def unselect(self) -> None:
        """Leave the selected mailbox, if there is one."""
        selected, self.selected = self.selected, None
        if selected is not None:
            await selected.close()

    async def unauthenticate(self) -> None:
        """Everything but TLS and what the client said of itself is as it was at the beginning (RFC 8437 §3)."""
        await self.close()
        self.store = self._reach = None
        self.compressed = False
        self.collation = Collation(self.default_comparator)
        self._forget()
        self.facts = replace(self.facts, account=None)
        self.off = self.services.offers.off(None, *self._client)
        self.connection.logged_out()

    async def close(self) -> None:
        """The connection is gone, or its user."""
        if self.notifications is not None:
            self.notifications.end()
            self.notifications = None
        if self._unregister is not None:
            self._unregister()
            self._unregister = None
        if self.account is not None:
            self.services.counts.leave(self.account)
            self.account = None
        await self.unselect()
