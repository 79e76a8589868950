"""Domains, accounts and aliases: `accounts.db`, beside what the configuration says. Implements ports.directory.

`accounts.db` is truth, not an index: WAL with synchronous=FULL, so a change is durable when its coroutine returns. All
of it is also in memory; look-ups read that, and it changes only after the commit. Changes run one after another in a
thread of their own; one that was begun is finished even when its caller is cancelled.

Where the configuration and the database name the same thing, the configuration is served and `problems` says so:
`check` and `serve` refuse to start then, while the commands that can mend it still work.

Look-ups are in `directory_reading.py`, the way of a change in `directory_changing.py`; here are the changes of domains
and accounts, in `directory_names.py` those of aliases and forwards, in `directory_passwords.py` those of passwords.
"""

from __future__ import annotations

from dataclasses import replace

from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.errors import AlreadyExists, InvalidInput, NotFound, NotPermitted
from mailserver.model.ids import AccountId
from mailserver.net.databases import Statement
from mailserver.ports.directory import CATCH_ALL, ROLE_MAIL, Account, Domain
from mailserver.storage import directory_aliases
from mailserver.storage.directory_db import INSERT_ACCOUNT, INSERT_DOMAIN, account_row
from mailserver.storage.directory_names import NameChanges
from mailserver.storage.directory_passwords import PasswordChanges

__all__ = ["SqliteDirectory"]


class SqliteDirectory(NameChanges, PasswordChanges):
    """The directory of one data_dir."""

    async def add_domain(self, domain: Domain) -> None:
        """Serve a domain from now on. Raises AlreadyExists, InvalidInput."""
        name = normalize_domain(domain.name)
        for address in filter(None, (domain.catch_all, domain.postmaster)):
            EmailAddress.parse(address)
        row = replace(domain, name=name, from_config=False)

        def prepare() -> list[Statement]:
            if self.domain(name) is not None:
                raise AlreadyExists(f"the domain {name} is served already")
            return [(INSERT_DOMAIN, (name, row.catch_all, row.postmaster, row.subaddress_separator))]

        await self._change(prepare, lambda: self._stored.domains.update({name: row}))

    async def remove_domain(self, name: str) -> None:
        """Serve a domain no more. Raises NotFound, NotPermitted (from the configuration; has accounts or aliases)."""
        name = normalize_domain(name)
        # They are there for the domain's settings, so they go with it.
        own = {address.key: address for address in (EmailAddress(CATCH_ALL, name), EmailAddress(ROLE_MAIL, name))}

        def prepare() -> list[Statement]:
            configured = name in self._configured.domains
            if name not in self._stored.domains:
                if configured:
                    raise NotPermitted(f"the domain {name} stands in the configuration file; remove it there")
                raise NotFound(f"the domain {name} is not served")
            # What stands in both places may always go from here: the domain is served on.
            if not configured and self._stored.uses(name, besides=own):
                raise NotPermitted(f"the domain {name} has accounts or aliases; remove them first")
            removed = [statement for address in own.values() for statement in directory_aliases.removed(address)]
            return [("DELETE FROM domain WHERE name = ?", (name,)), *removed]

        def apply() -> None:
            del self._stored.domains[name]
            for key in own:
                self._stored.aliases.pop(key, None)

        await self._change(prepare, apply)

    async def add_account(self, account: Account) -> None:
        """Make an account. Raises AlreadyExists (account or alias), NotFound (domain not served), InvalidInput."""
        row = replace(account, created=account.created or self._clock.time())
        key = row.address.key
        if row.account != key:
            raise InvalidInput("an account is named by the key of its address")

        def prepare() -> list[Statement]:
            self._check_new(row.address)
            return [(INSERT_ACCOUNT, account_row(row))]

        await self._change(prepare, lambda: self._stored.accounts.update({key: row}))

    async def update_account(self, account: Account) -> None:
        """Change everything but name and address. Raises NotFound."""
        rows: list[Account] = []

        def prepare() -> list[Statement]:
            old = self._existing(account.account)
            rows.extend((old, replace(
                account, address=old.address, created=old.created, app_passwords=old.app_passwords,
            )))  # fmt: skip
            return [(INSERT_ACCOUNT, account_row(rows[1]))]

        def apply() -> None:
            old, new = rows
            self._stored.accounts[new.account] = new
            if (new.password_hash, new.scram) != (old.password_hash, old.scram) or not new.enabled:
                self._tell(new.account)

        await self._change(prepare, apply)

    async def set_limits(self, account: AccountId, octets: int | None, messages: int | None) -> None:
        """Other limits, and nothing else. Raises NotFound."""
        rows: list[Account] = []

        def prepare() -> list[Statement]:
            old = self._existing(account)
            rows.append(replace(
                old,
                octets_limit=old.octets_limit if octets is None else octets,
                messages_limit=old.messages_limit if messages is None else messages,
            ))  # fmt: skip
            return [(INSERT_ACCOUNT, account_row(rows[0]))]

        await self._change(prepare, lambda: self._stored.accounts.update({account: rows[0]}))

    async def remove_account(self, account: AccountId) -> None:
        """Forget an account; its mail is the store's. Raises NotFound."""

        def prepare() -> list[Statement]:
            self._existing(account)
            return [
                ("DELETE FROM account WHERE id = ?", (account,)),
                ("DELETE FROM app_password WHERE account = ?", (account,)),
                *directory_aliases.forwarded_no_more(account),
            ]

        def apply() -> None:
            del self._stored.accounts[account]
            self._stored.forwards.pop(account, None)
            self._tell(account)

        await self._change(prepare, apply)
