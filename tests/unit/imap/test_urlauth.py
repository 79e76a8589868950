"""URLAUTH over a socket, on both stores: who may read what by which URL, and until when (RFC 4467)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailserver.ports.clock import SystemClock
from mailserver.storage.maildir.store import MaildirStore
from mailserver.storage.memory import MemoryStore
from mailserver.storage.settings import StorageSettings
from tests.helpers.imap import AsyncImap
from tests.helpers.imap_service import ImapHarness

MESSAGE = (
    b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\nfirst part\r\n--b\r\n\r\nsecond\0\r\n--b--\r\n"
)
ANNA = "imap://anna%40example.test@mail.example.test"


@pytest.fixture(params=["memory", "maildir"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ImapHarness]:
    async with _served(request.param, tmp_path) as harness:
        await harness.deliver(MESSAGE, b"another\r\n")
        yield harness


@asynccontextmanager
async def _served(kind: str, path: Path) -> AsyncIterator[ImapHarness]:
    settings = {"submission_accounts": ["cleo@example.test"]}
    if kind == "memory":
        async with ImapHarness(store=MemoryStore(), imap=settings) as harness:
            yield harness
        return
    async with (
        MaildirStore(path, StorageSettings(), "mail.example.test", SystemClock()) as store,
        ImapHarness(store=store, imap=settings) as harness,
    ):
        yield harness


async def authorized(imap: AsyncImap, rump: str) -> str:
    (line,) = (await imap.ok(f'GENURLAUTH "{rump}" internal')).untagged
    url = line.removeprefix(b"* GENURLAUTH ").decode().strip('"')
    assert url.startswith(f"{rump}:internal:") and len(url.rpartition(":")[2]) == 64
    return url


async def fetched(imap: AsyncImap, *urls: str) -> list[bytes | None]:
    (line,) = (await imap.ok("URLFETCH " + " ".join(f'"{url}"' for url in urls))).untagged
    rest, values = line.removeprefix(b"* URLFETCH"), list[bytes | None]()
    for url in urls:
        for piece in (b" ", b'"', url.encode(), b'"', b" "):
            rest = rest.removeprefix(piece)
        if rest.startswith(b"NIL"):
            values.append(None)
            rest = rest[3:]
            continue
        count = int(rest[1 : rest.index(b"}")])
        start = rest.index(b"\n") + 1
        values.append(rest[start : start + count])
        rest = rest[start + count :]
    assert not rest
    return values


async def test_who_may_read(server: ImapHarness) -> None:
    async with server.client("anna") as anna, server.client("ben") as ben, server.client("cleo") as cleo:
        assert (await anna.ok("SELECT INBOX")).code("URLMECH") == "INTERNAL"
        urls = [
            await authorized(anna, f"{ANNA}/INBOX/;uid=1/;section=1;URLAUTH={access}")
            for access in ("anonymous", "authuser", "user+ben%40example.test", "submit+anna")
        ]
        first = b"first part"
        assert await fetched(anna, *urls) == [first, first, None, None]
        assert await fetched(ben, *urls) == [first, first, first, None]
        assert await fetched(cleo, *urls) == [first, first, None, first]
        # Reading leaves no trace, and needs nothing selected.
        (flags,) = (await anna.ok("FETCH 1 FLAGS")).only("FETCH")
        assert b"Seen" not in flags


async def test_what_is_read(server: ImapHarness) -> None:
    async with server.client("anna") as anna:
        whole = await authorized(anna, f"{ANNA}/INBOX/;UID=1;URLAUTH=authuser")
        part = await authorized(anna, f"{ANNA}/INBOX/;UID=1/;SECTION=1/;PARTIAL=6.3;URLAUTH=authuser")
        header = await authorized(anna, f"{ANNA}/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(SUBJECT);URLAUTH=authuser")
        no_part = await authorized(anna, f"{ANNA}/INBOX/;UID=1/;SECTION=7;URLAUTH=authuser")
        no_message = await authorized(anna, f"{ANNA}/INBOX/;UID=77;URLAUTH=authuser")
        other = await authorized(anna, f"{ANNA}/INBOX;UIDVALIDITY=1/;UID=1;URLAUTH=authuser")
        assert await fetched(anna, whole, part, header, no_part, no_message, other) == [
            MESSAGE.replace(b"\0", b"\x80"), b"par", b"Subject: x\r\n\r\n", None, None, None,
        ]  # fmt: skip


async def test_what_is_changed_is_worth_nothing(server: ImapHarness) -> None:
    async with server.client("anna") as anna, server.client("ben") as ben:
        url = await authorized(anna, f"{ANNA}/INBOX/;UID=1;URLAUTH=user+ben%40example.test")
        assert await fetched(ben, url) == [MESSAGE.replace(b"\0", b"\x80")]
        wrong = [
            url.replace("UID=1", "UID=2"), url.replace("/INBOX", "/inbox"), url.replace("/INBOX", "/Sent"),
            url.replace("user+ben%40example.test", "anonymous"), url.replace("anna%40", "zoe%40"),
            url.replace("internal", "XSAMPLE"), url.partition(":internal")[0],
            url[:-1] + ("0" if url[-1] != "0" else "1"), "imap://x", "/INBOX/;UID=1",
        ]  # fmt: skip
        assert await fetched(ben, *wrong) == [None] * len(wrong)


async def test_until_when(server: ImapHarness) -> None:
    async with server.client("anna") as anna:
        past = await authorized(anna, f"{ANNA}/INBOX/;UID=2;EXPIRE=2001-01-01T00:00:00Z;URLAUTH=authuser")
        future = await authorized(anna, f"{ANNA}/INBOX/;UID=2;EXPIRE=2999-12-31T00:00:00.5+01:00;URLAUTH=authuser")
        assert await fetched(anna, past, future) == [None, b"another\r\n"]
        assert (await anna.ok("RESETKEY Sent")).code("URLMECH") == "INTERNAL"
        assert await fetched(anna, future) == [b"another\r\n"]
        await anna.ok("RESETKEY INBOX INTERNAL")
        assert await fetched(anna, future) == [None]
        again = await authorized(anna, f"{ANNA}/INBOX/;UID=2;URLAUTH=authuser")
        await anna.ok("RESETKEY")
        assert await fetched(anna, again) == [None]
        assert (await anna.command("RESETKEY INBOX XSAMPLE")).status == "NO"
        assert (await anna.command("RESETKEY nowhere")).code("NONEXISTENT") == ""


@pytest.mark.parametrize(
    "url",
    [
        f"{ANNA}/INBOX/;UID=1",
        f"{ANNA}/INBOX/;UID=1;URLAUTH=somebody",
        f"{ANNA}/INBOX/;UID=1;URLAUTH=user+",
        f"{ANNA}/INBOX/;UID=1;URLAUTH=authuser+x",
        f"{ANNA}/nowhere/;UID=1;URLAUTH=authuser",
        f"{ANNA}/INBOX;URLAUTH=authuser",
        f"{ANNA}/INBOX/;UID=1;EXPIRE=tomorrow;URLAUTH=authuser",
        f"{ANNA}/INBOX/;UID=1;EXPIRE=2030-01-01T00:00:00;URLAUTH=authuser",
        "imap://mail.example.test/INBOX/;UID=1;URLAUTH=authuser",
        "imap://ben%40example.test@mail.example.test/INBOX/;UID=1;URLAUTH=authuser",
    ],
)
async def test_what_is_not_authorized(url: str) -> None:
    async with ImapHarness() as server, server.client("anna") as anna:
        assert (await anna.command(f'GENURLAUTH "{url}" INTERNAL')).status == "BAD"
        assert (await anna.command(f'GENURLAUTH "{ANNA}/INBOX/;UID=1;URLAUTH=authuser" XSAMPLE')).status == "BAD"
