"""How anything in the directory changes: checked and committed by one thread, and then in memory, one change after
another. A part of `storage.directory.SqliteDirectory`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mailserver.model.address import EmailAddress
from mailserver.model.errors import AlreadyExists, NotFound, StorageFailure
from mailserver.model.ids import AccountId
from mailserver.net.databases import Statement
from mailserver.ports.clock import Clock, SystemClock
from mailserver.ports.directory import Account
from mailserver.storage.directory_config import clashes, from_settings
from mailserver.storage.directory_db import execute, open_database
from mailserver.storage.directory_reading import Reading
from mailserver.storage.directory_settings import DomainSettings

__all__ = ["Changing"]


class Changing(Reading):
    """Open it once per process; `close` when done."""

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

    def _existing(self, account: AccountId) -> Account:
        found = self._stored.accounts.get(account)
        if found is None:
            raise NotFound(f"there is no account {account}")
        return found

    def _check_new(self, address: EmailAddress) -> None:
        if self.domain(address.domain) is None:
            raise NotFound(f"the domain {address.domain} is not served", status="5.1.2")
        if self.account(address.key) is not None:
            raise AlreadyExists(f"there is an account {address} already")
        if self.alias(address.key) is not None:
            raise AlreadyExists(f"there is an alias {address} already")

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
