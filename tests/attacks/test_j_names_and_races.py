"""ATTACKS J01–J03, J05, J06 and I12, I13, I17 through real sockets; J04 and J09 are tests/stress."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailserver.storage.maildir import account as maildir_account
from tests.helpers.imap import AsyncImap
from tests.helpers.imap_service import ImapHarness
from tests.helpers.maildir import open_store

MESSAGES = tuple(b"Subject: %d\r\n\r\nbody of %d\r\n" % (number, number) for number in range(1, 5))
#: Names that are attacks, as a client can write them: quoted, or a literal.
NAMES = (
    b'"../x"', b'"a/../../x"', b'"/etc"', b'"~root"', b'"a//b"', b'"."', b'".."', b'"cur"', b'"new"', b'"tmp"',
    b'"a/./b"', b'"..x"', b'"..gone.1"', b'"..making.1"', b'"INBOX/cur"', b'"mailserver-folder"', b'"index.db"',
    b'"a.b"', b'"a%2e"', b"{3+}\r\na\nb", b'"%b"' % (b"x" * 300), b'"%b"' % (b"x/" * 150 + b"y"),
    b'"&AC8-"', b'"&AC4ALg-"', b'"&AC4ALgAv-x"', b'"&AGE-"', b'"&AOk"', b'"&2AA-"', b'"a&"',
)  # fmt: skip


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ImapHarness]:
    async with open_store(tmp_path / "data" / "maildir") as store, ImapHarness(store=store) as running:
        yield running


async def _status(imap: AsyncImap, command: bytes) -> str:
    """Of one command of any octets."""
    imap.writer.write(b"n " + command + b"\r\n")
    while not (line := await imap.response_line()).startswith(b"n "):
        pass
    return line.split()[1].decode()


def _outside(root: Path) -> set[str]:
    """All that is not in the account's own directories: one level of folders, whose names begin with a dot."""
    account = root / "data" / "maildir" / "example.test" / "anna"
    found = {str(path) for path in root.rglob("*") if account not in path.parents and path != account}
    found |= {str(path) for path in account.iterdir() if not path.name.startswith(".")}
    for folder in (account, *account.glob(".*")):
        found |= {str(path) for path in folder.rglob("*") if path.is_dir() and path.name not in ("cur", "new", "tmp")
                  and path.parent != account}  # fmt: skip
    return {path for path in found if "/.server/" not in path}


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.decode("latin-1")[:20])
async def test_j01_j02_hostile_names_stay_in_their_place(tmp_path: Path, name: bytes) -> None:
    seen = []
    for commands in (
        [b"SELECT INBOX"],
        [b"CREATE %b", b"SUBSCRIBE %b", b"STATUS %b (MESSAGES)", b"RENAME Archive %b", b"RENAME %b Archive",
         b"APPEND %b {1+}\r\nx", b"DELETE %b"],
    ):  # fmt: skip
        async with (
            open_store(tmp_path / "data" / "maildir") as store,
            ImapHarness(store=store) as server,
            server.client() as imap,
        ):
            for command in commands:
                assert await _status(imap, command.replace(b"%b", name)) in ("OK", "NO", "BAD")
            await imap.ok('LIST "" *')
        # All is still now: what was deleted is away.
        seen.append(_outside(tmp_path))
    assert seen[1] <= seen[0]


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc", "~root", "a//b", ".", "..", "x" * 300, "&AC8-", "&AC4ALg-", "&AGE-", "&AOk", "&2AA-"],
)
async def test_j01_j02_what_is_no_name_is_refused(server: ImapHarness, name: str) -> None:
    async with server.client() as imap:
        answer = await imap.command(f'CREATE "{name}"')
        assert answer.status == "BAD" or (answer.status == "NO" and len(answer.text.partition("] ")[2]) > 5)


async def test_j03_names_that_look_alike(server: ImapHarness) -> None:
    """Octet for octet: what differs in Unicode is another mailbox, and INBOX alone is one in any case."""
    names = ["é", "e\u0301", "a\u202eb", "ab"]
    async with server.client(enable="IMAP4rev2") as imap:
        for name in names:
            await imap.ok(f'CREATE "{name}"')
            assert (await imap.command(f'CREATE "{name}"')).code("ALREADYEXISTS") == ""
        listed = b"\n".join((await imap.ok('LIST "" *')).untagged).decode()
        assert all(f'"{name}"' in listed for name in names)
        assert (await imap.command('CREATE "x "')).status == "NO"
        assert (await imap.command("CREATE iNbOx")).status == "NO"
        await imap.ok("CREATE inbox/x")
        assert (await imap.command("CREATE INBOX/x")).code("ALREADYEXISTS") == ""


async def test_j05_numbers_mean_what_they_meant(server: ImapHarness) -> None:
    await server.deliver(*MESSAGES)
    async with server.client(select="INBOX") as one, server.client(select="INBOX") as two:
        await two.ok("STORE 1 +FLAGS (\\Deleted)")
        await two.ok("EXPUNGE")
        for items in ("BODY.PEEK[]", "BODY.PEEK[TEXT]", "BODY.PEEK[]<0.30>", "ENVELOPE"):
            (line,) = (await one.ok(f"FETCH 2 ({items} UID)")).only("FETCH")
            assert line.startswith(b"* 2 ") and b"UID 2)" in line and b"body of 1" not in line
        assert (await one.command("FETCH 1 BODY.PEEK[]")).code("EXPUNGEISSUED") == ""
        await one.ok("STORE 2 +FLAGS.SILENT (\\Flagged)")
        assert (await two.ok("UID SEARCH FLAGGED")).only("SEARCH") == [b"* SEARCH 2"]


async def test_j06_of_two_conditional_stores_one_wins(server: ImapHarness) -> None:
    await server.deliver(*MESSAGES)
    async with server.client(select="INBOX") as one, server.client(select="INBOX") as two:
        match = re.search(rb"MODSEQ \((\d+)\)", (await one.ok("FETCH 1 (MODSEQ)")).untagged[-1])
        assert match is not None
        modseq = int(match[1])
        command = f"STORE 1 (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT "
        answers = await asyncio.gather(one.ok(command + "(a)"), two.ok(command + "(b)"))
        assert sorted(answer.code("MODIFIED") or "" for answer in answers) == ["", "1"]
        flags = (await one.ok("UID FETCH 1 (FLAGS MODSEQ)")).only("FETCH")[-1]
        assert (b"FLAGS (a)" in flags) != (b"FLAGS (b)" in flags)
        changed = re.search(rb"MODSEQ \((\d+)\)", flags)
        assert changed is not None and int(changed[1]) > modseq


async def test_i13_store_and_expunge_at_once(server: ImapHarness) -> None:
    await server.deliver(*MESSAGES)
    async with server.client(select="INBOX") as imap:
        imap.writer.write(
            b"a STORE 1,3 +FLAGS.SILENT (\\Deleted)\r\nb EXPUNGE\r\nc UID SEARCH ALL\r\n"
            b"d STORE 1 +FLAGS.SILENT (\\Seen)\r\ne UID SEARCH SEEN\r\n"
        )
        lines = [await imap.response_line() for _ in range(9)]
    shown = [line.split(b" ")[0] if not line.startswith(b"*") else line for line in lines]
    assert shown == [
        b"a", b"* 3 EXPUNGE", b"* 1 EXPUNGE", b"b", b"* SEARCH 2 4", b"c", b"d", b"* SEARCH 2", b"e",
    ]  # fmt: skip


@pytest.mark.parametrize("junk", [b"NOOP", b"x NOOP", b"", b"done now", b"\0", b"{10+}"])
async def test_i13_junk_in_idle(server: ImapHarness, junk: bytes) -> None:
    """It ends the IDLE with BAD, and the commands after it are in step."""
    async with server.client(select="INBOX") as imap:
        imap.writer.write(b"i IDLE\r\n")
        assert (await imap.response_line()).startswith(b"+")
        imap.writer.write(junk + b"\r\n")
        assert (await imap.response_line()).startswith(b"i BAD")
        await imap.ok("NOOP")


@pytest.mark.parametrize(
    ("arguments", "answers"),
    [
        (b"{0}", (b"BAD", b"NO", b"+")),
        (b"{4294967296}", (b"NO [TOOBIG]", b"BAD")),
        (b'(\\Bogus) {1}', (b"BAD",)),
        (b'(a"b) {1}', (b"BAD",)),
        (b'"31-Foo-2026 00:00:00 +0000" {1}', (b"BAD",)),
        (b'"31-Feb-2026 00:00:00 +0000" {1}', (b"BAD",)),
        (b'" 1-Jan-2026 25:00:00 +0000" {1}', (b"BAD",)),
    ],
)
async def test_i12_arguments_that_are_wrong(server: ImapHarness, arguments: bytes, answers: tuple[bytes, ...]) -> None:
    async with server.client() as imap:
        imap.writer.write(b"a APPEND INBOX " + arguments + b"\r\n")
        line = await imap.response_line()
        assert line.removeprefix(b"a ").startswith(answers), line
        if line.startswith(b"+"):
            imap.writer.write(b"\r\n")
            assert (await imap.response_line()).startswith((b"a NO", b"a OK", b"a BAD"))
        await imap.ok("NOOP")


async def test_i17_more_keywords_than_a_mailbox_has(server: ImapHarness) -> None:
    await server.deliver(MESSAGES[0])
    async with server.client(select="INBOX") as imap:
        answers = []
        for start in range(0, 2_000, 200):
            words = " ".join(f"k{number}" for number in range(start, start + 200))
            answers.append(await imap.command(f"STORE 1 +FLAGS.SILENT ({words})"))
        assert answers[0].status == "OK" and answers[-1].status == "NO" and answers[-1].code("LIMIT") == ""
        # What is known already may still be used.
        await imap.ok("STORE 1 -FLAGS.SILENT (k1)")
        await imap.ok("STORE 1 +FLAGS.SILENT (k1)")


async def test_i17_more_subscriptions_than_an_account_has(server: ImapHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maildir_account, "MAX_SUBSCRIPTIONS", 20)
    async with server.client() as imap:
        answers = [await imap.command(f"SUBSCRIBE none{number}") for number in range(25)]
        assert answers[0].status == "OK" and answers[-1].status == "NO" and answers[-1].code("LIMIT") == ""
        await imap.ok("UNSUBSCRIBE none0")
        await imap.ok("SUBSCRIBE none24")
