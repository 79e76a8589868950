"""App passwords: made at random, kept as hashes, good for what they were made for, taken back alone."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailserver.model.address import EmailAddress
from mailserver.model.app_password import AppPassword
from mailserver.model.errors import AlreadyExists, InvalidInput, LimitReached, NotFound
from mailserver.model.ids import AccountId
from mailserver.ports.directory import Account
from mailserver.storage import directory_passwords as module
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.directory_settings import DomainSettings
from tests.helpers.clock import FakeClock

ANNA = AccountId("anna@example.test")
DOMAINS = {"example.test": DomainSettings()}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def directory(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteDirectory]:
    made = SqliteDirectory(tmp_path / "accounts.db", DOMAINS, clock)
    await made.add_account(Account(account=ANNA, address=EmailAddress.parse(ANNA), password_hash="x"))
    yield made
    made.close()


def kept(directory: SqliteDirectory) -> tuple[AppPassword, ...]:
    account = directory.account(ANNA)
    assert account is not None
    return account.app_passwords


def test_a_new_one_is_random_and_only_its_hash_is_kept() -> None:
    one, secret = AppPassword.make("phone", frozenset({"imap"}), 7.0)
    other, another = AppPassword.make("phone", frozenset(), 7.0)
    assert secret != another and one.salt != other.salt
    assert len(secret.replace("-", "")) == 26 and secret not in repr(one)
    for typed in (secret, secret.replace("-", ""), secret.upper(), secret.replace("-", " ")):
        found = AppPassword.secret_of(typed)
        assert found is not None and one.matches(found) and not other.matches(found)
    for typed in ("", "correct horse", secret + "a", secret[:-1], secret.replace("-", "1"), secret + " " * 100):
        assert AppPassword.secret_of(typed) is None


@pytest.mark.parametrize(("name", "protocols"), [("", ()), ("x" * 65, ()), ("a\nb", ()), ("x", ("http",))])
def test_what_cannot_be_made(name: str, protocols: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        AppPassword.make(name, frozenset(protocols), 0.0)


async def test_they_are_found_again_and_survive_a_change_of_the_account(
    directory: SqliteDirectory, tmp_path: Path
) -> None:
    for created, name in enumerate(("phone", "laptop")):
        await directory.add_app_password(ANNA, AppPassword.make(name, frozenset({"imap"}), float(created))[0])
    with pytest.raises(AlreadyExists):
        await directory.add_app_password(ANNA, AppPassword.make("phone", frozenset(), 5.0)[0])
    account = directory.account(ANNA)
    assert account is not None
    await directory.update_account(replace(account, password_hash="y", app_passwords=()))
    await directory.renew_password(ANNA, "y", "z", None)
    again = SqliteDirectory(tmp_path / "accounts.db", DOMAINS)
    assert kept(again) == kept(directory) and [one.name for one in kept(again)] == ["phone", "laptop"]
    again.close()
    await directory.remove_account(ANNA)
    await directory.add_account(Account(account=ANNA, address=EmailAddress.parse(ANNA)))
    again = SqliteDirectory(tmp_path / "accounts.db", DOMAINS)
    assert kept(again) == kept(directory) == ()
    again.close()


async def test_taking_one_back_ends_the_sessions(directory: SqliteDirectory) -> None:
    told: list[AccountId] = []
    directory.watch(told.append)
    await directory.add_app_password(ANNA, AppPassword.make("phone", frozenset(), 5.0)[0])
    assert told == []
    with pytest.raises(NotFound):
        await directory.remove_app_password(ANNA, "laptop")
    await directory.remove_app_password(ANNA, "phone")
    assert told == [ANNA] and kept(directory) == ()


async def test_the_last_use_is_written_once_an_hour(
    directory: SqliteDirectory, clock: FakeClock, tmp_path: Path
) -> None:
    await directory.add_app_password(ANNA, AppPassword.make("phone", frozenset(), 5.0)[0])
    began = clock.time()
    await directory.used_app_password(ANNA, "phone")
    clock.advance(3599)
    await directory.used_app_password(ANNA, "phone")
    assert kept(directory)[0].last_used == began
    clock.advance(1)
    await directory.used_app_password(ANNA, "phone")
    await directory.used_app_password(ANNA, "nothing")
    assert kept(directory)[0].last_used == began + 3600
    again = SqliteDirectory(tmp_path / "accounts.db", DOMAINS)
    assert kept(again)[0].last_used == began + 3600
    again.close()


async def test_there_are_not_endlessly_many(directory: SqliteDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_APP_PASSWORDS", 2)
    for name in "ab":
        await directory.add_app_password(ANNA, AppPassword.make(name, frozenset(), 5.0)[0])
    with pytest.raises(LimitReached):
        await directory.add_app_password(ANNA, AppPassword.make("c", frozenset(), 5.0)[0])


async def test_a_database_from_before_gets_the_table(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    made = SqliteDirectory(path, DOMAINS)
    await made.add_account(Account(account=ANNA, address=EmailAddress.parse(ANNA), password_hash="x"))
    made.close()
    old = sqlite3.connect(path)
    for table in ("app_password", "pending", "asked", "forward"):
        old.execute(f"DROP TABLE {table}")
    old.execute("PRAGMA user_version=1")
    old.close()
    for name in ("phone", "laptop"):
        directory = SqliteDirectory(path, DOMAINS)
        await directory.add_app_password(ANNA, AppPassword.make(name, frozenset(), 5.0)[0])
        assert kept(directory)[-1].name == name
        directory.close()
