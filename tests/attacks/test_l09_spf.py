"""ATTACKS L09: hostile and broken SPF records cost a bounded number of lookups and never more than a result."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailserver.model.dns import Answer
from mailserver.plugins.spf import checking
from mailserver.plugins.spf.checking import Outcome, SpfCheck
from mailserver.wire.spf import is_spf, parse_spf, target_name
from tests.helpers.zones import ZoneResolver

PEER = "192.0.2.66"


async def check(
    zones: dict[str, Any], *, sender: str = "any@attack.test", peer: str = PEER, helo: str = "attack.test"
) -> tuple[Outcome, list[tuple[str, str]]]:
    resolver = ZoneResolver(zones)
    outcome = await SpfCheck(resolver, peer, helo, sender).run()
    return outcome, resolver.asked


def spf(text: str) -> list[dict[str, str]]:
    return [{"SPF": f"v=spf1 {text}"}]


def chain(length: int) -> dict[str, Any]:
    zones = {f"i{n}.test": spf(f"include:i{n + 1}.test -all") for n in range(length)}
    return zones | {f"i{length}.test": spf("+all"), "attack.test": spf("include:i0.test -all")}


CASES: dict[str, tuple[dict[str, Any], str, int]] = {
    "ten lookups": (chain(9), "pass", 11),
    "eleven lookups": (chain(10), "permerror", 11),
    "two void": ({"attack.test": spf("a:x.test a:y.test +all")}, "pass", 3),
    "three void": ({"attack.test": spf("a:x.test exists:y.test mx:z.test +all")}, "permerror", 4),
    "an include that leads nowhere": ({"attack.test": spf("include:x.test +all")}, "permerror", 2),
    "a circle of includes": (
        {"attack.test": spf("include:b.test +all"), "b.test": spf("include:attack.test +all")}, "permerror", 11,
    ),
    "redirected to itself": ({"attack.test": spf("redirect=attack.test")}, "permerror", 11),
    "eleven MX": (
        {"attack.test": [*spf("mx +all"), *({"MX": [10, f"m{n}.test"]} for n in range(11))]}, "permerror", 2,
    ),
    "ten MX, ten times": (
        {"attack.test": [*spf(" ".join(["mx"] * 11)), *({"MX": [10, f"m{n}.test"]} for n in range(10))]},
        "permerror", 1 + 3 * 11,
    ),
    "a thousand PTR": (
        {
            "attack.test": spf("ptr -all"),
            "66.2.0.192.in-addr.arpa": [{"PTR": f"p{n}.attack.test"} for n in range(1000)],
            "p999.attack.test": [{"A": PEER}],
        },
        "fail", 12,
    ),
    "PTR of somebody else": (
        {
            "attack.test": spf("ptr -all"), "66.2.0.192.in-addr.arpa": [{"PTR": "mail.attack.test"}],
            "mail.attack.test": [{"A": "192.0.2.1"}],
        },
        "fail", 3,
    ),
    "a macro that explodes": ({"attack.test": spf("exists:" + "%{s}" * 65 + ".test +all")}, "permerror", 1),
    "many macros": ({"attack.test": spf("exists:" + "%{s}." * 60 + "test ?all")}, "neutral", 2),
    "a digit of 5,000 digits": ({"attack.test": spf("exists:%{d" + "9" * 5000 + "}.test ?all")}, "neutral", 2),
    "a TXT of 60 kB": ({"attack.test": spf("ip4:192.0.2.1 " * 4000 + "+all")}, "permerror", 1),
    "two records": ({"attack.test": [*spf("+all"), *spf("+all")]}, "permerror", 1),
    "the whole world": ({"attack.test": spf("ip4:0.0.0.0/0 -all")}, "pass", 1),
    "SERVFAIL": ({"attack.test": ["TIMEOUT"]}, "temperror", 1),
    "SERVFAIL of a part": ({"attack.test": spf("a:x.test +all"), "x.test": ["TIMEOUT"]}, "temperror", 2),
    "SERVFAIL of an include": ({"attack.test": spf("include:x.test +all"), "x.test": ["TIMEOUT"]}, "temperror", 2),
    "a label of 64": ({"attack.test": spf(f"a:{'x' * 64}.test ?all")}, "neutral", 1),
    "not ASCII": ({"attack.test": spf("ip4:192.0.2.66 a:ä.test")}, "permerror", 1),
    "an error behind a match": ({"attack.test": spf("ip4:192.0.2.66 nonsense")}, "permerror", 1),
    "a NUL": ({"attack.test": spf("exists:a\0.test +all")}, "permerror", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_l09_a_record(name: str) -> None:
    zones, result, questions = CASES[name]
    outcome, asked = await check(zones)
    assert outcome.result == result, outcome
    assert len(asked) == questions, asked


async def test_l09_an_explanation_is_bounded_and_plain() -> None:
    zones = {"attack.test": spf("-all exp=why.test"), "why.test": [{"TXT": "%{s}, %{i}: " + "x" * 5000}]}
    resolver = ZoneResolver(zones)
    check = SpfCheck(resolver, PEER, "h.test", "a@attack.test")
    outcome = await check.run()
    assert resolver.asked == [("attack.test", "TXT")], "only asked for when somebody wants it"
    text = await check.explain(outcome)
    assert text.startswith("a@attack.test, 192.0.2.66: xxx") and len(text) == 400
    for bad in ("\r\n550 x", "grüße", "%{q}", "%"):
        resolver = ZoneResolver(zones | {"why.test": [{"TXT": bad}]})
        assert await SpfCheck(resolver, PEER, "h.test", "a@attack.test").explain(outcome) == ""


async def test_l09_a_server_that_never_answers_costs_twenty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(ZoneResolver):
        async def txt(self, name: str) -> Answer[bytes]:
            await asyncio.Event().wait()
            raise AssertionError

    assert checking._MAX_SECONDS == 20
    monkeypatch.setattr(checking, "_MAX_SECONDS", 0.01)
    outcome = await SpfCheck(Silent({}), PEER, "h.test", "a@attack.test").run()
    assert (outcome.result, outcome.problem) == ("temperror", "the lookups took too long")


@pytest.mark.parametrize("domain", ["", ".", "a..test", "test", "[192.0.2.1]", "x" * 64 + ".test", "x." * 200 + "test"])
async def test_l09_a_name_that_is_none(domain: str) -> None:
    outcome, asked = await check({}, sender=f"a@{domain}")
    assert outcome.result == "none" and not asked


async def test_l09_ipv6_and_ipv4_in_ipv6() -> None:
    zones = {"attack.test": spf("ip4:192.0.2.66 a -all"), "6.test": spf("ip6:2001:db8::/32 -all")}
    assert (await check(zones, peer="::ffff:192.0.2.66"))[0].result == "pass"
    assert (await check(zones, peer="2001:db8::1", sender="a@6.test"))[0].result == "pass"
    zones["attack.test"].append({"AAAA": "::ffff:192.0.2.67"})
    assert (await check(zones, peer="192.0.2.67"))[0].result == "fail", "only A records are for IPv4"


async def test_l09_one_family_without_addresses_is_no_void() -> None:
    hosts = {f"m{n}.test": [{"A": "192.0.2.1"}] for n in range(5)}
    zones = {"attack.test": [*spf("mx ip6:2001:db8::1 -all"), *({"MX": [10, host]} for host in hosts)]} | hosts
    assert (await check(zones, peer="2001:db8::1"))[0].result == "pass"


def test_l09_names_are_cut_from_the_left() -> None:
    assert target_name("a" * 63 + "." + "b." * 150 + "test") == "b." * 124 + "test"
    assert target_name("x" * 300) is None and target_name("a.TEST.") == "a.test"
    assert len(target_name("b." * 100_000 + "test") or "") == 252


def test_l09_reading_is_linear() -> None:
    # Each would take minutes if a pattern could be tried in more than one way.
    for hostile in (b"a" * 16_000, b"a:" + b"/1" * 8_000, b"a:" + b"-." * 8_000, b"exists:%{d" + b"." * 15_000 + b"}",
                    b"a:." + b"a" * 16_000):  # fmt: skip
        assert is_spf(b"v=spf1 " + hostile)
        with pytest.raises(Exception, match=r"\w"):
            parse_spf(b"v=spf1 " + hostile + b" !")
