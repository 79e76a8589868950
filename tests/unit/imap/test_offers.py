"""Capabilities that are switched off: for all, for an account, for a mail program; what belongs to them is refused."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from mailserver.hooks.imap import ImapCommand, ImapContext, ImapReply
from mailserver.hooks.registry import Contribution
from mailserver.imap.capabilities.offers import Offers, is_off
from mailserver.imap.settings import ImapSettings
from tests.helpers.imap import AsyncImap
from tests.helpers.imap_service import ANNA, PASSWORD, ImapHarness

MESSAGE = b"Subject: x\r\n\r\n"


@pytest.mark.parametrize(
    ("off", "capability", "expected"),
    [
        ("IDLE", "IDLE", True),
        ("IDLE", "MOVE", False),
        ("COMPRESS", "COMPRESS=DEFLATE", True),
        ("COMPRESS=DEFLATE", "COMPRESS=DEFLATE", True),
        ("CONDSTORE", "QRESYNC", True),
        ("QRESYNC", "CONDSTORE", False),
        ("SORT", "CONTEXT=SORT", True),
        ("THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT", False),
    ],
)
def test_a_name_takes_with_it_what_stands_on_it(off: str, capability: str, expected: bool) -> None:
    assert is_off(capability, {off}) is expected


@pytest.mark.parametrize(
    ("key", "name", "version", "expected"),
    [
        ("client:Foo Mail", "foo mail", "", True),
        ("CLIENT: Foo*", "Foobar", "", True),
        ("client:Foo/2.*", "Foo", "2.1", True),
        ("client:Foo/2.*", "Foo", "3.2.1", False),
        ("client:Foo", "Foobar", "", False),
        ("client:F?o", "Foo", "", True),
        ("client:[F]oo", "Foo", "", False),
        ("client:[F]oo", "[F]oo", "", True),
        ("client:*", "", "", False),
        ("anna@example.test", "", "", True),
        ("*@example.test", "", "", True),
        ("*@other.test", "", "", False),
    ],
)
def test_whom_a_key_means(key: str, name: str, version: str, expected: bool) -> None:
    off = Offers((), {key: ["idle"]}).off(ANNA, name, version)
    assert ("IDLE" in off) is expected


@pytest.mark.parametrize("table", [{"anna": ["IDLE"]}, {"client:": ["IDLE"]}, {"a@b.test": ["I DLE"]}])
def test_settings_that_mean_nobody_or_nothing(table: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError):
        ImapSettings(disabled_for=table)


async def announced(imap: AsyncImap) -> list[str]:
    return (await imap.ok("CAPABILITY")).untagged[0].decode().split()[2:]


async def test_switched_off_for_an_account() -> None:
    async with ImapHarness(imap={"disabled_for": {"ANNA@example.test": ["MOVE"]}}) as server:
        await server.deliver(MESSAGE)
        async with server.client(None) as anna, server.client("ben", select="INBOX") as ben:
            answer = await anna.ok(f'LOGIN anna "{PASSWORD}"')
            assert "MOVE" not in (answer.code("CAPABILITY") or "MOVE").split()
            await anna.ok("SELECT INBOX")
            assert "MOVE is not offered" in (await anna.command("MOVE 1 Trash")).text
            assert "MOVE" in await announced(ben)
            assert (await ben.command("UID MOVE 1 Trash")).status == "OK"


async def test_switched_off_for_a_mail_program() -> None:
    async with ImapHarness(imap={"disabled_for": {"client:Foo*": ["CONDSTORE", "IDLE"]}}) as server:
        async with server.client() as imap:
            assert "IDLE" in await announced(imap)
            (line, _) = (await imap.ok('ID ("Name" "foo mail" "version" "1")')).untagged
            assert line.startswith(b"* CAPABILITY IMAP4rev2") and b"IDLE" not in line and b"QRESYNC" not in line
            assert (await imap.command("IDLE")).status == "BAD"
            assert len((await imap.ok('ID ("name" "foo mail")')).untagged) == 1
        # Before login, what is told with the login is right already.
        async with server.client(None) as imap:
            assert len((await imap.ok('ID ("name" "Foo")')).untagged) == 2
            assert "IDLE" not in ((await imap.ok(f'LOGIN anna "{PASSWORD}"')).code("CAPABILITY") or "IDLE").split()
            assert "CONDSTORE is not offered" in (await imap.command("SELECT INBOX (CONDSTORE)")).text
            assert (await imap.ok("SELECT INBOX")).code("HIGHESTMODSEQ") is None


@pytest.mark.parametrize(
    ("capability", "command"),
    [
        ("BINARY", "FETCH 1 BINARY.SIZE[1]"),
        ("BINARY", "FETCH 1 (FLAGS BINARY.PEEK[1])"),
        ("BINARY", "APPEND INBOX ~{3+}\r\na\0b"),
        ("UTF8=ACCEPT", "APPEND INBOX UTF8 (~{3+}\r\nabc)"),
        ("CONDSTORE", "FETCH 1 MODSEQ"),
        ("CONDSTORE", "FETCH 1 FLAGS (CHANGEDSINCE 1)"),
        ("CONDSTORE", "STORE 1 (UNCHANGEDSINCE 1) +FLAGS (x)"),
        ("CONDSTORE", "SEARCH OR SEEN NOT (ALL MODSEQ 1)"),
        ("CONDSTORE", "STATUS INBOX (MESSAGES HIGHESTMODSEQ)"),
        ("CONDSTORE", "EXAMINE INBOX (CONDSTORE)"),
        ("QRESYNC", "EXAMINE INBOX (QRESYNC (1 1))"),
        ("QRESYNC", "UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)"),
        ("ESEARCH", "SEARCH RETURN (COUNT) ALL"),
        ("ESEARCH", "SEARCH RETURN (SAVE) ALL"),
        ("SEARCHRES", "SEARCH RETURN (SAVE) ALL"),
        ("SEARCHRES", "FETCH $ FLAGS"),
        ("SEARCHRES", "SEARCH NOT $"),
        ("SPECIAL-USE", 'LIST (SPECIAL-USE) "" *'),
        ("SPECIAL-USE", 'LIST "" * RETURN (SPECIAL-USE)'),
        ("SPECIAL-USE", "CREATE x (USE (\\Archive))"),
        ("CREATE-SPECIAL-USE", "CREATE x (USE (\\Archive))"),
        ("STATUS=SIZE", "STATUS INBOX (SIZE)"),
        ("STATUS=SIZE", 'LIST "" * RETURN (STATUS (SIZE))'),
        ("LIST-STATUS", 'LIST "" * RETURN (STATUS (MESSAGES))'),
        ("LIST-EXTENDED", 'LIST "" (a b)'),
        ("CHILDREN", 'LIST "" * RETURN (CHILDREN)'),
        ("APPENDLIMIT", "STATUS INBOX (APPENDLIMIT)"),
        ("QUOTA=RES-STORAGE", "STATUS INBOX (DELETED-STORAGE)"),
        ("QUOTA", "STATUS INBOX (DELETED-STORAGE)"),
        ("QUOTA", 'GETQUOTA ""'),
        ("URLAUTH", "RESETKEY"),
        ("URLAUTH", "URLFETCH x"),
        ("URLAUTH", 'GENURLAUTH "imap://anna%40example.test@x/INBOX/;UID=1;URLAUTH=authuser" INTERNAL'),
        ("CATENATE", "APPEND INBOX CATENATE (TEXT {3+}\r\nabc)"),
        ("METADATA", "GETMETADATA INBOX /private/comment"),
        ("METADATA", "SETMETADATA INBOX (/private/comment NIL)"),
        ("METADATA", 'LIST "" "" RETURN (METADATA (/private/comment))'),
        ("LIST-METADATA", 'LIST "" "" RETURN (METADATA (/private/comment))'),
        ("REPLACE", "REPLACE 1 INBOX {3+}\r\nabc"),
        ("REPLACE", "UID REPLACE 1 INBOX {3+}\r\nabc"),
        ("OBJECTID", "FETCH 1 EMAILID"),
        ("OBJECTID", "FETCH 1 (THREADID)"),
        ("OBJECTID", "SEARCH NOT EMAILID M1"),
        ("OBJECTID", "STATUS INBOX (MAILBOXID)"),
        ("SAVEDATE", "FETCH 1 SAVEDATE"),
        ("SAVEDATE", "SEARCH SAVEDON 1-Jan-2020"),
        ("PREVIEW", "FETCH 1 PREVIEW"),
        ("PREVIEW", "FETCH 1 (FLAGS PREVIEW (LAZY))"),
        ("MULTIAPPEND", "APPEND INBOX {3+}\r\nabc {3+}\r\nabc"),
        ("CATENATE", "APPEND INBOX {3+}\r\nabc CATENATE (TEXT {3+}\r\nabc)"),
        ("BINARY", "APPEND INBOX {3+}\r\nabc ~{3+}\r\nabc"),
    ],
)
async def test_what_belongs_to_it_is_refused(capability: str, command: str) -> None:
    for imap_settings, status in (({"disabled_capabilities": [capability.lower()]}, "BAD"), ({}, "OK")):
        async with ImapHarness(imap=imap_settings) as server:
            await server.deliver(MESSAGE)
            await (await server.store.open_account(ANNA)).set_quota(1 << 30, 0)
            async with server.client(select="INBOX") as imap:
                await imap.ok("ENABLE QRESYNC" if capability == "QRESYNC" else "NOOP")
                answer = await imap.command(command)
                assert answer.status == status, answer
                assert status == "OK" or "not offered here" in answer.text
                # The stream stays in step.
                await imap.ok("NOOP")


async def test_response_codes_and_attributes_of_what_is_switched_off() -> None:
    async with (
        ImapHarness(imap={"disabled_capabilities": ["UIDPLUS", "SPECIAL-USE"]}) as server,
        server.client(select="INBOX") as imap,
    ):
        assert (await imap.ok("APPEND INBOX {14+}\r\nSubject: x\r\n\r\n")).code("APPENDUID") is None
        assert (await imap.ok("COPY 1 Archive")).code("COPYUID") is None
        assert (await imap.ok("MOVE 1 Archive")).code("COPYUID") is None
        assert (await imap.ok('LIST "" Sent')).untagged == (b'* LIST (\\HasNoChildren) "/" "Sent"',)


@pytest.mark.parametrize("off", ["AUTH=PLAIN", "AUTH"])
async def test_a_mechanism_that_was_switched_off(off: str) -> None:
    async with ImapHarness(imap={"disabled_capabilities": [off]}) as server, server.client(None) as imap:
        assert "AUTH=PLAIN" not in await announced(imap)
        assert "AUTH=PLAIN is not offered" in (await imap.command("AUTHENTICATE PLAIN AGFubmEAeA==")).text
        await imap.ok(f'LOGIN anna "{PASSWORD}"')


async def test_initial_responses_that_were_switched_off() -> None:
    async with ImapHarness(imap={"disabled_capabilities": ["SASL-IR"]}) as server, server.client(None) as imap:
        assert "SASL-IR is not offered" in (await imap.command("AUTHENTICATE PLAIN AGFubmEAeA==")).text


async def test_the_command_of_a_plugin_goes_with_its_capability() -> None:
    async def shout(context: ImapContext) -> AsyncIterator[bytes | ImapReply]:
        yield ImapReply("OK", "hey")

    contributed = [Contribution("shouter", "XSHOUT", (ImapCommand(run=shout), ("XSHOUT",)))]
    table = {"anna@example.test": ["XSHOUT"]}
    async with (
        ImapHarness(contributed=contributed, imap={"disabled_for": table}) as server,
        server.client() as anna,
        server.client("ben") as ben,
    ):
        assert "XSHOUT" not in await announced(anna)
        assert (await anna.command("XSHOUT")).status == "BAD"
        await ben.ok("XSHOUT")


async def test_what_is_announced_is_documented() -> None:
    """Each name stands in the table of docs/imap.md."""
    text = (Path(__file__).parents[3] / "docs" / "imap.md").read_text("utf-8")
    table = set(re.findall(r"[A-Z][A-Za-z0-9=+-]+", text[text.index("\n| about |") : text.index("\nCAPABILITY is")]))
    settings = {"quota_administrators": [ANNA], "jmap_url": "https://mail.example.test/jmap", "message_limit": 1000}
    async with ImapHarness(imap=settings) as server, AsyncImap(server.port()) as imap:
        announced = imap.greeting.decode().partition("[CAPABILITY ")[2].partition("]")[0].split()
        await imap.ok(f'LOGIN anna "{PASSWORD}"')
        announced += (await imap.ok("CAPABILITY")).untagged[0].decode().split()[2:]
    assert "QUOTASET" in announced
    names = {re.sub(r"(APPENDLIMIT|MESSAGELIMIT)=.*", r"\1", name) for name in announced}
    assert names - table <= {"IMAP4rev1", "IMAP4rev2"}
