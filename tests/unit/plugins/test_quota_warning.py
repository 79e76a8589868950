"""quota_warning: users hear in time that their mailbox is nearly full."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.errors import StorageFailure
from mailserver.model.events import Appended, Delivered, Moved, Refused
from mailserver.model.ids import AccountId, QueueId, SessionId
from mailserver.model.numset import NumSet
from mailserver.net.database_thread import database_thread
from mailserver.plugins.quota_warning.database import open_database, warned
from mailserver.plugins.quota_warning.letter import _size
from mailserver.plugins.quota_warning.settings import QuotaWarningSettings
from mailserver.plugins.quota_warning.watching import Watching
from mailserver.ports.store import Target
from tests.helpers.plugins import Server, running

ANNA = AccountId("anna@example.test")
LIMIT = 100_000


class World:
    """`put` puts a message of so many octets into anna's mailbox, and tells it as the server does."""

    def __init__(self, server: Server, watching: Watching) -> None:
        self.server = server
        self.watching = watching

    async def put(self, octets: int, mailbox: str = "INBOX", *, told: bool = True) -> int:
        async with self.server.store.begin() as content:
            await content.write(b"Subject: x\r\n\r\n".ljust(octets, b"x"))
            (stored,) = await self.server.store.commit(content, [Target(account=ANNA, mailbox=mailbox)])
        uid: int = stored.uid  # type: ignore[union-attr]
        if not told:
            return uid
        await self.see(self.watching.delivered(
            Delivered(queue_id=QueueId("q"), account=ANNA, mailbox=mailbox, uid=uid, size=octets)
        ))  # fmt: skip
        return uid

    async def see(self, looked: Awaitable[None] | None) -> bool:
        if looked is not None:
            await looked
        return looked is not None

    async def remove(self, uid: int) -> None:
        account = await self.server.store.open_account(ANNA)
        async with account.open("INBOX") as mailbox:
            await mailbox.expunge([uid])

    async def warnings(self) -> list[str]:
        """Their subjects."""
        return [message["Subject"] for message in await self.letters()]

    async def letters(self) -> list[Any]:
        account = await self.server.store.open_account(ANNA)
        async with account.open("INBOX") as mailbox:
            found = [await mailbox.read(uid) for uid in mailbox.table.uids]
        parsed = [email.message_from_bytes(octets, policy=email.policy.default) for octets in found]
        return [message for message in parsed if message["Auto-Submitted"]]


@asynccontextmanager
async def world(tmp_path: Path, *, octets: int = LIMIT, messages: int = 0, **settings: Any) -> AsyncIterator[World]:
    async with running(tmp_path) as server:
        if server.directory.account(ANNA) is None:
            await server.add(ANNA)
        await server.directory.set_limits(ANNA, octets, messages)
        await (await server.store.open_account(ANNA)).set_quota(octets, messages)
        async with database_thread(tmp_path / "quota_warning.db", open_database) as db:
            watching = Watching(server.host, QuotaWarningSettings(**settings), db, await db.run(warned))
            yield World(server, watching)


async def test_it_is_told_once_when_it_is_nearly_full(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.put(50_000, "Sent")
        await w.put(39_000)
        assert await w.warnings() == []
        await w.put(1_500)
        await w.put(1_500)
        (letter,) = await w.letters()
    assert letter["Subject"] == "Your mailbox is 90 % full"
    assert letter["From"] == "Postmaster <postmaster@example.test>"
    assert letter["To"] == ANNA
    text = letter.get_content()
    for words in ("88 KB of 98 KB", "49 KB  Sent", "40 KB  INBOX", "postmaster@example.test", "less\r\nthan 80 % full"):
        assert words in text, text


async def test_it_is_told_again_after_there_was_room(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        big, small = await w.put(80_000), await w.put(11_000)
        assert len(await w.warnings()) == 1
        await w.remove(small)
        # It went below 90 %, but not far enough.
        await w.put(11_500)
        assert len(await w.warnings()) == 1
        # Nobody tells that messages went: what there was before the next one shows it.
        await w.remove(big)
        await w.put(85_000)
        assert len(await w.warnings()) == 2


async def test_it_is_known_after_a_restart_and_forgotten_with_the_account(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.put(91_000)
        assert len(await w.warnings()) == 1
    async with world(tmp_path) as w:
        await w.put(89_000, told=False)
        await w.put(2_000)
        assert await w.warnings() == []
        await w.server.directory.remove_account(ANNA)
        w.server.clock.advance(60)
        await w.server.add(ANNA, octets_limit=LIMIT)
        await w.put(1_000)
        assert len(await w.warnings()) == 1


async def test_a_full_mailbox_has_room_for_it(tmp_path: Path) -> None:
    """And where nothing came since the limit was set, a sender who was put off is reason enough to look."""
    async with world(tmp_path, octets=0) as w:
        assert not await w.see(w.watching.delivered(
            Delivered(queue_id=QueueId("q"), account=ANNA, mailbox="INBOX", uid=1, size=5)
        ))  # fmt: skip
        await w.put(91_000)
        assert await w.warnings() == []
        await w.server.directory.set_limits(ANNA, 50_000, None)
        await (await w.server.store.open_account(ANNA)).set_quota(50_000, 0)
        for recipient, code, looked in (
            ("anna+x@example.test", 550, False), ("x@example.test", 452, False), ("", 452, False), ("?", 452, False),
            ("Anna+x@example.test", 452, True),
        ):  # fmt: skip
            event = Refused(
                session=SessionId("s"), service="smtp", stage="rcpt", peer="192.0.2.1", sender="", recipient=recipient,
                code=code, reason="",
            )  # fmt: skip
            assert await w.see(w.watching.refused(event)) == looked
        assert await w.warnings() == ["Your mailbox is 182 % full"]


async def test_what_mail_programs_store_counts(tmp_path: Path) -> None:
    async with world(tmp_path, octets=0, messages=10) as w:
        for _ in range(8):
            await w.put(100)
        one = NumSet.from_numbers([1])
        account = await w.server.store.open_account(ANNA)
        async with account.open("INBOX") as mailbox:
            await mailbox.copy([1], "Archive", into=account)
        for moved in (
            Moved(account=ANNA, mailbox="Archive", uids=one, source_account=ANNA, source="INBOX", copied=True),
            Moved(account=ANNA, mailbox="Archive", uids=one, source_account=ANNA, source="INBOX"),
        ):
            assert await w.see(w.watching.moved(moved)) == moved.copied
        assert await w.warnings() == ["Your mailbox is 90 % full"]
        assert "9 of 10 messages" in (await w.letters())[0].get_content()
        assert await w.see(w.watching.appended(Appended(account=ANNA, mailbox="INBOX", uids=one, octets=5)))


@pytest.mark.parametrize("error", [StorageFailure("the disk is full"), ZeroDivisionError(), asyncio.CancelledError()])
async def test_a_warning_that_could_not_be_written_comes_with_the_next_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    async with world(tmp_path) as w:
        with monkeypatch.context() as patch:

            def fails(*arguments: object, **more: object) -> Any:
                raise error

            patch.setattr("mailserver.plugins.quota_warning.watching.compose", fails)
            with nullcontext() if isinstance(error, StorageFailure) else pytest.raises(type(error)):
                await w.put(91_000)
            assert await w.warnings() == []
        await w.put(1_000)
        assert await w.warnings() == ["Your mailbox is 92 % full"]


@pytest.mark.parametrize(
    ("octets", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 KB"), (5 << 20, "5.0 MB"), (1 << 31, "2.0 GB"), (3 << 40, "3.0 TB")],
)
def test_sizes(octets: int, text: str) -> None:
    assert _size(octets) == text
