"""The plugin spf: whom it asks, what it says of the answers, and when it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mailserver.hooks.contexts import HeloContext, MailContext, MessageContext, Session
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.registry import HookOptions, Registry
from mailserver.model.address import EmailAddress
from mailserver.model.envelope import Envelope
from mailserver.model.findings import Findings
from mailserver.model.ids import AccountId, QueueId
from mailserver.model.verdict import Accept, Reject, Verdict
from mailserver.plugins.spf import plugin
from mailserver.plugins.spf.settings import SpfSettings
from tests.helpers.content import BytesContent
from tests.helpers.plugins import make_host, make_session
from tests.helpers.zones import ZoneResolver

PEER = "192.0.2.66"
ZONES: dict[str, Any] = {
    "good.test": [{"SPF": "v=spf1 ip4:192.0.2.66 -all"}],
    "strict.test": [{"SPF": "v=spf1 -all exp=why.strict.test"}],
    "why.strict.test": [{"TXT": "ask %{d} about %{i}"}],
    "soft.test": [{"SPF": "v=spf1 ~all"}],
    "broken.test": [{"SPF": "v=spf1 nonsense"}],
    "slow.test": ["TIMEOUT"],
}


class Server:
    def __init__(self, hooks: Hooks, resolver: ZoneResolver) -> None:
        self.hooks = hooks
        self.resolver = resolver

    async def judge(self, sender: str, **fields: Any) -> Verdict:
        """HELO and MAIL; the verdict has the findings of both."""
        session: Session = make_session(**{"peer": PEER, "helo": "mx.good.test"} | fields)
        helo = await self.hooks.helo(HeloContext(session=session))
        envelope = Envelope(sender=EmailAddress.parse(sender) if sender else None)
        verdict = await self.hooks.mail(MailContext(session=session, envelope=envelope, findings=helo.findings))
        found = helo.findings + verdict.findings
        if isinstance(verdict, Reject):
            return Reject(verdict.reply, verdict.reason, findings=found)
        return await self.hooks.message(
            MessageContext(
                session=session, queue_id=QueueId("q"), envelope=envelope, content=BytesContent(b""), findings=found
            )
        ) if self.hooks.users("on_message") else Accept(findings=found)  # fmt: skip


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Server]:
    resolver = ZoneResolver(ZONES)
    registry = Registry(HookOptions(plugin="spf"))
    async with plugin.setup(registry, SpfSettings(**settings), make_host(resolver=resolver)):
        yield Server(Hooks([registry]), resolver)


def said(findings: Findings) -> list[tuple[str, str]]:
    return [(result.result, result.value("smtp.helo") or result.value("smtp.mailfrom")) for result in findings.results]


@pytest.mark.parametrize(
    ("sender", "helo", "results", "points"),
    [
        ("a@good.test", "good.test", [("pass", "good.test"), ("pass", "a@good.test")], 0.0),
        ("a@strict.test", "none.test", [("none", "none.test"), ("fail", "a@strict.test")], 1.5),
        ("a@soft.test", "[192.0.2.66]", [("softfail", "a@soft.test")], 0.7),
        ("a@broken.test", "localhost", [("permerror", "a@broken.test")], 0.0),
        ("a@slow.test", "strict.test", [("fail", "strict.test"), ("temperror", "a@slow.test")], 1.0),
        ('"odd \\" one"@good.test', "localhost", [("pass", '"odd \\" one"@good.test')], 0.0),
        ("a@[192.0.2.66]", "localhost", [("none", "a@[192.0.2.66]")], 0.0),
        ("", "good.test", [("pass", "good.test")], 0.0),
    ],
)
async def test_what_is_found(sender: str, helo: str, results: list[tuple[str, str]], points: float) -> None:
    async with running() as server:
        verdict = await server.judge(sender, helo=helo)
    assert isinstance(verdict, Accept) and not verdict.headers
    assert said(verdict.findings) == results
    assert verdict.findings.score == points
    for reason in verdict.findings.reasons:
        assert reason.check == "spf" and reason.points <= 1.5 and reason.text


@pytest.mark.parametrize(
    "fields",
    [{"trusted": True}, {"account": AccountId("anna@example.test")}, {"service": "submission"}, {"peer": "uid:33"}],
)
async def test_our_own_are_not_asked_about(fields: dict[str, Any]) -> None:
    async with running(reject_fail=True, received_spf=True) as server:
        verdict = await server.judge("a@strict.test", helo="strict.test", **fields)
        assert verdict == Accept() and not server.resolver.asked


async def test_a_fail_is_refused_where_that_is_wanted() -> None:
    async with running(reject_fail=True) as server:
        verdict = await server.judge("a@strict.test")
        assert isinstance(verdict, Reject)
        assert str(verdict.reply) == (
            "550 5.7.23 SPF: strict.test says that 192.0.2.66 may not send its mail. "
            "strict.test explains: ask strict.test about 192.0.2.66"
        )
        assert said(verdict.findings)[-1] == ("fail", "a@strict.test")
        assert isinstance(await server.judge("", helo="strict.test"), Reject), "a bounce has its HELO name only"
        assert isinstance(await server.judge("a@good.test", helo="strict.test"), Accept)
        assert isinstance(await server.judge("a@soft.test"), Accept)


async def test_received_spf() -> None:
    async with running(received_spf=True) as server:
        verdict = await server.judge("a@good.test", helo="good.test")
        assert isinstance(verdict, Accept)
        (field,) = verdict.headers
        assert field.name == "Received-SPF"
        assert field.value == (
            'pass (mail.example.test: good.test designates 192.0.2.66 as permitted sender) identity=mailfrom; '
            'client-ip=192.0.2.66; receiver=mail.example.test; helo=good.test; envelope-from="a@good.test"'
        )
        verdict = await server.judge('"x; helo=y (z"@strict.test', helo="good.test")
        assert isinstance(verdict, Accept)
        assert verdict.headers[0].value.endswith('envelope-from="x; helo=y (z@strict.test"')
        verdict = await server.judge("", helo="strict.test")
        assert isinstance(verdict, Accept)
        assert verdict.headers[0].value.startswith("fail (mail.example.test: strict.test does not designate")
