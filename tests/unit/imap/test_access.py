"""Other users' mailboxes: their names, what each right allows, and what happens when rights or accounts go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mailserver.imap.access import reach
from mailserver.imap.access.layout import Layout
from mailserver.imap.access.namespaces import Namespaces
from mailserver.imap.settings import ImapSettings
from mailserver.model.address import EmailAddress
from mailserver.model.ids import AccountId
from mailserver.model.rights import ALL_RIGHTS, NO_RIGHTS, RightsChange, parse_rights
from mailserver.ports.directory import Account
from mailserver.storage.directory import SqliteDirectory
from mailserver.storage.directory_settings import DomainSettings
from mailserver.storage.memory import MemoryStore
from tests.helpers.imap import AsyncImap, Closed
from tests.helpers.imap_service import ANNA, ImapHarness
from tests.helpers.maildir import open_store

BEN = AccountId("ben@example.test")
TEAM = '"Other Users/anna@example.test/Team"'
ALL = "lrswipkxtea"


@pytest.fixture(params=["memory", "maildir"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ImapHarness]:
    async with AsyncExitStack() as stack:
        store = MemoryStore() if request.param == "memory" else await stack.enter_async_context(open_store(tmp_path))
        yield await stack.enter_async_context(ImapHarness(store=store))


async def share(server: ImapHarness, rights: str, mailbox: str = "Team", who: str = BEN) -> None:
    account = await server.store.open_account(ANNA)
    if mailbox not in [info.name for info in await account.list_mailboxes()]:
        await account.create(mailbox)
    await account.grant(mailbox, who, RightsChange.REPLACE, parse_rights(rights))


async def listed(imap: AsyncImap, pattern: str = '"*Users*"', *, options: str = "") -> list[str]:
    lines = (await imap.ok(f'LIST "" {pattern}{options}')).only("LIST")
    return [line.decode().rpartition(' "')[2][:-1] for line in lines if b"NonExistent" not in line]


# Every command, with exactly the rights that it needs, and then without each of them


NEEDS = [
    ("SELECT {}", "r"),
    ("EXAMINE {}", "r"),
    ("STATUS {} (MESSAGES)", "r"),
    ("GETQUOTAROOT {}", "r"),
    ("SUBSCRIBE {}", "l"),
    ("APPEND {} {{3+}}\r\nabc", "i"),
    ("COPY 1 {}", "i"),
    ("UID COPY 1 {}", "i"),
    ("MOVE 1 {}", "i"),
    ("CREATE {sub}", "k"),
    ("DELETE {}", "x"),
    ("RENAME {team} {sub}", "xk"),
    ("SETACL {} anna@example.test +l", "a"),
    ("SETACL {} cleo@example.test l", "a"),
    ("DELETEACL {} cleo@example.test", "a"),
    ("GETACL {}", "a"),
    ("LISTRIGHTS {} cleo@example.test", "a"),
]


@pytest.mark.parametrize(("line", "needs"), NEEDS, ids=[line for line, _ in NEEDS])
async def test_what_names_a_mailbox_needs_these_rights_and_no_others(line: str, needs: str) -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        if line.startswith("RENAME"):
            # A mailbox beneath one that gives `k`: RENAME asks for it where the mailbox goes.
            await share(server, "k")
            team, sub = TEAM.replace("Team", "Team/Sub"), TEAM.replace("Team", "Team/New")
            needs = needs.replace("k", "")
            mailbox = "Team/Sub"
        else:
            team, sub, mailbox = TEAM, TEAM.replace("Team", "Team/New"), "Team"
        await server.deliver(b"mine", account=BEN)
        command = line.format(team, team=team, sub=sub)
        for missing in needs:
            for others in ("".join(right for right in ALL if right != missing), "lswpte"):
                if missing in others:
                    continue
                await share(server, others, mailbox)
                await imap.ok("SELECT INBOX")
                refused = await imap.command(command)
                wanted = "NOPERM" if "l" in others or line.startswith("CREATE") else "NONEXISTENT"
                assert (refused.status, refused.code(wanted)) == ("NO", ""), (missing, others, refused)
        await share(server, needs, mailbox)
        await imap.ok("SELECT INBOX")
        assert (await imap.command(command)).status == "OK"


IN_THE_MAILBOX = [
    ("STORE 1 +FLAGS (\\Seen)", "s"),
    ("STORE 1 FLAGS (\\Deleted)", "t"),
    ("UID STORE 1 -FLAGS (\\Flagged)", "w"),
    ("STORE 1 +FLAGS.SILENT ($Label)", "w"),
    ("EXPUNGE", "e"),
    ("UID EXPUNGE 1", "e"),
    ("MOVE 1 INBOX", "te"),
    ("UID MOVE 1 INBOX", "te"),
]


@pytest.mark.parametrize(("line", "needs"), IN_THE_MAILBOX, ids=[line for line, _ in IN_THE_MAILBOX])
async def test_what_changes_the_selected_mailbox_needs_these_rights(line: str, needs: str) -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        await share(server, "lr")
        await server.deliver(b"one", mailbox="Team", flags=frozenset({"\\Flagged"}))
        await imap.ok(f"SELECT {TEAM}")
        for missing in needs:
            await share(server, "".join(right for right in ALL if right != missing))
            refused = await imap.command(line)
            assert (refused.status, refused.code("NOPERM")) == ("NO", ""), (missing, refused)
        await share(server, "r" + needs)
        await imap.ok(line)
        await imap.ok(f"EXAMINE {TEAM}")
        await server.deliver(b"two", mailbox="Team")
        assert (await imap.command(line)).code("READ-ONLY") == ""


@pytest.mark.parametrize("command", ["FETCH", "SEARCH", "COPY"])
async def test_reading_needs_nothing_but_r(command: str) -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        await share(server, "r")
        await server.deliver(b"one", mailbox="Team")
        assert (await imap.ok(f"SELECT {TEAM}")).code("READ-ONLY") == ""
        lines = {"FETCH": "FETCH 1 (FLAGS BODY[])", "SEARCH": "SEARCH UNSEEN", "COPY": "COPY 1 INBOX"}
        await imap.ok(lines[command])
        assert (await imap.ok("FETCH 1 FLAGS")).untagged == (b"* 1 FETCH (FLAGS ())",)
        assert await listed(imap) == []


async def test_close_expunges_only_with_the_right(server: ImapHarness) -> None:
    async with server.client("ben") as imap:
        for rights, left in (("lrt", 1), ("lrte", 0)):
            await share(server, rights)
            if rights == "lrt":
                await server.deliver(b"one", mailbox="Team", flags=frozenset({"\\Deleted"}))
            await imap.ok(f"SELECT {TEAM}")
            await imap.ok("CLOSE")
            status = await imap.ok(f"STATUS {TEAM} (MESSAGES)")
            assert status.untagged == (f"* STATUS {TEAM} (MESSAGES {left})".encode(),)


@pytest.mark.parametrize(
    ("rights", "permanent", "mode"),
    [
        ("lr", "", "READ-ONLY"),
        ("lrpkxa", "", "READ-ONLY"),
        ("lri", "", "READ-WRITE"),
        ("lre", "", "READ-WRITE"),
        ("lrs", "\\Seen", "READ-WRITE"),
        ("lrt", "\\Deleted", "READ-WRITE"),
        ("lrw", "\\Answered \\Flagged \\Draft $Label \\*", "READ-WRITE"),
    ],
)
async def test_select_reflects_the_rights(rights: str, permanent: str, mode: str) -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        await share(server, rights)
        await server.deliver(b"one", mailbox="Team", flags=frozenset({"$Label"}))
        selected = await imap.ok(f"SELECT {TEAM}")
        assert selected.code("PERMANENTFLAGS") == f"({permanent})"
        assert selected.text.startswith(f"[{mode}]")
        assert (await imap.ok(f"EXAMINE {TEAM}")).code("PERMANENTFLAGS") == "()"


# Names


async def test_a_parent_that_one_may_not_see_is_as_if_it_did_not_exist() -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        await share(server, "", "A")
        await share(server, "lr", "A/B")
        assert await listed(imap) == ["Other Users/anna@example.test/A/B"]
        assert (await imap.command('STATUS "Other Users/anna@example.test/A" (MESSAGES)')).code("NONEXISTENT") == ""
        assert await listed(imap, "Sen*") == ["Sent"]
        assert b"Other Users" in b"".join((await imap.ok('LIST "" %')).untagged)


async def test_another_users_inbox_and_its_children_in_any_case() -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        await share(server, "lr", "INBOX")
        account = await server.store.open_account(ANNA)
        await account.create("INBOX/below")
        root = "Other Users/anna@example.test/"
        assert await listed(imap) == [root + "INBOX", root + "INBOX/below"]
        selected = await imap.ok(f'SELECT "{root}inBox/below"')
        assert selected.status == "OK"
        async with server.client("ben", enable="IMAP4rev2") as modern:
            lines = (await modern.ok(f'SELECT "{root}inBox"')).only("LIST")
            assert lines == [f'* LIST () "/" "{root}INBOX"'.encode()]


async def test_subscriptions_are_ones_own_and_special_uses_the_owners() -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        await share(server, "lr", "Sent")
        name = '"Other Users/anna@example.test/Sent"'
        await imap.ok(f"SUBSCRIBE {name}")
        (line,) = (await imap.ok('LIST (SUBSCRIBED) "" "Other*" RETURN (SPECIAL-USE)')).only("LIST")
        assert line == f'* LIST (\\HasNoChildren \\Subscribed) "/" {name}'.encode()
        async with server.client("anna") as owner:
            subscribed = (await owner.ok('LIST (SUBSCRIBED) "" "*"')).untagged
            assert not any(b"Other" in line for line in subscribed)
        await share(server, "", "Sent")
        (line,) = (await imap.ok('LIST (SUBSCRIBED) "" "Other*"')).only("LIST")
        assert b"\\NonExistent" in line
        await imap.ok(f"UNSUBSCRIBE {name}")
        assert (await imap.ok('LIST (SUBSCRIBED) "" "Other*"')).untagged == ()


async def test_an_own_mailbox_of_such_a_name_is_not_hidden() -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        await share(server, "lr")
        own = await server.store.open_account(BEN)
        await own.create("Other Users/anna@example.test/Team")
        await own.create("Other Users/holiday")
        await server.deliver(b"mine", account=BEN, mailbox="Other Users/anna@example.test/Team")
        assert (await imap.ok(f"STATUS {TEAM} (MESSAGES)")).untagged[0].endswith(b"(MESSAGES 1)")
        assert await listed(imap) == [
            "Other Users", "Other Users/anna@example.test", "Other Users/anna@example.test/Team", "Other Users/holiday",
        ]  # fmt: skip
        assert (await imap.command('CREATE "Other Users/new"')).code("NOPERM") == ""
        await imap.ok('RENAME "Other Users/holiday" Holiday')
        await imap.ok(f"DELETE {TEAM}")
        assert (await imap.ok(f"STATUS {TEAM} (MESSAGES)")).untagged[0].endswith(b"(MESSAGES 0)")


async def test_another_separator_a_prefix_and_other_names() -> None:
    settings = {"separator": ".", "namespace_prefix": "INBOX.", "other_users_prefix": "users"}
    async with ImapHarness(imap=settings) as server, server.client("ben") as imap:
        await share(server, "lrk", "Team/2026.1")
        name = "users.anna@example/test.Team.2026/1"
        assert (await imap.ok("NAMESPACE")).untagged == (b'* NAMESPACE (("INBOX." ".")) (("users." ".")) NIL',)
        assert await listed(imap, '"users.*"') == [name]
        await imap.ok(f'SELECT "{name}"')
        await imap.ok(f'CREATE "{name}.sub"')
        account = await server.store.open_account(ANNA)
        assert (await account.find("Team/2026.1/sub")).selectable
        own = await server.store.open_account(BEN)
        await own.create("users/anna@example.test/Team/2026.1")
        await imap.ok('STATUS "INBOX.users.anna@example/test.Team.2026/1" (MESSAGES)')
        assert (await imap.command('CREATE "INBOX.users.new"')).status == "OK"


async def test_shared_accounts_have_a_namespace_of_their_own() -> None:
    settings = {"shared_accounts": ["Anna@Example.test"]}
    async with ImapHarness(imap=settings) as server, server.client("ben") as imap:
        await share(server, "lr")
        expected = b'* NAMESPACE (("" "/")) (("Other Users/" "/")) (("Shared/" "/"))'
        assert (await imap.ok("NAMESPACE")).untagged == (expected,)
        assert await listed(imap) == []
        assert await listed(imap, '"Shared/*"') == ["Shared/anna@example.test/Team"]
        await imap.ok('SELECT "Shared/anna@example.test/Team"')
        assert (await imap.command(f"SELECT {TEAM}")).code("NONEXISTENT") == ""


async def test_namespaces_can_be_switched_off() -> None:
    async with ImapHarness(imap={"other_users_prefix": ""}) as server, server.client("ben") as imap:
        await share(server, "lr")
        assert (await imap.ok("NAMESPACE")).untagged == (b'* NAMESPACE (("" "/")) NIL NIL',)
        assert await listed(imap, "*") == [name for name in await listed(imap, "*") if "@" not in name]
        assert (await imap.command(f"SELECT {TEAM}")).code("NONEXISTENT") == ""
        await imap.ok(f"CREATE {TEAM}")


@pytest.mark.parametrize(
    "settings",
    [
        {"other_users_prefix": "a/b"},
        {"other_users_prefix": "a.b"},
        {"shared_prefix": "*"},
        {"shared_prefix": " x"},
        {"shared_prefix": "ä"},
        {"shared_prefix": "x" * 65},
        {"shared_prefix": "other users"},
        {"shared_accounts": ["office"]},
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ImapSettings(**settings)


_PART = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/"), min_size=1, max_size=5)


@given(
    st.sampled_from(("/", ".")),
    st.builds("{}@{}.test".format, st.text("ab./é", min_size=1, max_size=5), st.text("ab", min_size=1, max_size=3)),
    st.lists(_PART, min_size=1, max_size=3).map("/".join),
    st.booleans(),
)
def test_a_name_leads_back_to_what_it_was_made_of(separator: str, address: str, name: str, shared: bool) -> None:
    owner = AccountId(address)
    space = Namespaces(Layout("", separator), "Other Users", "Shared", [owner] if shared else ["x@y.test"])
    path = space.path_of(owner, name)
    assert path is not None
    shown = space.shown(path)
    assert space.path(shown) == path
    assert space.parse(path) == (owner, name)
    assert space.may_match(shown)
    assert space.may_match("*")


@given(st.text(), st.sampled_from(("/", ".")))
def test_any_text_is_somebodys_or_nobodys(text: str, separator: str) -> None:
    space = Namespaces(Layout("", separator), "Other Users", "Shared", ["a@b.test"])
    path = space.path("Other Users" + separator + text)
    assert path is not None
    found = space.parse(path)
    assert found is None or "@" in found[0]


# Rights and accounts that go


async def test_rights_that_are_taken_away_end_what_is_going_on(server: ImapHarness) -> None:
    async with server.client("ben") as idle, server.client("ben") as busy, server.client("ben") as elsewhere:
        await share(server, ALL)
        await server.deliver(b"one", mailbox="Team")
        for imap in (idle, busy):
            await imap.ok(f"SELECT {TEAM}")
        idle.writer.write(b"i IDLE\r\n")
        assert (await idle.response_line()).startswith(b"+")
        await share(server, ALL.replace("r", ""))
        assert await idle.response_line() == b"* BYE You may not read the selected mailbox any more"
        # nothing of the mailbox goes out, not even what came before the command
        await server.deliver(b"two", mailbox="Team")
        busy.writer.write(b"f FETCH 1 BODY[]\r\n")
        assert await busy.response_line() == b"* BYE You may not read the selected mailbox any more"
        with pytest.raises(Closed):
            await busy.response_line()
        assert (await elsewhere.command(f"SELECT {TEAM}")).code("NOPERM") == ""


async def test_an_account_that_goes_takes_its_shares_along(server: ImapHarness) -> None:
    async with server.client("ben") as imap:
        await share(server, ALL)
        await imap.ok(f"SELECT {TEAM}")
        await server.store.remove_account(ANNA)
        assert (await _bye(imap)).startswith(b"* BYE")
    async with server.client("ben") as imap:
        assert await listed(imap) == []


async def _bye(imap: AsyncImap) -> bytes:
    imap.writer.write(b"n NOOP\r\n")
    while not (line := await imap.response_line()).startswith(b"* BYE"):
        assert not line.startswith(b"n "), line
    return line


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[SqliteDirectory]:
    known = SqliteDirectory(tmp_path / "accounts.db", {"example.test": DomainSettings()})
    for name in ("anna", "ben"):
        address = EmailAddress.parse(f"{name}@example.test")
        await known.add_account(Account(account=AccountId(address.key), address=address))
    yield known
    known.close()


async def test_rights_are_for_those_who_are_there(directory: SqliteDirectory) -> None:
    async with ImapHarness(directory=directory) as server, server.client("anna") as imap:
        for identifier in ("cleo@example.test", "@elsewhere.test", "-cleo@example.test"):
            assert (await imap.command(f"SETACL INBOX {identifier} lr")).code("NOPERM") == ""
        for identifier in ("ben@example.test", "@example.test", "-ben@example.test", "anyone"):
            await imap.ok(f"SETACL INBOX {identifier} lr")
        # What is no more can still be taken out.
        account = await server.store.open_account(ANNA)
        await account.grant("INBOX", "gone@example.test", RightsChange.REPLACE, ALL_RIGHTS)
        await imap.ok("SETACL INBOX gone@example.test -lr")
        await imap.ok("DELETEACL INBOX gone@example.test")


async def test_a_disabled_owner_is_nobody(directory: SqliteDirectory) -> None:
    async with ImapHarness(directory=directory) as server:
        directory.watch(server.login.credentials_changed)
        await share(server, ALL)
        async with server.client("ben") as imap:
            await imap.ok(f"SELECT {TEAM}")
            anna = directory.account(ANNA)
            assert anna is not None
            await directory.update_account(Account(account=ANNA, address=anna.address, enabled=False))
            assert (await imap.response_line()).startswith(b"* BYE")
        async with server.client("ben") as imap:
            assert await listed(imap) == []
            assert (await imap.command(f"SELECT {TEAM}")).code("NONEXISTENT") == ""


async def test_anyone_can_be_switched_off() -> None:
    async with ImapHarness(imap={"anyone": False}) as server, server.client("ben") as imap:
        await share(server, "lr", who="anyone")
        assert await listed(imap) == []
        assert (await imap.command(f"SELECT {TEAM}")).code("NONEXISTENT") == ""
        await share(server, "lra")
        assert (await imap.command(f"SETACL {TEAM} anyone lr")).code("NOPERM") == ""
        await imap.ok(f"DELETEACL {TEAM} anyone")


async def test_a_guest_who_may_administer(server: ImapHarness) -> None:
    async with server.client("ben") as imap:
        await share(server, "lra")
        await imap.ok(f"SETACL {TEAM} cleo@example.test lr")
        assert (await imap.command(f"SETACL {TEAM} anna@example.test l")).code("CANNOT") == ""
        (line,) = (await imap.ok(f"GETACL {TEAM}")).untagged
        assert line == (
            f"* ACL {TEAM} anna@example.test lrswipkxteacd ben@example.test lra cleo@example.test lr".encode()
        )
        await imap.ok(f"SELECT {TEAM}")
        # Pipelined, in order (RFC 4314 §5.1.1); whoever takes `r` from himself is told that, and goes.
        imap.writer.write(f"a SETACL {TEAM} ben@example.test l\r\nb MYRIGHTS {TEAM}\r\n".encode())
        assert await imap.response_line() == b"a OK SETACL completed"
        assert (await imap.response_line()).startswith(b"* BYE")
    async with server.client("cleo") as imap:
        await imap.ok(f"SELECT {TEAM}")


async def test_renaming_anothers_inbox_takes_the_rights_to_empty_it() -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        await share(server, "lrxi", "INBOX")
        await share(server, "lrk", "Team")
        await server.deliver(b"one")
        inbox, new = '"Other Users/anna@example.test/INBOX"', TEAM.replace("Team", "Team/Old")
        assert (await imap.command(f"RENAME {inbox} {new}")).code("NOPERM") == ""
        await share(server, "lrxte", "INBOX")
        await imap.ok(f"RENAME {inbox} {new}")
        assert (await imap.ok(f"STATUS {new} (MESSAGES)")).untagged[0].endswith(b"(MESSAGES 1)")


async def test_the_quota_is_the_owners(server: ImapHarness) -> None:
    async with server.client("ben") as imap:
        await share(server, ALL)
        await (await server.store.open_account(ANNA)).set_quota(0, 1)
        await (await server.store.open_account(BEN)).set_quota(1, 0)
        await server.deliver(b"one", mailbox="Team")
        assert (await imap.command(f"APPEND {TEAM} {{3+}}\r\nabc")).code("OVERQUOTA") == ""
        await imap.ok(f"SELECT {TEAM}")
        assert (await imap.command("COPY 1 INBOX")).code("OVERQUOTA") == ""
        await imap.ok("STORE 1 +FLAGS (\\Deleted)")
        await imap.ok("EXPUNGE")
        await imap.ok(f"APPEND {TEAM} {{3+}}\r\nabc")
        assert (await imap.ok(f"GETQUOTAROOT {TEAM}")).untagged == (f"* QUOTAROOT {TEAM}".encode(),)
        await share(server, "", who="nobody@example.test")


async def test_a_share_of_no_rights_is_none() -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        account = await server.store.open_account(ANNA)
        await account.grant("INBOX", BEN, RightsChange.REPLACE, NO_RIGHTS)
        assert await listed(imap) == []


async def test_rename_needs_k_where_it_goes() -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        await share(server, "lrx", "Team")
        await share(server, ALL.replace("k", ""), "Elsewhere")
        for new in ("Elsewhere/Team", "Top"):
            line = f'RENAME {TEAM} "Other Users/anna@example.test/{new}"'
            assert (await imap.command(line)).code("NOPERM") == ""
        await share(server, "k", "Elsewhere")
        await imap.ok(f'RENAME {TEAM} "Other Users/anna@example.test/Elsewhere/Team"')
        assert await listed(imap) == ["Other Users/anna@example.test/Elsewhere/Team"]


async def test_a_guest_gives_no_special_use() -> None:
    """It would be taken from the owner's own mailbox of that use (RFC 6154 §3)."""
    async with ImapHarness() as server, server.client("ben") as imap:
        await share(server, "lrk")
        refused = await imap.command(f'CREATE {TEAM.replace("Team", "Team/Sent")} (USE (\\Sent))')
        assert (refused.status, refused.code("USEATTR")) == ("NO", "")
        account = await server.store.open_account(ANNA)
        assert (await account.find("Sent")).special_use


async def test_list_is_bounded_whoever_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_MOST_SHARERS", 2)
    monkeypatch.setattr(reach, "_MOST_SHARED", 3)
    async with ImapHarness() as server, server.client("ben") as imap:
        for number in range(4):
            account = await server.store.open_account(AccountId(f"user{number}@example.test"))
            for name in ("INBOX", "Sent"):
                await account.grant(name, "anyone", RightsChange.REPLACE, parse_rights("lr"))
        assert len(await listed(imap)) == 3
        monkeypatch.setattr(reach, "_MOST_SHARED", 30)
        assert len(await listed(imap)) == 4
        await imap.ok('SELECT "Other Users/user3@example.test/Sent"')


async def test_a_right_that_goes_while_a_message_comes_in() -> None:
    async with ImapHarness() as server, server.client("ben") as imap:
        await share(server, "lri")
        imap.writer.write(f"a APPEND {TEAM} {{3}}\r\n".encode())
        assert (await imap.response_line()).startswith(b"+")
        await share(server, "lr")
        imap.writer.write(b"abc\r\n")
        assert (await imap.response_line()).startswith(b"a NO [NOPERM]")
        assert (await imap.ok(f"STATUS {TEAM} (MESSAGES)")).untagged[0].endswith(b"(MESSAGES 0)")


async def test_who_only_drops_mail_learns_no_uids() -> None:
    """RFC 9051 §6.3.12, §6.4.7: they would tell how much others put there."""
    async with ImapHarness() as server, server.client("ben") as imap:
        await server.deliver(b"one", b"two", b"three", account=BEN)
        commands = [f"{line} {TEAM}" for line in ("COPY 1", "MOVE 1")]
        commands += [f"{line} {TEAM} {{3+}}\r\nabc" for line in ("APPEND", "REPLACE 1")]
        for rights, told in (("i", False), ("il", False), ("ir", True)):
            await share(server, rights)
            await imap.ok("SELECT INBOX")
            await imap.ok("APPEND INBOX {3+}\r\nabc")
            for command in commands:
                await imap.ok("APPEND INBOX {3+}\r\nabc")
                response = await imap.ok(command)
                codes = [response.code(name) for name in ("APPENDUID", "COPYUID") if response.code(name) is not None]
                assert bool(codes) is told, (rights, command, response)
