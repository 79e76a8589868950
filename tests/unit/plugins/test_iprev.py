"""The plugin iprev (RFC 8601 §3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mailserver.hooks.contexts import MailContext
from mailserver.hooks.dispatch import Hooks
from mailserver.hooks.plugin import PluginSettings
from mailserver.hooks.registry import HookOptions, Registry
from mailserver.model.envelope import Envelope
from mailserver.model.ids import SessionId
from mailserver.plugins import iprev
from mailserver.plugins.iprev import plugin
from tests.helpers.plugins import make_host, make_session
from tests.helpers.zones import ZoneResolver

PTR = "66.2.0.192.in-addr.arpa"
SIX = "2001:db8::1"
SIX_PTR = f"1.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa"


async def judge(zones: dict[str, Any], **fields: Any) -> tuple[str, str, float]:
    registry = Registry(HookOptions(plugin="iprev"))
    resolver = ZoneResolver(zones)
    async with plugin.setup(registry, PluginSettings(), make_host(resolver=resolver)):
        session = make_session(**{"peer": "192.0.2.66"} | fields)
        findings = (await Hooks([registry]).mail(MailContext(session=session, envelope=Envelope(sender=None)))).findings
    assert len(resolver.asked) <= 11
    (result,) = findings.results or (None,)
    return ("", "", 0.0) if result is None else (result.result, result.value("policy.ptr"), findings.score)


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        ({PTR: [{"PTR": "mx.far.test"}], "mx.far.test": [{"A": "192.0.2.66"}]}, ("pass", "mx.far.test", 0.0)),
        (
            {PTR: [{"PTR": "x.far.test"}, {"PTR": "y.far.test"}], "y.far.test": [{"A": "192.0.2.66"}]},
            ("pass", "y.far.test", 0.0),
        ),
        ({PTR: [{"PTR": "mx.far.test"}], "mx.far.test": [{"A": "192.0.2.1"}]}, ("fail", "", 0.7)),
        ({PTR: [{"PTR": "mx.far.test"}]}, ("fail", "", 0.7)),
        ({PTR: [{"PTR": "mx.far.test"}], "mx.far.test": ["TIMEOUT"]}, ("temperror", "", 0.0)),
        ({PTR: ["TIMEOUT"]}, ("temperror", "", 0.0)),
        ({}, ("permerror", "", 1.0)),
        ({PTR: [{"PTR": f"p{n}.test"} for n in range(1000)]}, ("fail", "", 0.7)),
    ],
)  # fmt: skip
async def test_a_client(zones: dict[str, Any], expected: tuple[str, str, float]) -> None:
    assert await judge(zones) == expected


async def test_ipv6() -> None:
    zones = {SIX_PTR: [{"PTR": "mx.far.test"}], "mx.far.test": [{"AAAA": "2001:DB8:0::1"}]}
    assert await judge(zones, peer=SIX) == ("pass", "mx.far.test", 0.0)


@pytest.mark.parametrize("fields", [
    {"trusted": True}, {"service": "submission"}, {"peer": "uid:33"}, {"peer": "192.168.1.5"}, {"peer": "::1"},
    {"peer": "fd00::1"}, {"peer": "127.0.0.1"},
])  # fmt: skip
async def test_our_own_are_not_asked_about(fields: dict[str, Any]) -> None:
    assert await judge({}, **fields) == ("", "", 0.0)


async def test_a_connection_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iprev, "_MOST_KNOWN", 2)
    registry = Registry(HookOptions(plugin="iprev"))
    resolver = ZoneResolver({PTR: [{"PTR": "mx.far.test"}], "mx.far.test": [{"A": "192.0.2.66"}]})
    async with plugin.setup(registry, PluginSettings(), make_host(resolver=resolver)):
        hooks = Hooks([registry])

        async def asked(number: int) -> int:
            before = len(resolver.asked)
            session = replace(make_session(peer="192.0.2.66"), session=SessionId(f"s{number}"))
            verdict = await hooks.mail(MailContext(session=session, envelope=Envelope(sender=None)))
            assert [result.result for result in verdict.findings.results] == ["pass"]
            return len(resolver.asked) - before

        assert [await asked(number) for number in (1, 1, 2, 1, 2)] == [2, 0, 2, 0, 0]
        assert [await asked(number) for number in (3, 2, 1)] == [2, 0, 2]


async def test_what_could_not_be_found_out_is_asked_again() -> None:
    registry = Registry(HookOptions(plugin="iprev"))
    resolver = ZoneResolver({PTR: ["TIMEOUT"]})
    async with plugin.setup(registry, PluginSettings(), make_host(resolver=resolver)):
        ctx = MailContext(session=make_session(peer="192.0.2.66"), envelope=Envelope(sender=None))
        for _ in range(2):
            await Hooks([registry]).mail(ctx)
        assert len(resolver.asked) == 2
