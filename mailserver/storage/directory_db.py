"""`accounts.db`: its tables, its rows as values, and the functions that run in the directory's thread."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mailserver.model.address import EmailAddress
from mailserver.model.app_password import AppPassword
from mailserver.model.errors import InvalidInput, StorageFailure
from mailserver.model.ids import AccountId
from mailserver.net.databases import Statement, open_kept_database, transaction
from mailserver.ports.directory import Account, Alias, Domain, Forward, Pending, ScramVerifier

__all__ = [
    "INSERT_ACCOUNT", "INSERT_ALIAS", "INSERT_APP_PASSWORD", "INSERT_ASKED", "INSERT_DOMAIN", "INSERT_FORWARD",
    "INSERT_PENDING", "Entries", "account_row", "app_password_row", "execute", "open_database",
]  # fmt: skip

_VERSION = 4
_APP_PASSWORDS = """CREATE TABLE app_password (
    account TEXT NOT NULL, name TEXT NOT NULL, salt BLOB NOT NULL, hashed BLOB NOT NULL, protocols TEXT NOT NULL,
    created REAL NOT NULL, last_used REAL NOT NULL, PRIMARY KEY (account, name)
) WITHOUT ROWID"""
_PENDING = """CREATE TABLE pending (
    id TEXT NOT NULL, target TEXT NOT NULL, request TEXT NOT NULL, secret BLOB NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (id, target)
) WITHOUT ROWID"""
_ASKED = "CREATE TABLE asked (target TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID"
_FORWARD = """CREATE TABLE forward (
    id TEXT NOT NULL, position INTEGER NOT NULL, target TEXT NOT NULL, keep INTEGER NOT NULL, PRIMARY KEY (id, position)
) WITHOUT ROWID"""
#: What a database of a version needs to be one of the next. Targets that are there already stay in use.
_NEXT = {1: (_APP_PASSWORDS,), 2: (_PENDING, _ASKED), 3: (_FORWARD,)}
_SCHEMA = (
    _APP_PASSWORDS,
    _PENDING,
    _ASKED,
    _FORWARD,
    "CREATE TABLE secret (id INTEGER PRIMARY KEY CHECK (id = 1), value BLOB NOT NULL)",
    """CREATE TABLE domain (
        name TEXT PRIMARY KEY, catch_all TEXT NOT NULL, postmaster TEXT NOT NULL, separator TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE account (
        id TEXT PRIMARY KEY, address TEXT NOT NULL, password_hash TEXT NOT NULL,
        scram_salt BLOB, scram_iterations INTEGER, scram_stored BLOB, scram_server BLOB,
        enabled INTEGER NOT NULL, octets_limit INTEGER NOT NULL, messages_limit INTEGER NOT NULL, created REAL NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE alias (
        id TEXT NOT NULL, position INTEGER NOT NULL, address TEXT NOT NULL, target TEXT NOT NULL,
        PRIMARY KEY (id, position)
    ) WITHOUT ROWID""",
)
INSERT_DOMAIN = "INSERT INTO domain (name, catch_all, postmaster, separator) VALUES (?, ?, ?, ?)"
#: Also replaces.
INSERT_ACCOUNT = """REPLACE INTO account (id, address, password_hash, scram_salt, scram_iterations, scram_stored,
    scram_server, enabled, octets_limit, messages_limit, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
#: Also replaces.
INSERT_APP_PASSWORD = """REPLACE INTO app_password (account, name, salt, hashed, protocols, created, last_used)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""  # noqa: S105
INSERT_ALIAS = "INSERT INTO alias (id, position, address, target) VALUES (?, ?, ?, ?)"
INSERT_FORWARD = "INSERT INTO forward (id, position, target, keep) VALUES (?, ?, ?, ?)"
#: Also replaces.
INSERT_PENDING = "REPLACE INTO pending (id, target, request, secret, until) VALUES (?, ?, ?, ?, ?)"
#: Also replaces.
INSERT_ASKED = "REPLACE INTO asked (target, at) VALUES (?, ?)"


@dataclass(slots=True)
class Entries:
    """Names in memory, each under its key."""

    domains: dict[str, Domain] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    #: By account.
    forwards: dict[str, Forward] = field(default_factory=dict)
    #: Key of a target → when its owner was asked for the last time.
    asked: dict[str, float] = field(default_factory=dict)

    def standing(self, key: str) -> Alias | None:
        """The alias, or the forward of an account, that has this key."""
        return self.aliases.get(key) or self.forwards.get(key)

    def put(self, entry: Alias) -> None:
        """An alias, or the forward of an account, in place of the one that is there."""
        if isinstance(entry, Forward):
            self.forwards[entry.address.key] = entry
        else:
            self.aliases[entry.address.key] = entry

    def uses(self, domain: str, besides: Collection[str] = ()) -> bool:
        """Whether an account or alias is in this domain, but for the aliases of the keys `besides`."""
        addresses = [a.address for a in self.accounts.values()]
        addresses += [a.address for key, a in self.aliases.items() if key not in besides]
        return any(address.domain == domain for address in addresses)


def open_database(path: Path) -> tuple[sqlite3.Connection, bytes, Entries]:
    """Open or make it, and read it: the connection, the secret, the rest.

    Raises OSError, sqlite3.Error, StorageFailure (newer version, or a row that cannot be).
    """
    made = ("INSERT INTO secret (id, value) VALUES (1, ?)", (secrets.token_bytes(32),))
    db = open_kept_database(path, _VERSION, _SCHEMA, [made], steps=_NEXT)
    try:
        return db, *_load(db)
    except BaseException:
        db.close()
        raise


def _load(db: sqlite3.Connection) -> tuple[bytes, Entries]:
    (secret,) = db.execute("SELECT value FROM secret").fetchone()
    entries = Entries()
    for row in db.execute("SELECT name, catch_all, postmaster, separator FROM domain"):
        entries.domains[row[0]] = Domain(name=row[0], catch_all=row[1], postmaster=row[2], subaddress_separator=row[3])
    for row in db.execute(
        "SELECT id, address, password_hash, scram_salt, scram_iterations, scram_stored, scram_server, enabled,"
        " octets_limit, messages_limit, created FROM account"
    ):
        entries.accounts[row[0]] = _account(row)
    for key, *row in db.execute(
        "SELECT account, name, salt, hashed, protocols, created, last_used FROM app_password ORDER BY account, created"
    ):
        owner = entries.accounts.get(key)
        if owner is not None:
            entries.accounts[key] = replace(owner, app_passwords=(*owner.app_passwords, _app_password(*row)))
    for key, address, target in db.execute("SELECT id, address, target FROM alias ORDER BY id, position"):
        known = entries.aliases.get(key)
        targets = (*known.targets, _address(target)) if known else (_address(target),)
        entries.aliases[key] = Alias(address=_address(address), targets=targets)
    for key, target, keep in db.execute("SELECT id, target, keep FROM forward ORDER BY id, position"):
        before = entries.forwards.get(key)
        targets = (*before.targets, _address(target)) if before else (_address(target),)
        entries.forwards[key] = Forward(address=_address(key), targets=targets, keep=bool(keep))
    for key, target, request, answer_key, until in db.execute("SELECT id, target, request, secret, until FROM pending"):
        entry = entries.standing(key)
        if entry is not None:
            row = Pending(target=_address(target), request=request, secret=answer_key, until=until)
            entries.put(replace(entry, pending=(*entry.pending, row)))
    entries.asked.update(db.execute("SELECT target, at FROM asked"))
    return secret, entries


def execute(db: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    """All in one transaction, durable on return. Raises sqlite3.Error: then nothing was changed."""
    with transaction(db):
        for sql, arguments in statements:
            db.execute(sql, arguments)


def account_row(account: Account) -> tuple[Any, ...]:
    """The arguments of INSERT_ACCOUNT."""
    scram = account.scram
    verifier = (scram.salt, scram.iterations, scram.stored_key, scram.server_key) if scram else (None,) * 4
    return (
        account.account, str(account.address), account.password_hash, *verifier, int(account.enabled),
        account.octets_limit, account.messages_limit, account.created,
    )  # fmt: skip


def _account(row: tuple[Any, ...]) -> Account:
    key, address, password_hash, salt, iterations, stored, server, enabled, octets, messages, created = row
    scram = None
    if salt is not None:
        scram = ScramVerifier(salt=salt, iterations=iterations, stored_key=stored, server_key=server)
    return Account(
        account=AccountId(key), address=_address(address), password_hash=password_hash, scram=scram,
        enabled=bool(enabled), octets_limit=octets, messages_limit=messages, created=created,
    )  # fmt: skip


def app_password_row(account: AccountId, added: AppPassword) -> tuple[Any, ...]:
    """The arguments of INSERT_APP_PASSWORD."""
    protocols = " ".join(sorted(added.protocols))
    return (account, added.name, added.salt, added.hashed, protocols, added.created, added.last_used)


def _app_password(
    name: str, salt: bytes, hashed: bytes, protocols: str, created: float, last_used: float
) -> AppPassword:
    return AppPassword(
        name=name, salt=salt, hashed=hashed, protocols=frozenset(protocols.split()), created=created,
        last_used=last_used,
    )  # fmt: skip


def _address(text: str) -> EmailAddress:
    try:
        return EmailAddress.parse(text)
    except InvalidInput as error:
        raise StorageFailure(f"accounts.db has an address that cannot be: {text!r}") from error
