"""The plugin milter before a filter that does everything wrong that one can."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mailserver.hooks.contexts import MailContext, MessageContext, RcptContext
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import HookOptions, Registry
from mailserver.model.address import EmailAddress
from mailserver.model.events import SessionClosed
from mailserver.model.findings import AuthResult
from mailserver.model.ids import SessionId
from mailserver.model.verdict import ACCEPT, Accept, Defer, HeaderChange, Quarantine, Reject, Verdict
from mailserver.plugins.milter import plugin
from mailserver.plugins.milter.settings import MilterSettings
from tests.helpers.clock import FakeClock
from tests.helpers.content import BytesContent
from tests.helpers.judging import arriving, proofs, text
from tests.helpers.names import FakeResolver
from tests.helpers.plugins import make_host, make_session
from tests.helpers.scripted_milter import ScriptedMilter, milter_packet


class Asked:
    """The plugin with one filter, and whole messages through it."""

    def __init__(self, hooks: Hooks, filter: ScriptedMilter, clock: FakeClock) -> None:
        self.hooks = hooks
        self.filter = filter
        self.clock = clock

    async def mail(self, ctx: MessageContext) -> Verdict:
        return await self.hooks.mail(
            MailContext(session=ctx.session, envelope=replace(ctx.envelope, recipients=()), findings=ctx.findings)
        )

    async def rcpt(self, ctx: MessageContext, to: str, *, known: bool = True) -> Verdict:
        recipient = replace(ctx.envelope.recipients[0], address=EmailAddress.parse(to))
        return await self.hooks.rcpt(
            RcptContext(session=ctx.session, envelope=ctx.envelope, recipient=recipient, known=known)
        )

    async def all(self, ctx: MessageContext | None = None) -> Verdict:
        """MAIL, RCPT, the message; the first refusal, or what was said at the end."""
        ctx = ctx or arriving(helo="far.test")
        verdict = await self.mail(ctx)
        if not isinstance(verdict, Reject | Defer):
            verdict = await self.rcpt(ctx, str(ctx.envelope.recipients[0].address))
        return verdict if isinstance(verdict, Reject | Defer) else await self.hooks.message(ctx)


@asynccontextmanager
async def asked(tmp_path: Path, **settings: Any) -> AsyncIterator[Asked]:
    filter, clock = ScriptedMilter(tmp_path / "m"), FakeClock()
    entry = {"address": f"unix:{filter.path}", "name": "F", **settings.pop("entry", {})}
    parsed = MilterSettings.model_validate({"milters": [entry]} | settings)
    registry = Registry(HookOptions(plugin="milter"))
    async with filter.listening():
        host = make_host(resolver=FakeResolver(), clock=clock)
        async with plugin.setup(registry, parsed, host):
            yield Asked(Hooks([registry]), filter, clock)


def answering(**by_step: bytes | None) -> Any:
    return lambda kind, data: by_step.get(kind, milter_packet("c"))


async def test_the_steps_of_a_message(tmp_path: Path) -> None:
    findings = proofs(AuthResult(method="iprev", result="pass", properties=(("policy.ptr", "mx.far.test"),)))
    async with asked(tmp_path) as it:
        assert await it.all(arriving(text(body="x" * 70_000), findings, helo="far.test", tls="TLSv1.3")) == ACCEPT
        assert it.filter.steps == [*"CHMRT", *"LLL", "N", "B", "B", "E"]
        assert it.filter.data[0] == ("C", b"mx.far.test\x004\0\x00192.0.2.7\0")
        assert it.filter.macros["C"]["{client_name}"] == "mx.far.test"
        assert it.filter.macros["H"] == {"{tls_version}": "TLSv1.3", "{cipher}": ""}
        assert [len(data) for kind, data in it.filter.data if kind == "B"] == [65535, 70_002 - 65535]


async def test_a_connection_serves_a_session_and_ends_with_it(tmp_path: Path) -> None:
    async with asked(tmp_path) as it:
        await it.all()
        await it.all()
        assert (it.filter.connections, it.filter.steps.count("C"), it.filter.steps.count("M")) == (1, 1, 2)
        it.hooks.emit(SessionClosed(session=SessionId("other"), service="smtp", peer=""))
        await it.all()
        assert it.filter.connections == 1
        it.hooks.emit(SessionClosed(session=SessionId("s1"), service="smtp", peer=""))
        await it.filter.until(lambda: it.filter.open == 0)
        assert it.filter.steps[-1] == "Q"


async def test_steps_that_were_agreed_not_to_be(tmp_path: Path) -> None:
    async with asked(tmp_path) as it:
        it.filter.without = 0x37F | 0x400
        assert await it.all() == ACCEPT
        assert it.filter.steps == ["E"]
    async with asked(tmp_path) as it:
        # Nothing is answered but the end.
        it.filter.without = 0xFF080 & ~0x20000
        it.filter.answer = lambda kind, data: milter_packet("c") if kind == "E" else b""
        assert await it.all() == ACCEPT
        assert it.filter.steps == [*"CHMRT", *"LLL", "N", "B", "E"]


@pytest.mark.parametrize("step", "CHMRTLNBE")
@pytest.mark.parametrize(
    ("said", "expected", "code"),
    [("r", Reject, 550), ("t", Defer, 451), ("d", Reject, 550), ("4", Defer, 451), ("y554 5.7.9 own", Reject, 554)],
)
async def test_refusals_at_each_step(tmp_path: Path, step: str, said: str, expected: type, code: int) -> None:
    async with asked(tmp_path) as it:
        it.filter.answer = answering(**{step: milter_packet(said[0], said[1:].encode() + b"\0")})
        verdict = await it.all()
        assert isinstance(verdict, expected) and isinstance(verdict, Reject | Defer)
        assert verdict.reply.code == code and verdict.findings.reasons[0].check == "milter"
        assert isinstance(await it.all(), expected)
        it.filter.answer = answering()
        # What it said of the client holds for the session, what it said of a message is over.
        assert isinstance(await it.all(), expected if step in "CH" else Accept)


@pytest.mark.parametrize("step", "CHMRTLNB")
async def test_what_it_accepts_early_is_not_asked_about_again(tmp_path: Path, step: str) -> None:
    async with asked(tmp_path) as it:
        it.filter.answer = lambda kind, data: milter_packet("a" if kind == step else "r" if kind == "E" else "c")
        assert await it.all() == ACCEPT
        assert "E" not in it.filter.steps
        it.filter.answer = answering(E=milter_packet("r"))
        assert isinstance(await it.all(), Accept if step in "CH" else Reject)


async def test_discard_to_junk(tmp_path: Path) -> None:
    for step in "MRE":
        async with asked(tmp_path, discard="junk") as it:
            it.filter.answer = answering(**{step: milter_packet("d")})
            assert isinstance(await it.all(), Quarantine)
            ctx = replace(arriving(helo="x"), forwarded=True)
            assert isinstance(await it.all(ctx), Reject)


async def test_changes(tmp_path: Path) -> None:
    index = struct.pack(">I", 0)
    async with asked(tmp_path) as it:
        it.filter.answer = answering(E=b"".join((
            milter_packet("p"), milter_packet("h", b"A\0 x\n\ny\0"), milter_packet("m", index + b"B\0\0"),
            milter_packet("i", struct.pack(">I", 3) + b"C\0\xff\0"), milter_packet("h", b"no name\0x\0"),
            milter_packet("b", b"new "), milter_packet("+", b"<x@y>\0"), milter_packet("b", b"body"),
            milter_packet("a"),
        )))  # fmt: skip
        verdict = await it.all()
        assert verdict == Accept(
            changes=(HeaderChange("A", " x\r\n\ty"), HeaderChange("B", None, 1), HeaderChange("C", "\udcff", 0, 2)),
            body=b"new body",
        )


@pytest.mark.parametrize(
    ("said", "account", "expected"),
    [
        (milter_packet("h", b"x-spam\0 YES\0"), None, Quarantine),
        (milter_packet("i", struct.pack(">I", 0) + b"X-Spam-Flag\0yes\0"), None, Quarantine),
        (milter_packet("m", struct.pack(">I", 1) + b"X-Spam\0Yes\0"), None, Quarantine),
        (milter_packet("m", struct.pack(">I", 1) + b"X-Spam\0\0"), None, Accept),
        (milter_packet("h", b"X-Spam\0No\0"), None, Accept),
        (milter_packet("h", b"X-Spam\0Yes\0"), "anna@example.test", Accept),
    ],
)
async def test_a_field_that_says_junk(tmp_path: Path, said: bytes, account: str | None, expected: type) -> None:
    async with asked(tmp_path) as it:
        it.filter.answer = answering(E=said + milter_packet("a"))
        verdict = await it.all(arriving(text(**{"X-Spam": "Yes"}), helo="x", account=account))
        assert isinstance(verdict, expected) and isinstance(verdict, Accept | Quarantine) and len(verdict.changes) == 1


async def test_a_recipient_whom_somebody_else_refused_is_taken_back(tmp_path: Path) -> None:
    async with asked(tmp_path) as it:
        ctx = arriving(helo="far.test")
        await it.mail(ctx)
        await it.rcpt(ctx, "full@example.test")
        await it.rcpt(ctx, "nobody@example.test", known=False)
        await it.rcpt(ctx, "anna@example.test")
        assert await it.hooks.message(ctx) == ACCEPT
        told = [data.split(b"\0")[0] for kind, data in it.filter.data if kind == "R"]
        assert told == [b"<full@example.test>", b"<anna@example.test>", b"<anna@example.test>"]
        assert it.filter.steps[:8] == [*"CHMRRAMR"]


@pytest.mark.parametrize("step", "CHMRTLNBE")
@pytest.mark.parametrize(
    "said", [None, b"\xff\xff\xff\xff", milter_packet("Z"), milter_packet("h", b"A\0b\0") + milter_packet("c")]
)
async def test_a_filter_that_fails(tmp_path: Path, step: str, said: bytes | None) -> None:
    if step == "E" and said and b"A\0b" in said:
        return
    for on_error, expected in (("defer", Defer), ("skip", Accept)):
        async with asked(tmp_path, entry={"on_error": on_error}) as it:
            it.filter.answer = answering(**{step: said})
            verdict = await it.all()
            assert isinstance(verdict, expected)
            asked_before = it.filter.connections
            assert isinstance(await it.all(), expected)
            # A message on which it fails says nothing about the next one.
            assert it.filter.connections > asked_before
            asked_before = it.filter.connections
            it.filter.answer = answering()
            assert await it.all() == ACCEPT
            assert it.filter.connections == asked_before + 1
            await it.filter.until(lambda: it.filter.open == 1)


async def test_a_filter_that_cannot_be_reached_rests(tmp_path: Path) -> None:
    for on_error, expected in (("defer", Defer), ("skip", Accept)):
        async with asked(tmp_path, entry={"on_error": on_error}) as it:
            it.filter.version = 1
            assert isinstance(await it.all(), expected)
            assert isinstance(await it.all(), expected)
            assert it.filter.connections == 1
            it.clock.advance(11)
            it.filter.version = 6
            assert await it.all() == ACCEPT
            assert it.filter.connections == 2


async def test_a_filter_that_was_away_at_mail_is_told_all_at_the_end(tmp_path: Path) -> None:
    async with asked(tmp_path, entry={"on_error": "skip"}) as it:
        it.filter.answer = answering(C=None)
        ctx = arriving(helo="far.test")
        assert await it.mail(ctx) == ACCEPT
        it.filter.answer = answering(E=milter_packet("r"))
        assert await it.rcpt(ctx, "anna@example.test") == ACCEPT
        assert isinstance(await it.hooks.message(ctx), Reject)


async def test_an_idle_connection_that_it_closed_is_made_anew(tmp_path: Path) -> None:
    async with asked(tmp_path) as it:
        assert await it.all() == ACCEPT
        it.filter.answer = lambda kind, data: None if kind == "M" and it.filter.connections == 1 else milter_packet("c")
        assert await it.all() == ACCEPT
        assert it.filter.connections == 2


@pytest.mark.parametrize(("version", "without"), [(1, 0), (7, 0), (6, 0x800), (6, 0x10000000)])
async def test_a_negotiation_that_leads_nowhere(tmp_path: Path, version: int, without: int) -> None:
    async with asked(tmp_path) as it:
        it.filter.version, it.filter.without = version, without
        assert isinstance(await it.all(), Defer)


async def test_too_much_of_everything(tmp_path: Path) -> None:
    field = milter_packet("h", b"A\0" + b"x" * 700_000)
    for said in (milter_packet("b", b"x" * 2000), milter_packet("h", b"A\0b\0") * 501, field * 2):
        async with asked(tmp_path, largest_body=1000) as it:
            it.filter.answer = answering(E=said + milter_packet("c"))
            assert isinstance(await it.all(), Defer)


async def test_no_answer_in_time(tmp_path: Path) -> None:
    async with asked(tmp_path, command_timeout="50ms") as it:
        it.filter.answer = answering(M=b"")
        assert isinstance(await it.all(), Defer)


async def test_nobody_there(tmp_path: Path) -> None:
    async with asked(tmp_path, entry={"address": f"unix:{tmp_path}/none"}) as it:
        assert isinstance(await it.all(), Defer)
    async with asked(tmp_path, entry={"address": "nowhere.test:25", "on_error": "skip"}) as it:
        assert await it.all() == ACCEPT


async def test_connections_are_bounded(tmp_path: Path) -> None:
    async with asked(tmp_path, most_connections=3) as it:
        for number in range(10):
            ctx = arriving(helo="far.test")
            await it.all(replace(ctx, session=replace(ctx.session, session=SessionId(f"s{number}"))))
        await it.filter.until(lambda: it.filter.open == 3)
        assert it.filter.connections == 10
        it.filter.answer = answering(M=b"")
        busy = []
        for number in range(20, 23):
            session = make_session(helo="x")
            ctx = replace(arriving(), session=replace(session, session=SessionId(f"s{number}")))
            busy.append(asyncio.create_task(it.mail(ctx)))
        await it.filter.until(lambda: it.filter.steps.count("M") == 13)
        assert isinstance(await it.all(), Defer)
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def test_other_services_are_none_of_its_business(tmp_path: Path) -> None:
    async with asked(tmp_path) as it:
        assert await it.all(arriving(service="submission")) == ACCEPT
        assert it.filter.connections == 0


async def test_a_program_on_this_machine(tmp_path: Path) -> None:
    async with asked(tmp_path, entry={"services": ["sendmail"]}) as it:
        await it.all(arriving(service="sendmail", peer="uid:33", user="www", account="www@example.test"))
        assert it.filter.data[0] == ("C", b"localhost\x004\0\x00127.0.0.1\0")
        assert it.filter.macros["M"]["{auth_authen}"] == "www@example.test"


async def test_a_large_message_in_a_file(tmp_path: Path) -> None:
    async with asked(tmp_path) as it:
        octets = text(body="0123456789\r\n" * 200_000)
        ctx = replace(arriving(helo="x"), content=BytesContent(octets))
        assert await it.all(ctx) == ACCEPT
        body = b"".join(data for kind, data in it.filter.data if kind == "B")
        assert body == octets.partition(b"\r\n\r\n")[2]
        it.filter.answer = answering(B=milter_packet("s"), E=milter_packet("r"))
        before = it.filter.steps.count("B")
        assert isinstance(await it.all(ctx), Reject)
        assert it.filter.steps.count("B") == before + 1


@pytest.mark.parametrize("address", ["", "nonsense", "host:0", "host:70000", "unix:relative", "inet:@x"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ValidationError):
        MilterSettings.model_validate({"milters": [{"address": address}]})


@pytest.mark.parametrize("field", ["", "X-Spam", "X-Spam:", ": x"])
def test_fields_that_are_none(field: str) -> None:
    with pytest.raises(ValidationError):
        MilterSettings.model_validate({"junk_fields": [field]})
