"""ATTACKS G14: whoever is in the way of mail to a domain with DANE gets it never, and never unencrypted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailserver.model.delivery import Outcome
from mailserver.net.dns import servers
from tests.helpers.authority import issue, tlsa
from tests.helpers.daemon import free_port
from tests.helpers.protected import DOMAIN, MX, Protected, policy_text
from tests.helpers.receiver import Receiver


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Protected]:
    async with Protected.running(tmp_path, monkeypatch, signed=True) as running:
        yield running


def receiver(world: Protected, **how: Any) -> Receiver:
    return Receiver(tls=world.good.server_context(world.directory), **how)


async def test_g14_a_certificate_that_dns_pins(world: Protected) -> None:
    async with receiver(world) as mx:
        world.pins(mx.port, tlsa(world.good.certificate, 3, 1, 1))
        result = await world.send(mx.port)
    assert (result.outcome, result.policy, mx.messages[0].tls) == (Outcome.DELIVERED, "dane", True)
    assert world.told() == [("dane", "")]


async def test_g14_mismatch(world: Protected) -> None:
    async with receiver(world) as mx:
        world.pins(mx.port, tlsa(issue(MX).certificate, 3, 1, 1))
        result = await world.send(mx.port)
    assert (result.outcome, result.status, result.policy) == (Outcome.DEFERRED, "4.7.5", "dane")
    assert "matches no TLSA record" in result.reply
    assert (mx.messages, mx.connections, mx.verbs()) == ([], 1, ["EHLO", "STARTTLS"])
    assert world.told() == [("dane", "validation-failure")]


@pytest.mark.parametrize("answer", [b"", b"454 4.7.0 Not now\r\n", b"502 5.5.1 What?\r\n"])
async def test_g14_no_starttls(world: Protected, answer: bytes) -> None:
    """RFC 7672 §2.2: records are a promise of TLS; somebody takes it out of the dialogue."""
    mx = receiver(world, answers={"STARTTLS": answer}) if answer else Receiver()
    async with mx:
        world.pins(mx.port, tlsa(world.good.certificate, 3, 1, 1))
        result = await world.send(mx.port)
    assert (result.outcome, result.status, "MAIL" in mx.verbs()) == (Outcome.DEFERRED, "4.7.4", False)
    assert world.told() == [("dane", "starttls-not-supported")]


@pytest.mark.parametrize("which", ["records", "addresses", "domain"])
async def test_g14_bogus_is_for_now(world: Protected, which: str) -> None:
    """RFC 7672 §2.1.2: what DNS cannot answer is not a no; not one connection is made."""
    async with receiver(world) as mx:
        world.pins(mx.port, tlsa(world.good.certificate, 3, 1, 1))
        world.dns.bogus({"records": f"_{mx.port}._tcp.{MX}", "addresses": MX, "domain": DOMAIN}[which])
        result = await world.send(mx.port)
    assert (result.outcome, result.status[0], mx.connections) == (Outcome.DEFERRED, "4", 0)
    assert world.told() == ([("dane", "dnssec-invalid")] if which == "records" else [])


@pytest.mark.parametrize("rcode", ["SERVFAIL", "NOTIMP", "REFUSED"])
async def test_g14_no_answer_is_no_permission(world: Protected, rcode: str) -> None:
    async with receiver(world) as mx:
        world.dns.fail(f"_{mx.port}._tcp.{MX}", rcode=rcode)
        result = await world.send(mx.port)
    assert (result.outcome, result.status, mx.connections) == (Outcome.DEFERRED, "4.7.5", 0)
    assert "TLSA records cannot be looked up" in result.reply


@pytest.mark.parametrize("usage", [0, 1])
async def test_g14_usage_0_and_1_demand_tls_of_whatever_certificate(world: Protected, usage: int) -> None:
    """RFC 7672 §3.1.3, §2.2."""
    expired = issue("other.test", expired=True).server_context(world.directory)
    async with Receiver(port=free_port(), tls=expired) as mx:
        world.pins(mx.port, tlsa(world.good.certificate, usage, 1, 1))
        result = await world.send(mx.port)
    assert (result.outcome, result.policy, mx.messages[0].tls) == (Outcome.DELIVERED, "dane", True)
    assert world.told() == [("dane", "tlsa-invalid")]
    async with Receiver(port=mx.port) as bare:
        result = await world.send(mx.port)
    assert (result.outcome, "MAIL" in bare.verbs()) == (Outcome.DEFERRED, False)


async def test_g14_ad_of_a_resolver_that_nobody_vouches_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody on the way could have set it: the records, right or wrong, count for nothing."""
    monkeypatch.setattr(servers, "_is_loopback", lambda address: False)
    async with Protected.running(tmp_path, monkeypatch, signed=True) as world, receiver(world) as mx:
        world.pins(mx.port, tlsa(issue(MX).certificate, 3, 1, 1))
        result = await world.send(mx.port)
        assert (result.outcome, result.policy) == (Outcome.DELIVERED, "opportunistic")
        assert not [name for name, kind in world.dns.queries if kind == "TLSA"]


@pytest.mark.parametrize("unsigned", [DOMAIN, MX, "records"])
async def test_g14_one_step_that_is_not_proven(world: Protected, unsigned: str) -> None:
    async with receiver(world) as mx:
        wrong = tlsa(issue(MX).certificate, 3, 1, 1)
        world.pins(mx.port, wrong, authentic=unsigned != "records")
        if unsigned == DOMAIN:
            world.dns.add(DOMAIN, "MX", f"10 {MX}.")
        elif unsigned == MX:
            world.dns.add(MX, "A", "127.0.0.1")
        result = await world.send(mx.port)
    assert (result.outcome, result.policy) == (Outcome.DELIVERED, "opportunistic")


@pytest.mark.parametrize("shown", ["old", "new"])
async def test_g14_a_rollover_pair(world: Protected, shown: str) -> None:
    """RFC 7671 §8.1: before the key changes both are in DNS."""
    keys = {"old": issue(MX), "new": issue(MX)}
    async with Receiver(tls=keys[shown].server_context(world.directory)) as mx:
        world.pins(mx.port, *(tlsa(key.certificate, 3, 1, 1) for key in keys.values()))
        result = await world.send(mx.port)
    assert (result.outcome, mx.messages[0].tls) == (Outcome.DELIVERED, True)


async def test_g14_a_weaker_digest_does_not_help_an_attacker(world: Protected) -> None:
    """RFC 7671 §9."""
    forged = issue(MX)
    async with Receiver(tls=forged.server_context(world.directory)) as mx:
        world.pins(mx.port, tlsa(forged.certificate, 3, 1, 1), tlsa(world.good.certificate, 3, 1, 2))
        result = await world.send(mx.port)
    assert (result.outcome, mx.messages) == (Outcome.DEFERRED, [])


@pytest.mark.parametrize("names", [(MX,), (DOMAIN,), ("*.far.test",)])
async def test_g14_an_authority_in_dns(world: Protected, names: tuple[str, ...]) -> None:
    """RFC 7672 §3.2.2: for the host or for the domain."""
    own = issue(*names, by=world.root)
    async with Receiver(tls=own.server_context(world.directory)) as mx:
        world.pins(mx.port, tlsa(world.root.certificate, 2, 0, 1))
        result = await world.send(mx.port)
    assert (result.outcome, result.policy) == (Outcome.DELIVERED, "dane")


async def test_g14_its_certificate_for_somebody_else(world: Protected) -> None:
    other = issue("mx.other.test", by=world.root)
    async with Receiver(tls=other.server_context(world.directory)) as mx:
        world.pins(mx.port, tlsa(world.root.certificate, 2, 0, 1))
        result = await world.send(mx.port)
    assert (result.outcome, mx.messages) == (Outcome.DEFERRED, [])
    assert world.told() == [("dane", "certificate-host-mismatch")]


async def test_g14_the_next_host_is_as_good(world: Protected) -> None:
    """RFC 7672 §2.2: falling back to the next SMTP server."""
    world.dns.add(DOMAIN, "MX", f"10 {MX}.", "20 mx2.far.test.", authentic=True)
    world.dns.add("mx2.far.test", "A", "127.0.0.2", authentic=True)
    async with (
        receiver(world, port=free_port()) as bad, receiver(world, host="127.0.0.2", port=bad.port) as good
    ):  # fmt: skip
        world.pins(bad.port, tlsa(issue(MX).certificate, 3, 1, 1))
        world.pins(bad.port, tlsa(world.good.certificate, 3, 1, 1), name="mx2.far.test")
        result = await world.send(bad.port)
    assert (result.outcome, result.remote) == (Outcome.DELIVERED, "mx2.far.test")
    assert (bad.messages, len(good.messages)) == ([], 1)


async def test_g14_mta_sts_does_not_override_it(world: Protected) -> None:
    """RFC 8461 §2: the certificate would do for the policy."""
    world.publishes()
    async with receiver(world) as mx:
        world.pins(mx.port, tlsa(issue(MX).certificate, 3, 1, 1))
        result = await world.send(mx.port)
    assert (result.outcome, mx.messages) == (Outcome.DEFERRED, [])
    assert world.web.requests == []


async def test_g14_where_records_pin_nothing_mta_sts_still_holds(world: Protected) -> None:
    world.publishes()
    async with Receiver(tls=issue("other.test").server_context(world.directory)) as mx:
        world.pins(mx.port, tlsa(world.good.certificate, 1, 1, 1))
        assert (await world.send(mx.port)).outcome is Outcome.DEFERRED
        # A policy that is only tested leaves what the records ask for.
        world.policy = policy_text("testing")
        world.publishes("2")
        assert (await world.send(mx.port)).outcome is Outcome.DELIVERED
        assert mx.messages[0].tls
    assert world.told() == [("sts", "certificate-not-trusted"), ("dane", "tlsa-invalid")]
