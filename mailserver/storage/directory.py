"""Domains, accounts and aliases: `accounts.db`, beside what the configuration says. Implements ports.directory.

`accounts.db` is truth, not an index: WAL with synchronous=FULL, so a change is durable when its coroutine returns. All
of it is also in memory; look-ups read that, and it changes only after the commit. Changes run one after another in a
thread of their own; one that was begun is finished even when its caller is cancelled.

Where the configuration and the database name the same thing, the configuration is served and `problems` says so:
`check` and `serve` refuse to start then, while the commands that can mend it still work.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from mailserver.model.address import EmailAddress, normalize_domain
from mailserver.model.app_password import AppPassword
from mailserver.model.errors import AlreadyExists, InvalidInput, LimitReached, NotFound, NotPermitted, StorageFailure
from mailserver.model.ids import AccountId
from mailserver.net.databases import Statement
from mailserver.ports.clock import Clock, SystemClock
from mailserver.ports.directory import CATCH_ALL, ROLE_MAIL, Account, Alias, Domain, Forward, ScramVerifier
from mailserver.storage import directory_aliases
from mailserver.storage.directory_config import clashes, from_settings
from mailserver.storage.directory_db import (
    INSERT_ACCOUNT,
    INSERT_APP_PASSWORD,
    INSERT_DOMAIN,
    account_row,
    app_password_row,
    execute,
    open_database,
)
from mailserver.storage.directory_names import NameChanges
from mailserver.storage.directory_settings import DomainSettings

__all__ = ["SqliteDirectory"]

MAX_APP_PASSWORDS = 50
#: Seconds between two notes of an app password's use.
_USED_EVERY = 3600


class SqliteDirectory(NameChanges):
    """The directory of one data_dir. Open it once per process; `close` when done."""

    def __init__(self, path: Path, configured: Mapping[str, DomainSettings], clock: Clock | None = None) -> None:
        """Open or make the database and read all of it; blocks, so call it before serving.

        Raises:
            StorageFailure: the file cannot be opened, is damaged, or is from a newer version.
        """
        self._clock = clock or SystemClock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="directory")
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watchers: list[Callable[[AccountId], None]] = []
        self._sorted: tuple[Account, ...] | None = None
        try:
            #: `secret`: 32 random octets, made with the database, for what must stay the same over restarts.
            self._db, self.secret, self._stored = self._pool.submit(open_database, path).result()
        except (OSError, sqlite3.Error) as error:
            self._pool.shutdown()
            raise StorageFailure(f"{path} cannot be used: {error}") from error
        except BaseException:
            self._pool.shutdown()
            raise
        self._configured, problems = from_settings(configured)
        #: What is wrong between the configuration and the database, one line each; empty when all is well.
        self.problems = problems + clashes(self._configured, self._stored)

    def close(self) -> None:
        """Finish what runs and close the database."""
        self._pool.submit(self._db.close).result()
        self._pool.shutdown()

    def reload(self, configured: Mapping[str, DomainSettings]) -> list[str]:
        """Put other domains of the configuration in place, or keep the present ones and say what is wrong."""
        entries, problems = from_settings(configured)
        problems += clashes(entries, self._stored)
        if not problems:
            self._configured = entries
        return problems

    def watch(self, changed: Callable[[AccountId], None]) -> None:
        """Call `changed`, on the loop, for an account that got another password, was disabled or removed."""
        self._watchers.append(changed)

    # look-ups

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

    def forward(self, account: AccountId) -> Forward | None:
        """Where the account's mail goes on to."""
        return self._stored.forwards.get(account)

    def forwards(self) -> Sequence[Forward]:
        """Those of all accounts, sorted by domain and then by local part."""
        return sorted(self._stored.forwards.values(), key=lambda f: (f.address.domain, f.address.key))

    # changes

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

    async def renew_password(
        self, account: AccountId, stored: str, password_hash: str, scram: ScramVerifier | None
    ) -> None:
        """Other hashes of the same password, unless it changed meanwhile; nobody is told. Raises NotFound."""
        rows: list[Account] = []

        def prepare() -> list[Statement]:
            old = self._existing(account)
            if old.password_hash == stored:
                rows.append(replace(old, password_hash=password_hash, scram=scram))
            return [(INSERT_ACCOUNT, account_row(row)) for row in rows]

        await self._change(prepare, lambda: self._stored.accounts.update((row.account, row) for row in rows))

    async def add_app_password(self, account: AccountId, added: AppPassword) -> None:
        """One more password. Raises NotFound, AlreadyExists, LimitReached."""
        rows: list[Account] = []

        def prepare() -> list[Statement]:
            old = self._existing(account)
            if any(one.name == added.name for one in old.app_passwords):
                raise AlreadyExists(f"there is an app password {added.name!r} already")
            if len(old.app_passwords) >= MAX_APP_PASSWORDS:
                raise LimitReached(f"an account has at most {MAX_APP_PASSWORDS} app passwords")
            rows.append(replace(old, app_passwords=(*old.app_passwords, added)))
            return [(INSERT_APP_PASSWORD, app_password_row(account, added))]

        await self._change(prepare, lambda: self._stored.accounts.update({account: rows[0]}))

    async def remove_app_password(self, account: AccountId, name: str) -> None:
        """It is good no more, and the account's sessions end. Raises NotFound."""
        rows: list[Account] = []

        def prepare() -> list[Statement]:
            old = self._existing(account)
            left = tuple(one for one in old.app_passwords if one.name != name)
            if len(left) == len(old.app_passwords):
                raise NotFound(f"there is no app password {name!r}")
            rows.append(replace(old, app_passwords=left))
            return [("DELETE FROM app_password WHERE account = ? AND name = ?", (account, name))]

        def apply() -> None:
            self._stored.accounts[account] = rows[0]
            self._tell(account)

        await self._change(prepare, apply)

    async def used_app_password(self, account: AccountId, name: str) -> None:
        """Write down that it was used, once an hour."""
        now = self._clock.time()
        rows: list[Account] = []

        def used() -> AppPassword | None:
            known = self._stored.accounts.get(account)
            found = next((one for one in known.app_passwords if one.name == name), None) if known else None
            return found if found is not None and now - found.last_used >= _USED_EVERY else None

        def prepare() -> list[Statement]:
            found, old = used(), self._stored.accounts.get(account)
            if found is None or old is None:
                return []
            new = replace(found, last_used=now)
            rows.append(replace(
                old, app_passwords=tuple(new if one is found else one for one in old.app_passwords),
            ))  # fmt: skip
            return [(INSERT_APP_PASSWORD, app_password_row(account, new))]

        if used() is not None:
            await self._change(prepare, lambda: self._stored.accounts.update((row.account, row) for row in rows))

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

    def _existing(self, account: AccountId) -> Account:
        found = self._stored.accounts.get(account)
        if found is None:
            raise NotFound(f"there is no account {account}")
        return found

    def _tell(self, account: AccountId) -> None:
        for changed in self._watchers:
            changed(account)

    async def _change(self, prepare: Callable[[], list[Statement]], apply: Callable[[], object]) -> None:
        """Check and build the statements, commit them, then change what is in memory; never half of it."""
        task = asyncio.ensure_future(self._run(prepare, apply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def _run(self, prepare: Callable[[], list[Statement]], apply: Callable[[], object]) -> None:
        async with self._changing:
            statements = prepare()
            try:
                await asyncio.wrap_future(self._pool.submit(execute, self._db, statements))
            except sqlite3.Error as error:
                raise StorageFailure("the directory could not be changed", detail=str(error)) from error
            self._sorted = None
            apply()
