"""Where mail for an address goes: aliases followed to their ends (depth 10, 1,000 targets), room in the mailbox."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import structlog

from mailserver.hooks.contexts import LocalMailbox, Redirect, ResolveContext, Unresolvable
from mailserver.hooks.dispatch import Hooks
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Recipient
from mailserver.model.errors import MailError
from mailserver.model.ids import AccountId
from mailserver.model.reply import Reply
from mailserver.ports.directory import Directory
from mailserver.ports.store import MailStore
from mailserver.smtp.replies import reply_to
from mailserver.smtp.transaction import Destination

__all__ = ["UNKNOWN", "Resolver"]

MAX_DEPTH = 10
MAX_TARGETS = 1000

UNKNOWN = Reply(550, "5.1.1", "No such mailbox here")
_LOOP = Reply(554, "5.4.6", "The address leads in a circle")
_TOO_MANY = Reply(554, "5.4.6", "The address stands for too many others")
_OVER_QUOTA = Reply(452, "4.2.2", "The mailbox is full")

log = structlog.get_logger()


class _Walk:
    """From one address to all places behind it. `waiting`: addresses to look at, how deep they are, and whether an
    account on the way to them keeps what they do not take."""

    def __init__(self, recipient: Recipient) -> None:
        self.found = Destination(recipient)
        self.failure = UNKNOWN
        self.first = recipient.address.key
        self.waiting = deque([(recipient.address, 0, False)])
        self._next: dict[str, list[str]] = {self.first: []}
        #: Keys of addresses that have places of their own.
        self._ends: set[str] = set()
        #: Addresses of accounts, where their forwards go to, and what keeps the message if that is in vain.
        self._forwards: list[tuple[str, str, LocalMailbox]] = []
        self._forwarded = 0

    @property
    def size(self) -> int:
        """How much was found, addresses on the way too."""
        return len(self._next) + len(self.found.local) + self._forwarded

    def ends(self, key: str, mailbox: LocalMailbox) -> None:
        """An address has this mailbox."""
        self.found.local.append(mailbox)
        self._forwarded += len(mailbox.forward)
        self._ends.add(key)

    def goes_out(self, address: EmailAddress) -> None:
        """It is elsewhere."""
        self.found.remote.append(address)
        self._ends.add(address.key)

    def leads(self, key: str, place: Redirect) -> bool:
        """An address leads to another one; returns whether that is known already."""
        to = place.address.key
        self._next[key].append(to)
        if place.otherwise is not None:
            self._forwards.append((key, to, place.otherwise))
        if to in self._next:
            self.failure = _LOOP
            return True
        return False

    def is_new(self, place: Redirect) -> bool:
        """Is it to be looked at? Once only."""
        if place.address.key in self._next:
            return False
        self._next[place.address.key] = []
        return True

    def given_up(self, reply: Reply) -> Destination | Reply:
        """It leads too far: an account keeps its mail."""
        home = next((mailbox for key, _, mailbox in self._forwards if key == self.first), None)
        return reply if home is None else Destination(self.found.recipient, [home])

    def keep_in_vain(self) -> None:
        """What an account forwards to nobody comes into its mailbox. Those that are forwarded to come first, since who
        forwards to one that keeps it does not do so in vain."""
        for key, to, mailbox in reversed(self._forwards):
            if not self._arrives(to):
                self._ends.add(key)
                self._keep(mailbox)

    def let_return(self) -> None:
        """What fails at an address elsewhere comes back to the accounts that led to it and keep nothing; behind several
        of them, to the nearest. One that has no place left among the marks of the message keeps its copy now."""
        outside = {address.key: address for address in self.found.remote}
        if not outside:
            return
        keeping = {mailbox.account for mailbox in self.found.local if mailbox.keep}
        theirs = {(key, to) for key, to, _ in self._forwards}
        returns_to, room = self.found.returns_to, MAX_TARGETS
        for _, to, mailbox in self._forwards:
            account = mailbox.account
            if account in keeping:
                continue
            known = {address.key: address for address in returns_to.get(account, ())}
            before = len(known)
            known |= {key: outside[key] for key in self._behind(to, theirs) if key in outside}
            room -= len(known) - before
            if room < 0:
                self._keep(mailbox)
                keeping.add(account)
                returns_to.pop(account, None)
            elif known:
                returns_to[account] = tuple(known.values())

    def _keep(self, mailbox: LocalMailbox) -> None:
        local = self.found.local
        at = next((at for at, known in enumerate(local) if known.account == mailbox.account), None)
        if at is None:
            local.append(mailbox)
        else:
            local[at] = replace(local[at], keep=True)

    def _behind(self, start: str, besides: Collection[tuple[str, str]]) -> set[str]:
        """Keys of the addresses that this one leads to, itself too, but for these ways."""
        waiting, seen = [start], {start}
        while waiting:
            key = waiting.pop()
            fresh = {to for to in self._next[key] if to not in seen and (key, to) not in besides}
            seen |= fresh
            waiting += fresh
        return seen

    def _arrives(self, start: str) -> bool:
        waiting, seen = [start], {start}
        while waiting:
            key = waiting.pop()
            if key in self._ends:
                return True
            fresh = [to for to in self._next[key] if to not in seen]
            seen.update(fresh)
            waiting += fresh
        return False


class Resolver:
    """Asks the plugins. `hostname` decides which domain a bare `<postmaster>` belongs to."""

    def __init__(self, hooks: Hooks, directory: Directory, store: MailStore, hostname: str) -> None:
        self._hooks = hooks
        self._directory = directory
        self._store = store
        self._hostname = hostname

    def is_local(self, address: EmailAddress) -> bool:
        """Is its domain one that we serve?"""
        return self._directory.domain(address.domain) is not None

    def home(self) -> str:
        """The domain of names that have none: the one that our host is in, else the first that is served; "": none."""
        name = self._hostname.lower()
        while name:
            if self._directory.domain(name) is not None:
                return name
            name = name.partition(".")[2]
        domains = self._directory.domains()
        return domains[0].name if domains else ""

    def postmaster(self) -> EmailAddress | None:
        """Whom `<postmaster>` without a domain means (RFC 5321 §4.5.1)."""
        home = self.home()
        return EmailAddress("postmaster", home) if home else None

    async def resolve(self, recipient: Recipient, *, stays_here: bool = False) -> Destination | Reply:
        """All places for a recipient of a served domain, or the reply that refuses it.

        Targets behind an alias that turn out not to exist are left out as long as others remain. What an account
        forwards in vain stays in its mailbox; with `stays_here` all does.
        """
        walk = _Walk(recipient)
        while walk.waiting:
            address, depth, safe = walk.waiting.popleft()
            answer = await self._hooks.resolve(ResolveContext(address=address))
            if answer is None or isinstance(answer, Unresolvable):
                reply = UNKNOWN if answer is None else answer.reply
                if depth == 0 or (reply.code < 500 and not safe):
                    return reply
                log.warning("an address has a target that takes no mail", address=walk.first, target=address.key)
                continue
            for place in _staying(answer.destinations) if stays_here else answer.destinations:
                if isinstance(place, LocalMailbox):
                    walk.ends(address.key, place)
                elif not walk.leads(address.key, place) and depth >= MAX_DEPTH:
                    return walk.given_up(_LOOP)
                elif walk.is_new(place):
                    self._follow(place, depth + 1, walk, safe=safe or place.otherwise is not None)
            if walk.size > MAX_TARGETS:
                return walk.given_up(_TOO_MANY)
        walk.keep_in_vain()
        walk.let_return()
        found = walk.found
        return found if found.local or found.remote else walk.failure

    def _follow(self, place: Redirect, depth: int, walk: _Walk, *, safe: bool) -> None:
        if self.is_local(place.address):
            walk.waiting.append((place.address, depth, safe))
        else:
            walk.goes_out(place.address)

    async def refuse_for_quota(self, destination: Destination, size: int) -> Reply | None:
        """The refusal when a mailbox has no room for `size` more octets; several targets: only if none has room."""
        if not destination.local or destination.forwarded or destination.remote:
            return None
        for place in destination.local:
            try:
                account = await self._store.open_account(place.account)
                usage = await account.quota()
            except MailError as error:
                return reply_to(error)
            full = (usage.octets_limit and usage.octets + size > usage.octets_limit) or (
                usage.messages_limit and usage.messages >= usage.messages_limit
            )
            if not full:
                return None
        return _OVER_QUOTA


def _staying(places: Sequence[LocalMailbox | Redirect]) -> Iterator[LocalMailbox | Redirect]:
    """The same where no account forwards anything."""
    accounts = set[AccountId]()
    for place in places:
        here = place.otherwise if isinstance(place, Redirect) else place
        if here is None:
            yield place
        elif here.account not in accounts:
            accounts.add(here.account)
            yield replace(here, forward=(), keep=True)
