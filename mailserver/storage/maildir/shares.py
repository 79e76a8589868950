"""`.server/shares.db`: which account's mailboxes name which identifiers in their ACLs, so that LIST need not open all.

The folders' own files are the truth. This may say too much (a row is durable before the ACL that needs it, and goes
after it), never too little; an account that is loaded sets its rows right. If the file is lost or damaged it is made
anew after the start, in the background, from the state files of all folders. All of it is in memory as well: some
hundred octets for an account that shares anything.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import structlog

from mailserver.model.errors import MailError, NotFound
from mailserver.model.ids import AccountId
from mailserver.model.rights import NO_RIGHTS, RightsChange, identifiers_of, shared_with
from mailserver.net import files
from mailserver.storage.maildir import layout

if TYPE_CHECKING:
    from mailserver.storage.maildir.store import MaildirStore

__all__ = ["SHARES_FILE", "Shares", "find_shares", "revoke"]

_log = structlog.get_logger()
SHARES_FILE = "shares.db"
_VERSION = 1
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS shares (owner TEXT, identifier TEXT, PRIMARY KEY (owner, identifier)) WITHOUT ROWID"
)
_AT_ONCE = 100


class Shares:
    """Read at the start. The memory part is the event loop's, the methods that say so run in threads."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._by_owner: dict[AccountId, frozenset[str]] = {}
        self._by_identifier: dict[str, set[AccountId]] = {}

    def load(self) -> bool:
        """In a thread, before anything else: read the file; False if it must be filled first."""
        if not os.path.lexists(self._path):
            return False
        try:
            with closing(self._open()) as db:
                db.execute(_SCHEMA)
                rows = db.execute("SELECT owner, identifier FROM shares").fetchall()
                (version,) = db.execute("PRAGMA user_version").fetchone()
        except (sqlite3.Error, OSError) as error:
            _log.warning("storage.shares_damaged", path=self._path, error=str(error))
            for suffix in ("", "-journal"):
                with suppress(OSError):
                    files.remove_file(self._path + suffix)
            return False
        owners: dict[AccountId, set[str]] = {}
        for owner, identifier in rows:
            owners.setdefault(AccountId(owner), set()).add(identifier)
        for name, identifiers in owners.items():
            self.note(name, frozenset(identifiers))
        return bool(version == _VERSION)

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        return sqlite3.connect(self._path, isolation_level=None)

    def save(self, changes: Mapping[AccountId, frozenset[str]]) -> None:
        """In a thread: make these the identifiers of these owners, durably. Raises OSError, sqlite3.Error."""
        with self._writing() as db:
            for owner, identifiers in changes.items():
                db.execute("DELETE FROM shares WHERE owner = ?", (owner,))
                db.executemany("INSERT INTO shares VALUES (?, ?)", [(owner, one) for one in sorted(identifiers)])

    def add(self, found: Mapping[AccountId, frozenset[str]], *, complete: bool = False) -> None:
        """As `save`, and keep what was saved meanwhile; `complete`: nothing is missing any more."""
        with self._writing() as db:
            for owner, identifiers in found.items():
                db.executemany("INSERT OR IGNORE INTO shares VALUES (?, ?)", [(owner, one) for one in identifiers])
            if complete:
                db.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with closing(self._open()) as db:
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN IMMEDIATE")
            db.execute(_SCHEMA)
            yield db
            db.execute("COMMIT")

    def note(self, owner: AccountId, identifiers: frozenset[str]) -> None:
        """From now on `of` and `owners` say so."""
        for identifier in self.of(owner) - identifiers:
            owners = self._by_identifier[identifier]
            owners.discard(owner)
            if not owners:
                del self._by_identifier[identifier]
        for identifier in identifiers:
            self._by_identifier.setdefault(identifier, set()).add(owner)
        self._by_owner[owner] = identifiers
        if not identifiers:
            del self._by_owner[owner]

    def of(self, owner: AccountId) -> frozenset[str]:
        """The identifiers that an account's ACLs name."""
        return self._by_owner.get(owner, frozenset())

    def concerned(self, account: AccountId) -> list[AccountId]:
        """Those whose ACLs name this very account, and itself if it shares anything."""
        own = {account} if self.of(account) else set[AccountId]()
        return sorted(own.union(self._by_identifier.get(account, ())))

    def owners(self, account: AccountId) -> list[AccountId]:
        """The other accounts whose ACLs name this one, sorted."""
        found = set[AccountId]().union(*(self._by_identifier.get(name, ()) for name in identifiers_of(account)))
        return sorted(found - {account})


async def find_shares(store: MaildirStore, shares: Shares) -> None:
    """Fill a lost file from all accounts. What changes meanwhile is noted by those who change it, and only added to."""
    run = store.context.reading.run
    try:
        accounts, whole = await store.accounts(), True
        for start in range(0, len(accounts), _AT_ONCE):
            some = [(name, store.path_of(name)) for name in accounts[start : start + _AT_ONCE]]
            found, all_read = await run(_identifiers, some)
            whole = whole and all_read
            for name, identifiers in found.items():
                shares.note(name, shares.of(name) | identifiers)
            await run(shares.add, found)
        # Else at the next start again.
        await run(lambda: shares.add({}, complete=whole))
    except (MailError, OSError, sqlite3.Error) as error:
        # At the next start again.
        _log.warning("storage.shares_not_found", error=str(error))


async def revoke(store: MaildirStore, account: AccountId) -> None:
    """Take an account out of everybody's ACLs, empty its own, and take back its URLs."""
    shares = store.context.shares
    for name in shares.concerned(account):
        try:
            opened = await store.existing_account(name)
        except NotFound:
            continue
        for folder in list(opened.folders.values()):
            for identifier in list(folder.state.acl):
                if name == account or identifier.removeprefix("-") == account:
                    await opened.grant(folder.name, identifier, RightsChange.REPLACE, NO_RIGHTS)
    with suppress(NotFound):
        await (await store.existing_account(account)).reset_url_keys(None)


def _identifiers(accounts: Iterable[tuple[AccountId, str]]) -> tuple[dict[AccountId, frozenset[str]], bool]:
    """Those of each account that has any; and whether all could be read."""
    found, whole = {}, True
    for name, path in accounts:
        try:
            folders = [folder for _, _, folder in layout.folders_of(path) if folder is not None]
        except FileNotFoundError:
            continue
        except OSError as error:
            _log.warning("storage.shares_not_read", path=path, error=str(error))
            whole = False
            continue
        identifiers = frozenset[str]().union(*(shared_with(folder.state.acl) for folder in folders))
        if identifiers:
            found[name] = identifiers
    return found, whole
