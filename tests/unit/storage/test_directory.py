"""The directory: durable changes, names of the configuration, what may and may not be."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailserver.model.address import EmailAddress
from mailserver.model.errors import AlreadyExists, InvalidInput, NotFound, NotPermitted, StorageFailure
from mailserver.model.ids import AccountId
from mailserver.ports.directory import Account, Directory, Domain, ScramVerifier
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.directory_settings import DomainSettings
from tests.helpers.clock import FakeClock

CONFIGURED = {
    "Example.TEST": DomainSettings(
        aliases={"Info": ["anna", "bob@elsewhere.test"]}, catch_all="anna", postmaster="bob@example.test"
    )
}
SCRAM = ScramVerifier(salt=b"s" * 16, iterations=100_000, stored_key=b"k" * 32, server_key=b"v" * 32)


def address(text: str) -> EmailAddress:
    return EmailAddress.parse(text)


def account(text: str = "Anna@example.test", **fields: object) -> Account:
    parsed = address(text)
    return replace(Account(account=AccountId(parsed.key), address=parsed), **fields)  # type: ignore[arg-type]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[SqliteDirectory]:
    one = SqliteDirectory(tmp_path / ".server" / "accounts.db", CONFIGURED, FakeClock())
    yield one
    one.close()


def again(
    directory: SqliteDirectory, path: Path, configured: dict[str, DomainSettings] | None = None
) -> SqliteDirectory:
    """Closed and opened anew, in place, so that the fixture closes it."""
    directory.close()
    directory.__init__(path / ".server" / "accounts.db", configured or CONFIGURED, FakeClock())  # type: ignore[misc]
    return directory


async def test_everything_is_there_after_a_restart(directory: SqliteDirectory, tmp_path: Path) -> None:
    await directory.add_domain(Domain(name="Second.test", catch_all="x@second.test", subaddress_separator="-"))
    full = account(password_hash="$argon2id$x", scram=SCRAM, enabled=False, octets_limit=5, messages_limit=6)
    await directory.add_account(full)
    await directory.add_account(account('"odd name"@second.test'))
    targets = [address("b@x.test"), address("a@x.test"), address("b@x.test")]
    await directory.add_alias(address("all@second.test"), targets)
    secret = directory.secret
    directory = again(directory, tmp_path)
    assert directory.secret == secret
    assert len(secret) == 32
    stored = directory.account("anna@example.test")
    assert stored == replace(full, created=FakeClock().time())
    assert [a.account for a in directory.accounts()] == ["anna@example.test", "odd name@second.test"]
    assert [d.name for d in directory.domains()] == ["example.test", "second.test"]
    second = directory.domain("second.test")
    assert second == Domain(name="second.test", catch_all="x@second.test", subaddress_separator="-")
    alias = directory.alias("all@second.test")
    assert alias is not None
    assert [str(t) for t in alias.targets] == ["b@x.test", "a@x.test"]
    await directory.remove_account(AccountId("anna@example.test"))
    await directory.remove_alias(address("all@second.test"))
    directory = again(directory, tmp_path)
    assert directory.account("anna@example.test") is None
    assert directory.alias("all@second.test") is None


async def test_what_the_configuration_names_is_served_and_read_only(directory: SqliteDirectory) -> None:
    port: Directory = directory
    assert port.domain("example.test") == Domain(
        name="example.test", catch_all="anna@example.test", postmaster="bob@example.test", from_config=True
    )
    info = port.alias("info@example.test")
    assert info is not None
    assert info.from_config
    assert [str(t) for t in info.targets] == ["anna@example.test", "bob@elsewhere.test"]
    assert directory.problems == []
    with pytest.raises(NotPermitted):
        await port.remove_domain("example.test")
    with pytest.raises(NotPermitted):
        await port.remove_alias(address("INFO@example.test"))
    with pytest.raises(AlreadyExists):
        await port.add_domain(Domain(name="EXAMPLE.test"))
    with pytest.raises(AlreadyExists):
        await port.add_account(account("info@example.test"))


async def test_what_cannot_be_is_refused(directory: SqliteDirectory) -> None:
    await directory.add_account(account())
    with pytest.raises(AlreadyExists):
        await directory.add_account(account("ANNA@example.test"))
    with pytest.raises(AlreadyExists):
        await directory.add_alias(address("anna@example.test"), [address("x@y.test")])
    with pytest.raises(NotFound):
        await directory.add_account(account("x@nowhere.test"))
    with pytest.raises(NotFound):
        await directory.add_alias(address("x@nowhere.test"), [address("x@y.test")])
    with pytest.raises(InvalidInput):
        await directory.add_account(replace(account("x@example.test"), account=AccountId("other@example.test")))
    with pytest.raises(InvalidInput):
        await directory.add_alias(address("x@example.test"), [])
    with pytest.raises(InvalidInput):
        await directory.add_alias(address("x@example.test"), [address("X@example.test")])
    with pytest.raises(InvalidInput):
        await directory.add_alias(address("x@example.test"), [EmailAddress(f"u{n}", "y.test") for n in range(1001)])
    with pytest.raises(InvalidInput):
        await directory.add_domain(Domain(name="not a domain"))
    with pytest.raises(InvalidInput):
        await directory.add_domain(Domain(name="new.test", catch_all="nobody"))
    for missing in (
        directory.update_account(account("x@example.test")),
        directory.set_limits(AccountId("x@example.test"), 1, 1),
        directory.remove_account(AccountId("x@example.test")),
        directory.remove_alias(address("x@example.test")),
        directory.remove_domain("nowhere.test"),
    ):
        with pytest.raises(NotFound):
            await missing


async def test_a_domain_in_use_is_not_removed(directory: SqliteDirectory) -> None:
    await directory.add_domain(Domain(name="second.test"))
    await directory.add_account(account("x@second.test"))
    with pytest.raises(NotPermitted):
        await directory.remove_domain("second.test")
    await directory.remove_account(AccountId("x@second.test"))
    await directory.remove_domain("Second.TEST")
    assert directory.domain("second.test") is None


async def test_watchers_hear_of_changed_credentials_only(directory: SqliteDirectory) -> None:
    heard: list[str] = []
    directory.watch(heard.append)
    await directory.add_account(account())
    await directory.update_account(account(octets_limit=7))
    assert heard == []
    await directory.update_account(account(octets_limit=7, password_hash="$argon2id$new"))
    await directory.update_account(account(octets_limit=7, password_hash="$argon2id$new", enabled=False))
    await directory.remove_account(AccountId("anna@example.test"))
    assert heard == ["anna@example.test"] * 3


async def test_other_hashes_of_the_same_password_are_no_news(directory: SqliteDirectory, tmp_path: Path) -> None:
    heard: list[AccountId] = []
    directory.watch(heard.append)
    anna = account(password_hash="$argon2id$old")
    await directory.add_account(anna)
    await directory.renew_password(anna.account, "$argon2id$other", "$argon2id$wrong", None)
    assert directory.account(anna.account) == replace(anna, created=directory.account(anna.account).created)  # type: ignore[union-attr]
    await directory.renew_password(anna.account, "$argon2id$old", "$argon2id$new", SCRAM)
    renewed = directory.account(anna.account)
    assert renewed is not None and (renewed.password_hash, renewed.scram) == ("$argon2id$new", SCRAM)
    assert heard == []
    with pytest.raises(NotFound):
        await directory.renew_password(AccountId("nobody@example.test"), "", "", None)


async def test_an_update_keeps_address_and_age(directory: SqliteDirectory) -> None:
    await directory.add_account(account("Anna@example.test"))
    before = directory.account("anna@example.test")
    await directory.update_account(account("anna@example.test", octets_limit=3))
    after = directory.account("anna@example.test")
    assert before is not None
    assert after == replace(before, octets_limit=3)


async def test_limits_change_and_nothing_else(directory: SqliteDirectory, tmp_path: Path) -> None:
    heard: list[AccountId] = []
    directory.watch(heard.append)
    await directory.add_account(account(password_hash="$argon2id$x", scram=SCRAM, octets_limit=5, messages_limit=6))
    key = AccountId("anna@example.test")
    before = directory.account(key)
    assert before is not None
    for given, expected in (((7, None), (7, 6)), ((None, 8), (7, 8)), ((0, 0), (0, 0)), ((1 << 61, 9), (1 << 61, 9))):
        await directory.set_limits(key, *given)
        after = replace(before, octets_limit=expected[0], messages_limit=expected[1])
        assert directory.account(key) == after
        assert list(directory.accounts()) == [after]
    assert again(directory, tmp_path).account(key) == after
    assert heard == []


async def test_limits_and_a_password_at_once(directory: SqliteDirectory) -> None:
    """Neither takes the other back."""
    anna = account(password_hash="$argon2id$old")
    await directory.add_account(anna)
    await asyncio.gather(
        directory.set_limits(anna.account, 5, None),
        directory.renew_password(anna.account, "$argon2id$old", "$argon2id$new", SCRAM),
        directory.set_limits(anna.account, None, 6),
    )
    after = directory.account(anna.account)
    assert after is not None
    assert (after.octets_limit, after.messages_limit, after.password_hash) == (5, 6, "$argon2id$new")


async def test_clashes_are_told_and_can_be_mended(directory: SqliteDirectory, tmp_path: Path) -> None:
    await directory.add_domain(Domain(name="second.test"))
    await directory.add_account(account("x@second.test"))
    await directory.add_alias(address("y@second.test"), [address("x@second.test")])
    configured = {"second.test": DomainSettings(aliases={"x": ["anna@example.test"], "y": ["z@z.test"]})}
    directory = again(directory, tmp_path, configured)
    assert len(directory.problems) == 3
    assert 'domains."second.test": the domain is in accounts.db too' in directory.problems[0]
    await directory.remove_domain("second.test")
    await directory.remove_alias(address("y@second.test"))
    await directory.remove_account(AccountId("x@second.test"))
    directory = again(directory, tmp_path, configured)
    assert directory.problems == []
    alias = directory.alias("y@second.test")
    assert alias is not None
    assert alias.from_config


def test_a_bad_configuration_says_all_that_is_wrong(tmp_path: Path) -> None:
    directory = SqliteDirectory(
        tmp_path / "accounts.db",
        {
            "bad domain": DomainSettings(),
            "a.test": DomainSettings(catch_all="x y@a.test", postmaster="@", aliases={"in fo": ["x"], "i": ["b c"]}),
            "A.test": DomainSettings(),
            "b.test": DomainSettings(aliases={"x": [], "l": ["L"], "d": ["x"], "D": ["y"]}),
        },
    )
    directory.close()
    assert [problem.split(": ")[0] for problem in directory.problems] == [
        'domains."bad domain"', 'domains."a.test".catch_all', 'domains."a.test".postmaster',
        'domains."a.test".aliases."in fo"', 'domains."a.test".aliases."i"[0]', 'domains."A.test"',
        'domains."b.test".aliases."x"', 'domains."b.test".aliases."l"', 'domains."b.test".aliases."D"',
    ]  # fmt: skip


async def test_a_reload_swaps_or_refuses(directory: SqliteDirectory) -> None:
    await directory.add_domain(Domain(name="second.test"))
    assert directory.reload({"second.test": DomainSettings()}) != []
    assert directory.domain("example.test") is not None
    assert directory.reload({"third.test": DomainSettings()}) == []
    assert [d.name for d in directory.domains()] == ["second.test", "third.test"]


async def test_a_change_is_finished_although_its_caller_is_gone(directory: SqliteDirectory, tmp_path: Path) -> None:
    task = asyncio.create_task(directory.add_account(account()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await directory.add_account(account("later@example.test"))
    assert directory.account("anna@example.test") is not None
    assert again(directory, tmp_path).account("anna@example.test") is not None


async def test_changes_at_once_are_made_one_after_another(directory: SqliteDirectory) -> None:
    results = await asyncio.gather(*(directory.add_account(account()) for _ in range(5)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["AlreadyExists"] * 4 + ["NoneType"]


async def test_a_failed_write_changes_nothing(directory: SqliteDirectory, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / ".server" / "accounts.db", isolation_level=None)
    other.execute("CREATE TRIGGER no BEFORE INSERT ON account BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    other.close()
    with pytest.raises(StorageFailure) as failed:
        await directory.add_account(account())
    assert "disk full" not in failed.value.text
    assert directory.account("anna@example.test") is None


async def test_the_file_is_for_us_alone_and_synchronous(directory: SqliteDirectory, tmp_path: Path) -> None:
    await directory.add_account(account())
    folder = tmp_path / ".server"
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "accounts.db": 0o600, "accounts.db-wal": 0o600, "accounts.db-shm": 0o600,
    }  # fmt: skip
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    mode = directory._pool.submit(directory._db.execute, "PRAGMA synchronous").result()
    assert directory._pool.submit(mode.fetchone).result() == (2,)


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    path.write_bytes(b"this is no database, but a text of some length" * 100)
    with pytest.raises(StorageFailure, match="cannot be used"):
        SqliteDirectory(path, {})
    path.unlink()
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(StorageFailure):
        SqliteDirectory(path, {})
    path.unlink()
    SqliteDirectory(path, {}).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version=99")
    newer.close()
    with pytest.raises(StorageFailure, match="newer"):
        SqliteDirectory(path, {})
