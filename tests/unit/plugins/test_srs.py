"""Return addresses of forwarded mail: made for strangers only, good for reports only, and nobody else can make one."""

from __future__ import annotations

import re
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.hooks.contexts import ForwardContext, RcptContext, Redirect, Resolution, ResolveContext, Unresolvable
from mailserver.hooks.plugin import PluginSettings
from mailserver.hooks.registry import Registry
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope, Recipient
from mailserver.model.errors import StorageFailure
from mailserver.model.verdict import Reject
from mailserver.plugins.srs import plugin
from mailserver.plugins.srs.long_names import LongNames
from mailserver.plugins.srs.rewriting import Rewriting, is_rewritten
from mailserver.ports.directory import Domain
from tests.helpers.clock import FakeClock
from tests.helpers.plugins import make_host, make_session
from tests.helpers.smtp_service import DOMAIN, SmtpHarness

SENDER = EmailAddress.parse("Boss@far.test")
TEAM = EmailAddress.parse("team@example.test")
LONG = EmailAddress.parse(f"{'l' * 60}@{'d' * 60}.test")


class Domains:
    def domain(self, name: str) -> Domain | None:
        return Domain(name=name) if name in ("example.test", "other.test") else None


class Server:
    def __init__(self, root: Path, clock: FakeClock) -> None:
        self.clock = clock
        self.registry = Registry()
        self.host = make_host(data_dir=root, directory=Domains(), clock=clock)

    async def forward(self, sender: EmailAddress, forwarder: EmailAddress = TEAM) -> EmailAddress | None:
        (hook,) = self.registry.hooks["forward_sender"]
        found: EmailAddress | None = await hook(ForwardContext(sender=sender, forwarder=forwarder))
        return found

    async def resolve(self, address: str | EmailAddress) -> Any:
        (hook,) = self.registry.hooks["resolve"]
        return await hook(ResolveContext(address=EmailAddress.parse(str(address))))

    async def back(self, address: str | EmailAddress) -> EmailAddress | None:
        answer = await self.resolve(address)
        if isinstance(answer, Unresolvable):
            assert answer.reply.code == 550
            return None
        assert isinstance(answer, Resolution)
        (target,) = answer.destinations
        assert isinstance(target, Redirect)
        return target.address


@asynccontextmanager
async def running(root: Path, clock: FakeClock | None = None) -> AsyncIterator[Server]:
    (root / ".server").mkdir(exist_ok=True)
    server = Server(root, clock or FakeClock())
    async with plugin.setup(server.registry, PluginSettings(), server.host):
        yield server


@pytest.mark.parametrize(
    "sender",
    ["Boss@far.test", '"odd \\" local"@far.test', "a=b=c@far.test", "grüße@xn--bcher-kva.test", "x@[192.0.2.1]", LONG],
)
async def test_there_and_back(tmp_path: Path, sender: str | EmailAddress) -> None:
    address = EmailAddress.parse(str(sender))
    async with running(tmp_path) as server:
        ours = await server.forward(address)
        assert ours is not None and ours.domain == "example.test" and len(ours.local.encode()) <= 64
        assert await server.back(ours) == address
        folded = EmailAddress(ours.local.lower(), ours.domain)
        restored = await server.back(folded)
        assert restored is not None and restored.key == address.key, "servers on the way may fold it"
    async with running(tmp_path) as server:
        assert await server.back(ours) == address, "a restart changes nothing"


async def test_our_own_addresses_stay(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        assert await server.forward(EmailAddress.parse("anna@example.test")) is None
        assert await server.forward(EmailAddress.parse("x@other.test")) is None


async def test_nobody_else_can_make_one(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        ours = await server.forward(SENDER)
        assert ours is not None
        _, hashed, day, rest = ours.local.split("=", 3)
        for forged in (
            f"SRS0={hashed}={day}=victim.test=somebody", f"SRS0=aaaaaaaa={day}={rest}", f"SRS0={hashed}=aa={rest}",
            f"SRS0=={day}={rest}", f"SRS1={hashed}={day}={rest}", f"SRS1={hashed}=victim.test=={day}={rest}", "SRS0=x",
            "SRS0=", "SRS1==", f"SRS0={hashed}={day}==nothing", f"SRS0+{day}",
        ):  # fmt: skip
            assert await server.back(f"{forged}@example.test") is None, forged
        assert await server.resolve(f"{ours.local}@elsewhere.test") is None, "not ours to judge"
        assert await server.resolve("srsly@example.test") is None
    (tmp_path / "another").mkdir()
    async with running(tmp_path / "another") as other:
        assert await other.back(ours) is None


async def test_it_is_good_for_three_weeks(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running(tmp_path, clock) as server:
        ours = await server.forward(SENDER)
        assert ours is not None
        for days, good in ((20.0, True), (3.0, False), (900.0, False)):
            clock.advance(days * 86400)
            assert (await server.back(ours) == SENDER) is good, days
        clock.set_wall(clock.time() - 923.5 * 86400)
        assert await server.back(ours) == SENDER, "a clock that was set back half a day"


async def test_a_forwarder_before_us_gets_his_own_back(tmp_path: Path) -> None:
    first = EmailAddress.parse("SRS0=abcd=ef=home.test=boss@first.test")
    async with running(tmp_path) as server:
        ours = await server.forward(first)
        assert ours is not None and ours.local.startswith("SRS1=") and await server.back(ours) == first
        second = EmailAddress(ours.local, "second.test")
        again = await server.forward(second)
        assert again is not None and await server.back(again) == first, "he asks the first, not all in between"
        for odd in ("SRS1=x@first.test", "SRS0@first.test", "SRS1=a=b=c@first.test"):
            address = EmailAddress.parse(odd)
            rewritten = await server.forward(address)
            assert rewritten is not None and await server.back(rewritten) == address


async def test_only_reports_come_back(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        ours = await server.forward(SENDER)
        assert ours is not None
        (hook,) = server.registry.hooks["on_rcpt"]

        def judged(address: EmailAddress, sender: EmailAddress | None) -> Any:
            envelope = Envelope(sender=sender)
            return hook(RcptContext(session=make_session(), envelope=envelope, recipient=Recipient(address=address)))

        assert judged(ours, None) is None
        assert isinstance(judged(ours, SENDER), Reject)
        assert judged(TEAM, SENDER) is None
        assert judged(EmailAddress(ours.local, "elsewhere.test"), SENDER) is None


async def test_keys_are_private_renewed_and_not_replaced_when_damaged(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running(tmp_path, clock) as server:
        old = await server.forward(SENDER)
    path = tmp_path / ".server" / "srs.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    clock.set_wall(path.stat().st_mtime + 91 * 86400)
    async with running(tmp_path, clock) as server:
        assert len(path.read_text().split()) == 2
        new = await server.forward(SENDER)
        assert new is not None and await server.back(new) == SENDER
        assert old is not None and new.local[:14] != old.local[:14]
    for damage in (b"zz\n", b"00\n", b"\xff"):
        path.write_bytes(damage)
        with pytest.raises(StorageFailure, match=r"srs\.key"):
            async with running(tmp_path):
                pass


async def test_the_table_of_long_names_over_the_years(tmp_path: Path) -> None:
    """One that says nothing of its version is taken over, and a damaged one stands in nobody's way."""
    path = tmp_path / "srs.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE sender (name TEXT PRIMARY KEY, address TEXT NOT NULL, seen REAL NOT NULL)")
        db.execute("INSERT INTO sender VALUES ('old', 'old@far.test', 1)")
        db.commit()
    async with LongNames(path, FakeClock()) as names:
        assert await names.find("OLD") == "old@far.test"
    async with LongNames(path, FakeClock()) as names:
        name = await names.keep("new@far.test")
    path.write_bytes(b"no database " * 1000)
    async with LongNames(path, FakeClock()) as names:
        assert await names.find(name) is None
        assert await names.find(await names.keep("new@far.test")) == "new@far.test"
    assert (tmp_path / "srs.db.damaged").exists()


LOCALS = st.from_regex(r"[A-Za-z0-9=+._-]{1,64}", fullmatch=True).filter(
    lambda text: not re.search(r"^\.|\.\.|\.$", text)
)


@given(LOCALS)
@settings(max_examples=50, deadline=None)
async def test_any_sender_comes_back(tmp_path_factory: pytest.TempPathFactory, local: str) -> None:
    sender = EmailAddress.parse(f"{local}@far.test")
    clock = FakeClock()
    async with LongNames(tmp_path_factory.mktemp("srs") / "db", clock) as names:
        rewriting = Rewriting([b"k" * 32], names, clock)
        ours = await rewriting.rewrite(sender, "example.test")
        assert is_rewritten(ours) and len(ours.local) <= 64
        assert await rewriting.restore(ours) == sender


async def test_through_the_services(tmp_path: Path) -> None:
    """A stranger's message leaves in our name, a report comes back to him, and nothing else does."""
    (tmp_path / ".server").mkdir()
    server = SmtpHarness()

    class Served:
        def domain(self, name: str) -> Domain | None:
            return Domain(name=name) if name == DOMAIN else None

    host = make_host(data_dir=tmp_path, directory=Served(), clock=FakeClock())
    async with plugin.setup(server.registry, PluginSettings(), host), server, server.client() as smtp:
        server.aliases["team"] = ["friend@else.test"]

        async def send(sender: str, recipient: str) -> int:
            await smtp.command("EHLO client.test")
            assert (await smtp.command(f"MAIL FROM:<{sender}>")).code == 250
            reply = await smtp.command(f"RCPT TO:<{recipient}>")
            if reply.code != 250:
                return reply.code
            assert (await smtp.command("DATA")).code == 354
            return (await smtp.command(b"From: x@far.test\r\nSubject: hello\r\n\r\nx\r\n.\r\n")).code

        assert await send(str(SENDER), f"team@{DOMAIN}") == 250
        (item,) = server.queue.items
        ours = item.envelope.sender
        assert ours is not None and ours.domain == DOMAIN and ours.local.startswith("SRS0=")
        assert await send("", str(ours)) == 250
        report = server.queue.items[-1]
        assert report.envelope.sender is None
        assert [str(recipient.address) for recipient in report.envelope.recipients] == [str(SENDER)]
        assert await send("evil@far.test", str(ours)) == 550
        assert await send("", f"SRS0=aaaaaaaa=aa=victim.test=x@{DOMAIN}") == 550
        assert await send("", f"team@{DOMAIN}") == 250
        assert server.queue.items[-1].envelope.sender is None
