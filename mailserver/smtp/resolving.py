"""Where mail for an address goes: aliases followed to their ends (depth 10, 1,000 targets), room in the mailbox."""

from __future__ import annotations

from collections import deque

import structlog

from mailserver.hooks.contexts import LocalMailbox, Redirect, ResolveContext, Unresolvable
from mailserver.hooks.dispatch import Hooks
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Recipient
from mailserver.model.errors import MailError
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

    async def resolve(self, recipient: Recipient) -> Destination | Reply:
        """All places for a recipient of a served domain, or the reply that refuses it.

        Targets behind an alias that turn out not to exist are left out as long as others remain.
        """
        found = Destination(recipient)
        first = recipient.address
        waiting = deque([(first, 0)])
        seen = {first.key}
        failure = UNKNOWN
        while waiting:
            address, depth = waiting.popleft()
            answer = await self._hooks.resolve(ResolveContext(address=address))
            if answer is None or isinstance(answer, Unresolvable):
                reply = UNKNOWN if answer is None else answer.reply
                if depth == 0 or reply.code < 500:
                    return reply
                log.warning("an alias has a target that takes no mail", alias=first.key, target=address.key)
                continue
            for place in answer.destinations:
                if isinstance(place, LocalMailbox):
                    found.local.append(place)
                elif place.address.key in seen:
                    failure = _LOOP
                elif depth >= MAX_DEPTH:
                    return _LOOP
                else:
                    seen.add(place.address.key)
                    self._follow(place, depth, found, waiting)
            forwarded = sum(len(mailbox.forward) for mailbox in found.local)
            if len(seen) + len(found.local) + forwarded > MAX_TARGETS:
                return _TOO_MANY
        return found if found.local or found.remote else failure

    def _follow(
        self, place: Redirect, depth: int, found: Destination, waiting: deque[tuple[EmailAddress, int]]
    ) -> None:
        if self.is_local(place.address):
            waiting.append((place.address, depth + 1))
        else:
            found.remote.append(place.address)

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
