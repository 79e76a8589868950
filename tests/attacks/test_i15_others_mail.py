"""ATTACKS I15: every command × another user's mailbox: the octets of an answer for one that does not exist."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from mailserver.imap.commands import COMMANDS
from mailserver.model.address import EmailAddress
from mailserver.model.ids import AccountId
from mailserver.model.rights import ALL_RIGHTS, RightsChange, parse_rights
from mailserver.ports.directory import Account
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.directory_settings import DomainSettings
from tests.helpers.imap import AsyncImap
from tests.helpers.imap_service import ANNA, ImapHarness
from tests.helpers.maildir import open_store

BEN = AccountId("ben@example.test")
#: By command; `{}` is the mailbox, `{url}` the same in a URL. Lines with a literal send it only when they are asked to.
NAMING: dict[str, tuple[str, ...]] = {
    "SELECT": ("SELECT {}", "SELECT {} (CONDSTORE)"),
    "EXAMINE": ("EXAMINE {}",),
    "CREATE": ("CREATE {}", 'CREATE {} (USE (\\Archive))'),
    "DELETE": ("DELETE {}",),
    "RENAME": ("RENAME {} Mine", "RENAME Archive {}", "RENAME {} {}"),
    "SUBSCRIBE": ("SUBSCRIBE {}",),
    "UNSUBSCRIBE": ("UNSUBSCRIBE {}",),
    "LIST": (
        'LIST "" {}',
        'LIST "" ({} *) RETURN (CHILDREN SUBSCRIBED SPECIAL-USE MYRIGHTS STATUS (MESSAGES))',
        'LIST (RECURSIVEMATCH SUBSCRIBED) "" {}',
    ),
    "LSUB": ('LSUB "" {}',),
    "STATUS": ("STATUS {} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN SIZE HIGHESTMODSEQ MAILBOXID DELETED-STORAGE)",),
    "APPEND": ("APPEND {} {3}", "APPEND {} (\\Seen) {3+}\r\nabc", 'APPEND Drafts CATENATE (URL "/{url}/;UID=1")'),
    "GETQUOTAROOT": ("GETQUOTAROOT {}",),
    "SETACL": ("SETACL {} ben@example.test lr", "SETACL {} anna@example.test lr", "SETACL {} anyone +a"),
    "DELETEACL": ("DELETEACL {} anyone", "DELETEACL {} anna@example.test"),
    "GETACL": ("GETACL {}",),
    "LISTRIGHTS": ("LISTRIGHTS {} anna@example.test",),
    "MYRIGHTS": ("MYRIGHTS {}",),
    "COPY": ("COPY 1 {}",),
    "UID COPY": ("UID COPY 1 {}", "UID COPY 99 {}"),
    "MOVE": ("MOVE 1 {}",),
    "UID MOVE": ("UID MOVE 1 {}",),
    "RESETKEY": ("RESETKEY {}", "RESETKEY {} INTERNAL"),
    "GETMETADATA": ("GETMETADATA {} /private/comment", "GETMETADATA (DEPTH infinity) {} (/shared)"),
    "SETMETADATA": ('SETMETADATA {} (/private/comment "x")', "SETMETADATA {} (/shared/comment NIL)"),
    "ESEARCH": ("ESEARCH IN (mailboxes {}) ALL", "ESEARCH IN (subtree {}) UNSEEN"),
    "NOTIFY": ("NOTIFY SET STATUS (mailboxes {} (MessageNew MessageExpunge))",),
    "REPLACE": ("REPLACE 1 {} {3}", "REPLACE 1 {} {3+}\r\nabc"),
    "UID REPLACE": ("UID REPLACE 1 {} {3+}\r\nabc",),
}
#: These have no mailbox among their arguments.
NOT_NAMING = frozenset({
    "CAPABILITY", "GETJMAPACCESS", "NOOP", "LOGOUT", "ID", "STARTTLS", "AUTHENTICATE", "LOGIN", "COMPRESS", "ENABLE",
    "NAMESPACE", "GENURLAUTH", "URLFETCH", "IDLE", "GETQUOTA", "SETQUOTA", "CHECK", "CLOSE", "UNSELECT", "EXPUNGE",
    "SEARCH", "FETCH", "STORE", "SORT", "THREAD", "UNAUTHENTICATE", "LANGUAGE", "COMPARATOR",
    "CANCELUPDATE", "UID EXPUNGE", "UID SEARCH", "UID FETCH", "UID STORE", "UID SORT", "UID THREAD",
})  # fmt: skip
LINES = [line for name, lines in NAMING.items() if name in COMMANDS for line in lines]

EXISTING = "Other Users/anna@example.test/Secret"
MISSING = ("Other Users/anna@example.test/Absent", "Other Users/zoe7@example.test/Secret")


def test_no_command_is_forgotten() -> None:
    """Whoever adds a command says here whether it names a mailbox, and then how."""
    assert not COMMANDS.keys() - NAMING.keys() - NOT_NAMING, "do these name a mailbox? Add them to NAMING or NOT_NAMING"


async def answer(imap: AsyncImap, line: str, name: str) -> list[bytes]:
    """All that is answered, with the name out of it."""
    await imap.ok("SELECT INBOX")
    tag = "tag"
    imap.writer.write(f"{tag} {line}\r\n".replace("{}", f'"{name}"').replace("{url}", quote(name)).encode())
    lines: list[bytes] = []
    while not lines or not lines[-1].startswith((tag.encode() + b" ", b"+ ")):
        lines.append(await imap.response_line())
    if lines[-1].startswith(b"+ "):
        imap.writer.write(b"abc\r\n")
        lines.append(await imap.response_line())
    spelled = (tag.encode(), name.encode(), quote(name).encode())
    return [re.sub(b"|".join(map(re.escape, spelled)), b"NAME", got) for got in lines]


async def secret(server: ImapHarness, shared: str) -> None:
    """Anna has a secret; with `shared` she shares something else, or gives rights that are none."""
    account = await server.store.open_account(ANNA)
    await account.create("Secret/below")
    await account.create("Team")
    await server.deliver(b"Subject: x\r\n\r\nx", mailbox="Secret")
    await server.deliver(b"mine", account=BEN)
    grant = account.grant
    if shared == "another folder":
        await grant("Team", BEN, RightsChange.REPLACE, ALL_RIGHTS)
    elif shared == "rights that are none":
        # `s`, `w`, `t`, `e` and `p` alone let nobody do anything (RFC 4314 §4).
        await grant("Secret", BEN, RightsChange.REPLACE, parse_rights("swtep"))
        await grant("Team", BEN, RightsChange.REPLACE, parse_rights("lr"))
    elif shared == "rights that are taken away":
        await grant("Secret", "anyone", RightsChange.REPLACE, ALL_RIGHTS)
        await grant("Secret", "-" + BEN, RightsChange.REPLACE, ALL_RIGHTS)


@pytest.mark.parametrize("shared", ["nothing", "another folder", "rights that are none", "rights that are taken away"])
async def test_the_same_octets_as_for_a_mailbox_that_is_not_there(shared: str) -> None:
    async with ImapHarness() as server:
        await secret(server, shared)
        async with server.client("ben") as imap:
            for line in LINES:
                there = await answer(imap, line, EXISTING)
                for name in MISSING:
                    assert there == await answer(imap, line, name), line
                assert not any(b"Secret" in got for got in there), line


async def test_quota_administrators_learn_nothing_of_mailboxes(tmp_path: Path) -> None:
    """They have the limits of all accounts, and the rights of everybody else."""
    directory = SqliteDirectory(tmp_path / "accounts.db", {"example.test": DomainSettings()})
    for name in (ANNA, BEN):
        await directory.add_account(Account(account=name, address=EmailAddress.parse(name)))
    try:
        async with ImapHarness(imap={"quota_administrators": [BEN]}, directory=directory) as server:
            await secret(server, "nothing")
            await directory.set_limits(ANNA, 1 << 20, 10)
            async with server.client("ben") as imap:
                for line in LINES:
                    there = await answer(imap, line, EXISTING)
                    assert there == await answer(imap, line, MISSING[0]), line
                    if not line.startswith("GETQUOTAROOT"):
                        assert there == await answer(imap, line, MISSING[1]), line
                    assert not any(b"Secret" in got for got in there), line
    finally:
        directory.close()


async def test_the_owner_itself_is_not_found_in_the_namespace_of_others() -> None:
    async with ImapHarness() as server:
        await secret(server, "another folder")
        async with server.client("anna") as imap:
            for line in LINES:
                if not line.startswith(("SETACL", "LISTRIGHTS")):
                    assert await answer(imap, line, EXISTING) == await answer(imap, line, MISSING[1]), line


async def test_naming_accounts_opens_and_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the disk nor the time can tell whether an account is there."""
    async with open_store(tmp_path) as store, ImapHarness(store=store) as server:
        await secret(server, "nothing")
    opened: list[AccountId] = []
    async with (
        open_store(tmp_path) as store,
        ImapHarness(store=store) as server,
        server.client("ben") as imap,
    ):
        real = store.existing_account

        async def counted(account: AccountId) -> object:
            opened.append(account)
            return await real(account)

        monkeypatch.setattr(store, "existing_account", counted)
        for line in LINES:
            for name in (EXISTING, *MISSING):
                await answer(imap, line, name)
        assert (opened, store.loaded(ANNA)) == ([], None)
        assert await store.accounts() == [ANNA, BEN]
