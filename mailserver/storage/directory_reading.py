"""Look-ups of domains, accounts, aliases and forwards, all in memory. A part of `storage.directory.SqliteDirectory`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from mailserver.model.address import EmailAddress
from mailserver.model.ids import AccountId
from mailserver.ports.directory import Account, Alias, Domain, Forward
from mailserver.storage.directory_db import Entries

__all__ = ["Reading"]


class Reading:
    """What the configuration names comes before what the database has."""

    _stored: Entries
    _configured: Entries
    _trusted: Sequence[set[str]] = ()
    #: Of the present accounts; None: to be made when somebody asks.
    _sorted: tuple[Account, ...] | None = None

    def domain(self, name: str) -> Domain | None:
        """A served domain, by its normalized name."""
        return self._configured.domains.get(name) or self._stored.domains.get(name)

    def domains(self) -> Sequence[Domain]:
        """All, sorted."""
        return sorted((self._stored.domains | self._configured.domains).values(), key=lambda d: d.name)

    def account(self, key: str) -> Account | None:
        """An account by the key of its address."""
        return self._stored.accounts.get(key)

    def limits(self, account: AccountId) -> tuple[int, int] | None:
        """Octets and messages, 0 for none; None: there is no such account."""
        found = self._stored.accounts.get(account)
        return None if found is None else (found.octets_limit, found.messages_limit)

    def accounts(self) -> Sequence[Account]:
        """All, sorted by domain and then by local part."""
        if self._sorted is None:
            self._sorted = tuple(
                sorted(self._stored.accounts.values(), key=lambda a: (a.address.domain, a.account))
            )
        return self._sorted

    def alias(self, key: str) -> Alias | None:
        """An alias by the key of its address."""
        return self._configured.aliases.get(key) or self._stored.aliases.get(key)

    def aliases(self) -> Sequence[Alias]:
        """All, sorted by domain and then by local part."""
        merged = self._stored.aliases | self._configured.aliases
        return sorted(merged.values(), key=lambda a: (a.address.domain, a.address.key))

    def trust(self, domains: Collection[str]) -> Callable[[], None]:
        """Nobody there need agree, until what is returned is called. The latest counts."""
        entry = set(domains)
        self._trusted = [*self._trusted, entry]

        def end() -> None:
            self._trusted = [one for one in self._trusted if one is not entry]

        return end

    def needs_consent(self, target: EmailAddress) -> bool:
        """Is it the address of somebody who is not ours, and not trusted?"""
        if self.domain(target.domain) is not None:
            return False
        return not self._trusted or target.domain not in self._trusted[-1]

    def forward(self, account: AccountId) -> Forward | None:
        """Where the account's mail goes on to."""
        return self._stored.forwards.get(account)

    def forwards(self) -> Sequence[Forward]:
        """Those of all accounts, sorted by domain and then by local part."""
        return sorted(self._stored.forwards.values(), key=lambda f: (f.address.domain, f.address.key))
