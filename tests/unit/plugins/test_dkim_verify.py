"""The DKIM signatures of mail from other servers, and the same one again and again (ATTACKS L08)."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from inspect import isawaitable
from pathlib import Path
from typing import Any

from mailserver.hooks.contexts import MessageContext
from mailserver.hooks.registry import Registry
from mailserver.model.address import EmailAddress
from mailserver.model.dns import Answer
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.events import Accepted
from mailserver.model.findings import Findings, Reason
from mailserver.model.ids import AccountId, QueueId, SessionId
from mailserver.model.verdict import Accept
from mailserver.plugins.dkim_verify import plugin
from mailserver.plugins.dkim_verify.settings import DkimVerifySettings
from mailserver.ports.resolver import LookupFailed
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.plugins import make_host, make_session
from tests.helpers.signing import signer

RSA = signer()
ED = signer("ed25519", domain="other.test")
MAIL = b"From: anna@signer.test\r\nTo: b@example.test\r\nSubject: h\r\nDate: x\r\n\r\nbody\r\n"


class Keys:
    """DNS with the keys of the two; counts, and can wait until all are asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing = False
        self.together = 0
        self.all_asked = asyncio.Event()

    async def txt(self, name: str) -> Answer[bytes]:
        self.asked.append(name)
        if self.together:
            if len(self.asked) == self.together:
                self.all_asked.set()
            await self.all_asked.wait()
        if self.failing:
            raise LookupFailed("SERVFAIL")
        records = tuple(each.record.encode() for each in (RSA, ED) if each.name == name)
        return Answer(records=records, name=name, exists=bool(records))


class Running:
    """The plugin with its hooks."""

    def __init__(self, registry: Registry, keys: Keys, clock: FakeClock) -> None:
        (self._check,) = registry.hooks["on_message"]
        (self._accepted,) = [fn for kind, fn in registry.observers if kind is Accepted]
        self.keys = keys
        self.clock = clock
        self._number = 0

    async def check(
        self, message: bytes, recipients: int = 1, *, accept: bool = True, **session: Any
    ) -> Findings | None:
        self._number += 1
        queue_id = QueueId(f"{self._number:016}")
        envelope = Envelope(
            sender=EmailAddress.parse("a@signer.test"),
            recipients=tuple(Recipient(address=EmailAddress.parse(f"r{n}@example.test")) for n in range(recipients)),
        )
        answer = self._check(
            MessageContext(
                session=make_session(**session), queue_id=queue_id, envelope=envelope, content=BytesContent(message)
            )
        )
        verdict = await answer if isawaitable(answer) else answer
        if verdict is None:
            return None
        assert isinstance(verdict, Accept) and not verdict.headers
        if accept:
            self._accepted(
                Accepted(
                    session=SessionId("s"), queue_id=queue_id, service="smtp", sender="", size=1,
                    recipients=tuple(str(each.address) for each in envelope.recipients),
                )
            )  # fmt: skip
        return verdict.findings

    async def reasons(self, message: bytes, recipients: int = 1, *, accept: bool = True) -> tuple[Reason, ...]:
        findings = await self.check(message, recipients, accept=accept)
        assert findings is not None
        return findings.reasons

    async def results(self, message: bytes) -> list[str]:
        findings = await self.check(message)
        assert findings is not None
        return [result.result for result in findings.results]


@asynccontextmanager
async def running(root: Path, clock: FakeClock | None = None, **settings: Any) -> AsyncIterator[Running]:
    (root / ".server").mkdir(exist_ok=True)
    registry, keys, clock = Registry(), Keys(), clock or FakeClock()
    host = make_host(data_dir=root, resolver=keys, clock=clock)
    async with plugin.setup(registry, DkimVerifySettings(**settings), host):
        yield Running(registry, keys, clock)


async def test_results(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        assert await server.results(MAIL) == ["none"]
        assert server.keys.asked == []
        assert await server.results(RSA.sign(MAIL)) == ["pass"]
        assert await server.results(RSA.sign(MAIL).replace(b"body", b"evil")) == ["fail"]
        assert await server.results(signer(domain="nobody.test").sign(MAIL)) == ["permerror"]
        server.keys.failing = True
        assert await server.results(RSA.sign(MAIL)) == ["temperror"]


async def test_who_is_not_examined(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        for session in ({"trusted": True}, {"service": "submission"}, {"account": AccountId("a@example.test")}):
            assert await server.check(RSA.sign(MAIL), **session) is None
        assert server.keys.asked == []


async def test_keys_are_asked_for_at_the_same_time_and_once(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        server.keys.together = 2
        assert await server.results(ED.sign(RSA.sign(RSA.sign(MAIL)))) == ["pass", "pass", "pass"]
        assert sorted(server.keys.asked) == sorted([RSA.name, ED.name])


async def test_a_large_message_is_read_in_pieces(tmp_path: Path) -> None:
    class Pieces(BytesContent):
        largest = 0

        async def read(self, start: int, size: int) -> bytes:
            self.largest = max(self.largest, size)
            return await super().read(start, size)

    large = MAIL + b"some  text \r\n" * 200_000
    message = RSA.sign(ED.sign(large, c="simple/simple"))
    content = Pieces(message)
    async with running(tmp_path) as server:
        verdict = await server._check(
            MessageContext(
                session=make_session(), queue_id=QueueId("0" * 16), envelope=Envelope(sender=None), content=content
            )
        )
        assert [result.result for result in verdict.findings.results] == ["pass", "pass"]
        assert content.largest <= 256 << 10
        header = MAIL.replace(b"Date", b"X: " + b"y" * 100_000 + b"\r\nDate")
        assert await server.results(RSA.sign(header, h=["from", "x"])) == ["pass"]


async def test_a_body_is_not_read_when_the_header_is_wrong(tmp_path: Path) -> None:
    class Unread(BytesContent):
        async def read(self, start: int, size: int) -> bytes:
            raise AssertionError("read for nothing")

    async with running(tmp_path) as server:
        for message in (RSA.sign(MAIL).replace(b"Subject: h", b"Subject: i"), MAIL, signer(domain="x.test").sign(MAIL)):
            context = MessageContext(
                session=make_session(), queue_id=QueueId("0" * 16), envelope=Envelope(sender=None),
                content=Unread(message),
            )  # fmt: skip
            verdict = await server._check(context)
            assert verdict.findings.results[0].result != "pass"


async def test_l08_one_signature_for_many(tmp_path: Path) -> None:
    message = RSA.sign(MAIL)
    async with running(tmp_path, replay_recipients=10) as server:
        for _ in range(10):
            assert not await server.reasons(message)
            await server.reasons(message, accept=False)
        (reason,) = await server.reasons(message)
        assert (reason.check, 0 < reason.points <= 1.5, "11 recipients" in reason.text) == ("dkim_verify", True, True)
        assert reason.advice
        # Another copy is the same signature, whatever is put on top of it; another message is another one.
        assert await server.reasons(b"X-More: x\r\n" + message)
        assert not await server.reasons(RSA.sign(MAIL + b"x"))
        # What does not prove anything is not counted for whom it names.
        assert not await server.reasons(message.replace(b"body", b"evil"), 50)
        assert await server.reasons(RSA.sign(MAIL + b"y"), 11)


async def test_l08_one_signature_for_long_and_a_restart(tmp_path: Path) -> None:
    message, clock = RSA.sign(MAIL), FakeClock()
    async with running(tmp_path, clock) as server:
        await server.check(message, 60)
    assert os.stat(tmp_path / ".server" / "signatures.db").st_mode & 0o777 == 0o600
    clock.advance(7 * 86400)
    async with running(tmp_path, clock) as server:
        assert not await server.reasons(message)
        assert await server.reasons(message, 60)
        assert not await server.reasons(RSA.sign(MAIL + b"z"))
    clock.advance(2 * 86400)
    async with running(tmp_path, clock, replay_recipients=1000) as server:
        (reason,) = await server.reasons(message)
        assert "9 days ago" in reason.text
    clock.advance(31 * 86400)
    async with running(tmp_path, clock) as server:
        assert not await server.reasons(message)
    db = sqlite3.connect(tmp_path / ".server" / "signatures.db")
    assert db.execute("SELECT count(*) FROM signature").fetchone() == (1,)
    db.close()
