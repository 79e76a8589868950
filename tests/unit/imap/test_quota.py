"""Quota administrators (RFC 9208 §4.1.3): who may see and set whose limits, and that nothing else is told by it."""

from __future__ import annotations

import asyncio
import imaplib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from imapclient import IMAPClient
from imapclient.imapclient import Quota
from pydantic import ValidationError

from mailserver.imap.settings import ImapSettings
from mailserver.model.address import EmailAddress
from mailserver.model.errors import NotPermitted, StorageFailure
from mailserver.model.ids import AccountId
from mailserver.model.rights import RightsChange, parse_rights
from mailserver.ports.directory import Account
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.directory_settings import DomainSettings
from tests.helpers.imap import AsyncImap
from tests.helpers.imap_service import ANNA, PASSWORD, ImapHarness
from tests.helpers.maildir import open_store

BEN = AccountId("ben@example.test")
ROOT = f'"#user/{BEN}"'
ADMIN = {"quota_administrators": ["Anna@example.test"]}


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[SqliteDirectory]:
    """Of anna, ben and `x\\"y@example.test`; the domain of zoe is served no more, and nobody is cleo."""
    both = {"example.test": DomainSettings(), "gone.test": DomainSettings()}
    known = SqliteDirectory(tmp_path / "accounts.db", both)
    for text in ("anna@example.test", "ben@example.test", '"x\\"y"@example.test', "zoe@gone.test"):
        address = EmailAddress.parse(text)
        await known.add_account(Account(account=AccountId(address.key), address=address))
    assert known.reload({"example.test": DomainSettings()}) == []
    yield known
    known.close()


@pytest.fixture(params=["memory", "maildir"])
async def server(
    request: pytest.FixtureRequest, tmp_path: Path, directory: SqliteDirectory
) -> AsyncIterator[ImapHarness]:
    """Anna administers quotas; on each store."""
    if request.param == "memory":
        async with ImapHarness(imap=ADMIN, directory=directory) as harness:
            yield harness
        return
    async with open_store(tmp_path / "data") as store, ImapHarness(imap=ADMIN, directory=directory, store=store) as one:
        yield one


async def told(imap: AsyncImap, line: str) -> list[str]:
    return [answer.decode() for answer in (await imap.ok(line)).untagged]


async def limits(directory: SqliteDirectory, server: ImapHarness, account: AccountId = BEN) -> tuple[int, int]:
    """Octets and messages, of which accounts.db and the store must say the same."""
    entry = directory.account(account)
    assert entry is not None
    usage = await (await server.store.open_account(account)).quota()
    assert (usage.octets_limit, usage.messages_limit) == (entry.octets_limit, entry.messages_limit)
    return entry.octets_limit, entry.messages_limit


async def test_only_administrators_are_told_of_it(server: ImapHarness) -> None:
    async with server.client(None) as anna, server.client(None) as ben:
        assert b"QUOTASET" not in (await anna.ok("CAPABILITY")).untagged[0]
        assert "QUOTASET" in ((await anna.ok(f'LOGIN anna "{PASSWORD}"')).code("CAPABILITY") or "").split()
        assert b" QUOTASET" in (await anna.ok("CAPABILITY")).untagged[0]
        assert "QUOTASET" not in ((await ben.ok(f'LOGIN ben "{PASSWORD}"')).code("CAPABILITY") or "QUOTASET").split()
        assert b"QUOTASET" not in (await ben.ok("CAPABILITY")).untagged[0]
        await anna.ok("UNAUTHENTICATE")
        await anna.ok(f'LOGIN ben "{PASSWORD}"')
        assert b"QUOTASET" not in (await anna.ok("CAPABILITY")).untagged[0]
        assert (await anna.command(f"SETQUOTA {ROOT} ()")).code("NOPERM") == ""


async def test_limits_are_set_kept_and_taken_away(server: ImapHarness, directory: SqliteDirectory) -> None:
    await server.deliver(b"x" * 1025, account=BEN)
    async with server.client("anna") as anna, server.client("ben") as ben:
        assert await told(ben, "GETQUOTAROOT INBOX") == ['* QUOTAROOT "INBOX"']
        assert await told(anna, f"GETQUOTA {ROOT}") == [f"* QUOTA {ROOT} ()"]
        quota = f"* QUOTA {ROOT} (STORAGE 2 512 MESSAGE 1 7)"
        assert await told(anna, f"SETQUOTA {ROOT} (message 7 STORAGE 512)") == [quota]
        assert await told(anna, f"GETQUOTA {ROOT}") == [quota]
        assert await limits(directory, server) == (512 << 10, 7)
        # The session that was there before has them at once.
        own = '* QUOTA "" (STORAGE 2 512 MESSAGE 1 7)'
        assert await told(ben, "GETQUOTAROOT INBOX") == ['* QUOTAROOT "INBOX" ""', own]
        assert await told(ben, 'GETQUOTA ""') == [own]
        # What is not listed is discarded (§4.1.3).
        assert await told(anna, f"SETQUOTA {ROOT} (STORAGE 3)") == [f"* QUOTA {ROOT} (STORAGE 2 3)"]
        assert await limits(directory, server) == (3 << 10, 0)
        assert await told(anna, f"SETQUOTA {ROOT} ()") == [f"* QUOTA {ROOT} ()"]
        assert await limits(directory, server) == (0, 0)
        assert await told(ben, "GETQUOTAROOT INBOX") == ['* QUOTAROOT "INBOX"']
        assert (await ben.command('GETQUOTA ""')).code("NONEXISTENT") == ""


async def test_limits_hold_in_sessions_that_were_there(server: ImapHarness) -> None:
    await server.deliver(b"one", b"two", account=BEN)
    async with server.client("anna") as anna, server.client("ben", select="INBOX") as ben:
        # More is there than the limit allows: all of it stays, and nothing comes.
        await anna.ok(f"SETQUOTA {ROOT} (MESSAGE 2)")
        assert (await ben.command("APPEND INBOX {3+}\r\nabc")).code("OVERQUOTA") == ""
        assert (await ben.command("COPY 1 Archive")).code("OVERQUOTA") == ""
        await ben.ok("MOVE 1 Archive")
        await anna.ok(f"SETQUOTA {ROOT} (MESSAGE 3 STORAGE 1)")
        assert (await ben.command("APPEND INBOX {1020+}\r\n" + "x" * 1020)).code("OVERQUOTA") == ""
        await ben.ok("APPEND INBOX {3+}\r\nabc")
        assert (await ben.command("COPY 1 Archive")).code("OVERQUOTA") == ""
        await anna.ok(f"SETQUOTA {ROOT} ()")
        await ben.ok("COPY 1 Archive")


async def test_a_move_into_a_full_account(server: ImapHarness) -> None:
    await server.deliver(b"one")
    account = await server.store.open_account(BEN)
    await account.create("Team")
    await account.grant("Team", ANNA, RightsChange.REPLACE, parse_rights("lrswi"))
    await server.deliver(b"one", account=BEN)
    async with server.client("anna", select="INBOX") as anna:
        await anna.ok(f"SETQUOTA {ROOT} (MESSAGE 1)")
        for line in ("MOVE", "UID MOVE", "COPY"):
            assert (await anna.command(f'{line} 1 "Other Users/{BEN}/Team"')).code("OVERQUOTA") == ""
        await anna.ok(f"SETQUOTA {ROOT} (MESSAGE 2)")
        await anna.ok(f'MOVE 1 "Other Users/{BEN}/Team"')
        assert await told(anna, f"GETQUOTA {ROOT}") == [f"* QUOTA {ROOT} (MESSAGE 2 2)"]


async def test_ones_own_root_has_two_names(server: ImapHarness, directory: SqliteDirectory) -> None:
    async with server.client("anna") as anna:
        assert await told(anna, "GETQUOTAROOT INBOX") == ['* QUOTAROOT "INBOX" ""', '* QUOTA "" ()']
        assert await told(anna, 'SETQUOTA "" (MESSAGE 9)') == ['* QUOTA "" (MESSAGE 0 9)']
        assert await told(anna, f"GETQUOTA #user/{ANNA}") == [f'* QUOTA "#user/{ANNA}" (MESSAGE 0 9)']
        assert await limits(directory, server, ANNA) == (0, 9)


async def test_the_root_of_anothers_mailbox(server: ImapHarness, directory: SqliteDirectory) -> None:
    """It may be there, and be shared, or neither: the answer is the same (RFC 9208 §4.1.2)."""
    account = await server.store.open_account(BEN)
    await account.create("Secret")
    await account.create("Team")
    await account.grant("Team", ANNA, RightsChange.REPLACE, parse_rights("lr"))
    await account.create("Team/Hidden")
    await account.grant("Team/Hidden", ANNA, RightsChange.REPLACE, parse_rights("l"))
    async with server.client("anna") as anna, server.client("ben") as ben:
        await anna.ok(f"SETQUOTA {ROOT} (MESSAGE 5)")
        for name in ("Secret", "Absent", "Team", "Team/Hidden", "INBOX"):
            named = f'"Other Users/{BEN}/{name}"'
            assert await told(anna, f"GETQUOTAROOT {named}") == [
                f"* QUOTAROOT {named} {ROOT}", f"* QUOTA {ROOT} (MESSAGE 0 5)"
            ]  # fmt: skip
            assert (await anna.command(f"STATUS {named} (MESSAGES)")).status == ("OK" if name == "Team" else "NO")
            # Whoever is no administrator learns of no root but the own one.
            other = f'"Other Users/{ANNA}/{name}"'
            assert (await ben.command(f"GETQUOTAROOT {other}")).code("NONEXISTENT") == ""
        own = f'"Other Users/{ANNA}/INBOX"'
        assert await told(anna, f"GETQUOTAROOT {own}") == [f'* QUOTAROOT {own} ""', '* QUOTA "" ()']
        for nobody in ("cleo@example.test/INBOX", "zoe@gone.test/INBOX", "x", "@"):
            assert (await anna.command(f'GETQUOTAROOT "Other Users/{nobody}"')).code("NONEXISTENT") == ""


async def test_accounts_that_have_no_root(
    server: ImapHarness, directory: SqliteDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's address, a domain that is not served, a name that is spelled otherwise; all in the same words."""
    opened: list[AccountId] = []
    real = server.store.open_account

    async def counted(account: AccountId) -> Any:
        opened.append(account)
        return await real(account)

    monkeypatch.setattr(server.store, "open_account", counted)
    async with server.client("anna") as anna:
        for name in ("#user/", "#user/cleo@example.test", "#user/zoe@gone.test", "#user/BEN@example.test", "INBOX",
                     "ben@example.test", "#user/../x@example.test", "#USER/ben@example.test"):  # fmt: skip
            for line in (f'GETQUOTA "{name}"', f'SETQUOTA "{name}" (STORAGE 1)', f'SETQUOTA "{name}" ()'):
                answer = await anna.command(line)
                assert answer.text == "[NONEXISTENT] there is no such quota root" and not answer.untagged, line
        odd = r'"#user/x\"y@example.test"'
        assert await told(anna, f"SETQUOTA {odd} (STORAGE 4)") == [f"* QUOTA {odd} (STORAGE 0 4)"]
        assert await limits(directory, server, AccountId('x"y@example.test')) == (4096, 0)
    assert set(opened) == {ANNA, 'x"y@example.test'}


async def test_everybody_else_is_refused_and_finds_nothing(server: ImapHarness, directory: SqliteDirectory) -> None:
    await directory.set_limits(ANNA, 1 << 20, 5)
    async with server.client("ben") as ben:
        for root in ('""', ROOT, f'"#user/{ANNA}"', '"#user/nobody@example.test"', "INBOX"):
            answer = await ben.command(f"SETQUOTA {root} (STORAGE 1)")
            assert answer.text == "[NOPERM] quotas are set by the administrator" and not answer.untagged
            answer = await ben.command(f"GETQUOTA {root}")
            assert answer.text == "[NONEXISTENT] there is no such quota root" and not answer.untagged
    assert await limits(directory, server) == (0, 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("MAILBOX 5", "MAILBOX cannot be limited here, only STORAGE and MESSAGE"),
        ("MESSAGE 5 ANNOTATION-STORAGE 5", "ANNOTATION-STORAGE cannot be limited here"),
        ("STORAGE 1 storage 2", "STORAGE stands in the list twice"),
        ("STORAGE 0", "a limit of STORAGE is at least 1; leave it out"),
        ("STORAGE 5 MESSAGE 0", "a limit of MESSAGE is at least 1; leave it out"),
        (f"STORAGE {1 << 52}", "a limit of STORAGE is at most 4503599627370495"),
        (f"MESSAGE {(1 << 63) - 1}", "a limit of MESSAGE is at most 4611686018427387903"),
    ],
)
async def test_what_cannot_be_limited_so(
    server: ImapHarness, directory: SqliteDirectory, given: str, words: str
) -> None:
    async with server.client("anna") as anna:
        await anna.ok(f"SETQUOTA {ROOT} (MESSAGE 3)")
        answer = await anna.command(f"SETQUOTA {ROOT} ({given})")
        assert answer.status == "NO" and answer.text.startswith(f"[CANNOT] {words}") and not answer.untagged
        assert await limits(directory, server) == (0, 3)


async def test_the_largest_limits_go_through_both_files(server: ImapHarness, directory: SqliteDirectory) -> None:
    async with server.client("anna") as anna:
        await anna.ok(f"SETQUOTA {ROOT} (STORAGE {(1 << 52) - 1} MESSAGE {(1 << 62) - 1})")
        assert await limits(directory, server) == (((1 << 52) - 1) << 10, (1 << 62) - 1)


async def test_an_account_that_is_read_only(
    server: ImapHarness, directory: SqliteDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise NotPermitted("the account stands in the configuration file; change it there")

    monkeypatch.setattr(directory, "set_limits", refuse)
    async with server.client("anna") as anna:
        answer = await anna.command(f"SETQUOTA {ROOT} (STORAGE 5)")
        assert answer.text == "[NOPERM] the account stands in the configuration file; change it there"
        assert await limits(directory, server) == (0, 0)


async def test_a_disk_that_fails_is_told_and_the_limit_can_be_given_again(
    server: ImapHarness, directory: SqliteDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise StorageFailure("the mailbox cannot be used now")

    account = await server.store.open_account(BEN)
    async with server.client("anna") as anna:
        with monkeypatch.context() as patch:
            patch.setattr(type(account), "set_quota", broken)
            assert (await anna.command(f"SETQUOTA {ROOT} (STORAGE 5)")).code("UNAVAILABLE") == ""
        assert (await account.quota()).octets_limit == 0
        await anna.ok(f"SETQUOTA {ROOT} (STORAGE 5)")
        assert await limits(directory, server) == (5120, 0)


async def test_disabled_accounts_have_limits_too(server: ImapHarness, directory: SqliteDirectory) -> None:
    ben = directory.account(BEN)
    assert ben is not None
    await directory.update_account(Account(account=BEN, address=ben.address, enabled=False))
    async with server.client("anna") as anna:
        assert await told(anna, f"SETQUOTA {ROOT} (MESSAGE 5)") == [f"* QUOTA {ROOT} (MESSAGE 0 5)"]
        entry = directory.account(BEN)
        assert entry is not None and not entry.enabled


async def test_client_libraries_of_administrators(server: ImapHarness, directory: SqliteDirectory) -> None:
    root = f"#user/{BEN}"

    def use(port: int) -> None:
        with IMAPClient("127.0.0.1", port, ssl=False) as imap:
            imap.plain_login("anna", PASSWORD)
            assert imap.has_capability("QUOTASET")
            roots, quotas = imap.get_quota_root(f'"Other Users/{BEN}/INBOX"')
            assert (roots.quota_roots, quotas) == ([root], [])
            wanted = [Quota(root, "STORAGE", 0, 512), Quota(root, "MESSAGE", 0, 7)]
            assert imap.set_quota(wanted) == wanted
        with imaplib.IMAP4("127.0.0.1", port) as plain:
            plain.login("anna", PASSWORD)
            assert plain.getquota(root) == ("OK", [f'"{root}" (STORAGE 0 512 MESSAGE 0 7)'.encode()])
            assert plain.setquota(root, "(MESSAGE 8)") == ("OK", [f'"{root}" (MESSAGE 0 8)'.encode()])

    await asyncio.to_thread(use, server.port())
    assert await limits(directory, server) == (0, 8)


@pytest.mark.parametrize(
    ("off", "line"),
    [
        ("QUOTASET", f"SETQUOTA {ROOT} ()"),
        ("QUOTA", f"SETQUOTA {ROOT} ()"),
        ("QUOTA=RES-MESSAGE", f"SETQUOTA {ROOT} (STORAGE 5 MESSAGE 5)"),
    ],
)
async def test_switched_off(directory: SqliteDirectory, off: str, line: str) -> None:
    async with ImapHarness(imap=ADMIN | {"disabled_capabilities": [off]}, directory=directory) as server:
        await directory.set_limits(ANNA, 0, 5)
        async with server.client("anna") as anna, server.client("ben") as ben:
            answer = await anna.command(line)
            assert answer.status == "BAD" and "is not offered here" in answer.text
            assert (b"QUOTASET" in (await anna.ok("CAPABILITY")).untagged[0]) is (off == "QUOTA=RES-MESSAGE")
            assert (await ben.command(line)).status == "BAD"
        async with server.client("anna") as anna:
            if off == "QUOTA=RES-MESSAGE":
                # What is not offered is not shown either.
                assert await told(anna, f"SETQUOTA {ROOT} (STORAGE 5)") == [f"* QUOTA {ROOT} (STORAGE 0 5)"]
                assert await told(anna, 'GETQUOTA ""') == ['* QUOTA "" ()']


async def test_a_server_without_accounts_of_its_own_sets_nothing() -> None:
    async with ImapHarness(imap=ADMIN) as server, server.client("anna") as anna:
        for root in ('""', ROOT):
            assert (await anna.command(f"SETQUOTA {root} (STORAGE 5)")).code("NONEXISTENT") == ""


async def test_the_log_says_who_did_it(server: ImapHarness, capsys: pytest.CaptureFixture[str]) -> None:
    async with server.client("anna") as anna:
        await anna.ok(f"SETQUOTA {ROOT} (STORAGE 5)")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "quota set" in line)
    for fact in ("anna@example.test", "ben@example.test", "5120"):
        assert fact in line


def test_the_setting_names_accounts() -> None:
    assert ImapSettings(quota_administrators=["ANNA@Example.test"]).quota_administrators == ["anna@example.test"]
    assert ImapSettings().quota_administrators == []
    with pytest.raises(ValidationError, match="no domain"):
        ImapSettings(quota_administrators=["anna"])
