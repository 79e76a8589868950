"""Changes of hashed passwords, and of the app passwords beside them. A part of `storage.directory.SqliteDirectory`."""

from __future__ import annotations

from dataclasses import replace

from mailserver.model.app_password import AppPassword
from mailserver.model.errors import AlreadyExists, LimitReached, NotFound
from mailserver.model.ids import AccountId
from mailserver.net.databases import Statement
from mailserver.ports.directory import Account, ScramVerifier
from mailserver.storage.directory_changing import Changing
from mailserver.storage.directory_db import INSERT_ACCOUNT, INSERT_APP_PASSWORD, account_row, app_password_row

__all__ = ["PasswordChanges"]

MAX_APP_PASSWORDS = 50
#: Seconds between two notes of an app password's use.
_USED_EVERY = 3600


class PasswordChanges(Changing):
    """Durable on return."""

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
