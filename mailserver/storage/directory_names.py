"""Changes of the addresses that stand for others, aliases and forwards, and of what the owners of their targets are
asked. A part of `storage.directory.SqliteDirectory`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from mailserver.model.address import EmailAddress
from mailserver.model.errors import InvalidInput, NotFound, NotPermitted
from mailserver.model.ids import AccountId
from mailserver.net.databases import Statement
from mailserver.ports.directory import Alias, Forward, Pending
from mailserver.storage import directory_aliases
from mailserver.storage.directory_changing import Changing
from mailserver.storage.directory_db import INSERT_ASKED

__all__ = ["NameChanges"]

MAX_TARGETS = 1000
#: Seconds for which it is remembered that the owner of an address was asked.
_ASKED_FOR = 86_400


class NameChanges(Changing):
    """Durable on return."""

    async def add_alias(
        self, address: EmailAddress, targets: Collection[EmailAddress], pending: Collection[Pending] = ()
    ) -> None:
        """Make an address stand for others. Raises AlreadyExists, NotFound (domain not served), InvalidInput."""
        alias = Alias(address=address, targets=tuple(dict.fromkeys(targets)), pending=tuple(pending))
        _check_targets(alias, "an alias")

        def prepare() -> list[Statement]:
            self._check_new(address)
            return directory_aliases.added(alias)

        await self._change(prepare, lambda: self._stored.aliases.update({address.key: alias}))

    async def ask_targets(self, address: EmailAddress, pending: Collection[Pending]) -> None:
        """Other questions in place of those to the same targets. Raises NotFound."""
        rows: list[Alias] = []

        def prepare() -> list[Statement]:
            rows.append(directory_aliases.asked(self._stored.standing(address.key), address, pending))
            return directory_aliases.questions(address, pending)

        await self._change(prepare, lambda: self._stored.put(rows[0]))

    async def doubt_targets(self, unasked: Mapping[EmailAddress, Collection[Pending]]) -> None:
        """Targets whose owners are not known to have agreed, where nothing else is known of them."""
        rows: list[Alias] = []

        def prepare() -> list[Statement]:
            for address, pending in unasked.items():
                entry = self._stored.standing(address.key)
                if entry is None:
                    continue
                known = {one.target.key for one in entry.pending}
                new = [one for one in pending if one.target in entry.targets and one.target.key not in known]
                rows.append(replace(entry, pending=(*entry.pending, *new)))
            return [one for row in rows for one in directory_aliases.questions(row.address, row.pending)]

        def apply() -> None:
            for row in rows:
                self._stored.put(row)

        await self._change(prepare, apply)

    async def confirm_target(self, address: EmailAddress, target: EmailAddress) -> None:
        """A target is used from now on. Raises NotFound."""
        rows: list[Alias] = []

        def prepare() -> list[Statement]:
            alias, statements = directory_aliases.confirmed(self._stored.standing(address.key), address, target)
            rows.append(alias)
            return statements

        await self._change(prepare, lambda: self._stored.put(rows[0]))

    def question(self, request: str) -> tuple[Alias, Pending] | None:
        """What an owner was asked, and for which alias or forward."""
        entries = (self._stored.aliases.values(), self._stored.forwards.values())
        found = ((entry, one) for some in entries for entry in some for one in entry.pending)
        return next((pair for pair in found if pair[1].request == request), None)

    def asked(self, target: EmailAddress) -> float:
        """When its owner was, or will be, asked for the last time; 0: not lately."""
        return self._stored.asked.get(target.key, 0.0)

    async def note_asked(self, target: EmailAddress, at: float) -> None:
        """Remember that its owner is asked then."""
        old = self._clock.time() - _ASKED_FOR
        statements: list[Statement] = [("DELETE FROM asked WHERE at < ?", (old,)), (INSERT_ASKED, (target.key, at))]

        def apply() -> None:
            kept = {key: when for key, when in self._stored.asked.items() if when >= old}
            self._stored.asked = kept | {target.key: at}

        await self._change(lambda: statements, apply)

    async def remove_alias(self, address: EmailAddress) -> None:
        """Forget an alias. Raises NotFound, NotPermitted (from the configuration)."""

        def prepare() -> list[Statement]:
            if address.key not in self._stored.aliases:
                if address.key in self._configured.aliases:
                    raise NotPermitted(f"the alias {address} stands in the configuration file; remove it there")
                raise NotFound(f"there is no alias {address}")
            return directory_aliases.removed(address)

        await self._change(prepare, lambda: self._stored.aliases.pop(address.key))

    async def set_forward(self, forward: Forward) -> None:
        """In place of the one that the account of its address has. Raises NotFound, InvalidInput."""
        key = forward.address.key
        entry = replace(forward, targets=tuple(dict.fromkeys(forward.targets)))
        _check_targets(entry, "a forward")

        def prepare() -> list[Statement]:
            if self.account(key) is None:
                raise NotFound(f"there is no account {key}")
            return directory_aliases.forwarded(entry)

        await self._change(prepare, lambda: self._stored.forwards.update({key: entry}))

    async def remove_forward(self, account: AccountId) -> None:
        """Its mail goes nowhere else any more, and nobody is asked for it. Raises NotFound."""

        def prepare() -> list[Statement]:
            if account not in self._stored.forwards:
                raise NotFound(f"the mail for {account} is not forwarded")
            return directory_aliases.forwarded_no_more(account)

        await self._change(prepare, lambda: self._stored.forwards.pop(account))


def _check_targets(entry: Alias, what: str) -> None:
    if not 0 < len(entry.targets) <= MAX_TARGETS:
        raise InvalidInput(f"{what} has 1 to {MAX_TARGETS} targets")
    if any(target.key == entry.address.key for target in entry.targets):
        raise InvalidInput(f"{what} cannot be its own target")
