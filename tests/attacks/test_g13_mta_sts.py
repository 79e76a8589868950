"""ATTACKS G13: policies of MTA-STS over a real HTTPS server, and whoever is in the way of them or of the mail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from mailserver.model.delivery import Outcome, Result
from tests.helpers.authority import Issued, issue
from tests.helpers.protected import DOMAIN, MX, Protected, policy_text
from tests.helpers.receiver import Receiver

D, T = Outcome.DELIVERED, Outcome.DEFERRED


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Protected]:
    async with Protected.running(tmp_path, monkeypatch) as running:
        running.publishes()
        yield running


def receiver(world: Protected, certificate: Issued | None = None, **how: Any) -> Receiver:
    return Receiver(tls=(certificate or world.good).server_context(world.directory), **how)


async def sent(world: Protected, certificate: Issued | None = None, **how: Any) -> tuple[Result, Receiver]:
    """One message to a receiver with this certificate."""
    async with receiver(world, certificate, **how) as mx:
        return await world.send(mx.port), mx


async def test_g13_a_policy_is_kept(world: Protected) -> None:
    result, mx = await sent(world)
    assert (result.outcome, result.policy, mx.messages[0].tls) == (D, "sts", True)
    assert world.told() == [("sts", "")]
    assert world.web.requests == [f"GET mta-sts.{DOMAIN}:{world.web.port} /.well-known/mta-sts.txt"]
    # The next message finds it in the cache.
    assert (await sent(world))[0].outcome is D
    assert len(world.web.requests) == 1


# enforce never downgrades


@pytest.mark.parametrize(("names", "how", "failure"), [
    ((MX,), {"self_signed": True}, "certificate-not-trusted"),
    (("mx.evil.test",), {}, "certificate-host-mismatch"),
    (("far.test",), {}, "certificate-host-mismatch"),
    ((MX,), {"expired": True}, "certificate-expired"),
])  # fmt: skip
async def test_g13_enforce_wants_the_right_certificate(
    world: Protected, names: tuple[str, ...], how: dict[str, Any], failure: str
) -> None:
    own = issue(*names, by=None if how.get("self_signed") else world.root, expired=how.get("expired", False))
    result, mx = await sent(world, own)
    assert (result.outcome, result.status, mx.messages, mx.connections) == (T, "4.7.5", [], 1)
    assert world.told() == [("sts", failure)]


@pytest.mark.parametrize("answers", [{"STARTTLS": b"454 4.7.0 Not now\r\n"}, None])
async def test_g13_enforce_wants_tls(world: Protected, answers: Any) -> None:
    mx = Receiver() if answers is None else receiver(world, answers=answers)
    async with mx:
        result = await world.send(mx.port)
    assert (result.outcome, result.status, "MAIL" in mx.verbs()) == (T, "4.7.4", False)
    assert world.told() == [("sts", "starttls-not-supported")]


async def test_g13_enforce_wants_the_hosts_that_it_names(world: Protected) -> None:
    """Forged MX records lead to a server with a good certificate of its own."""
    world.dns.add(DOMAIN, "MX", "10 mx.evil.test.")
    world.dns.add("mx.evil.test", "A", "127.0.0.1")
    result, mx = await sent(world, issue("mx.evil.test", by=world.root))
    assert (result.outcome, mx.connections) == (T, 0)
    assert "does not name mx.evil.test" in result.reply
    assert world.told() == [("sts", "validation-failure")]


async def test_g13_the_next_host_may_be_one_that_it_names(world: Protected) -> None:
    """RFC 8461 §8.4: the list is gone through as always, and what does not fit is as if it were unreachable."""
    world.dns.add(DOMAIN, "MX", "10 mx.evil.test.", f"20 {MX}.")
    world.dns.add("mx.evil.test", "A", "127.0.0.2")
    result, _ = await sent(world)
    assert (result.outcome, result.remote) == (D, MX)


@pytest.mark.parametrize("gone", ["record", "dns of the record", "web server", "policy", "policy, with a new id"])
async def test_g13_enforce_holds_whatever_becomes_of_its_publication(world: Protected, gone: str) -> None:
    assert (await sent(world))[0].outcome is D
    if gone == "record":
        world.dns.add(f"_mta-sts.{DOMAIN}", "TXT")
    elif gone == "dns of the record":
        world.dns.fail(f"_mta-sts.{DOMAIN}")
    elif gone == "web server":
        world.dns.add(f"mta-sts.{DOMAIN}", "A", "127.0.0.77")
    else:
        world.policy = "<html>Domain for sale</html>"
    if "new id" in gone or gone == "web server":
        world.publishes("2")
    world.clock.advance(6 * 86400)
    async with Receiver() as bare:
        assert (await world.send(bare.port)).outcome is T
        assert bare.messages == []
    assert (await sent(world))[0].outcome is D


# testing never blocks


@pytest.mark.parametrize("trouble", ["no TLS", "self-signed", "expired", "other name", "not named", "none"])
async def test_g13_testing_never_blocks(world: Protected, trouble: str) -> None:
    world.policy = policy_text("testing", "mx2.far.test" if trouble == "not named" else "*.far.test")
    own = {
        "self-signed": issue(MX), "expired": issue(MX, by=world.root, expired=True),
        "other name": issue("x.test", by=world.root),
    }.get(trouble, world.good)  # fmt: skip
    mx = Receiver() if trouble == "no TLS" else receiver(world, own)
    async with mx:
        result = await world.send(mx.port)
    assert (result.outcome, mx.messages[0].tls) == (D, trouble != "no TLS")
    failures = {
        "no TLS": "starttls-not-supported", "self-signed": "certificate-not-trusted", "expired": "certificate-expired",
        "other name": "certificate-host-mismatch", "not named": "validation-failure", "none": "",
    }  # fmt: skip
    assert world.told() == [("sts", failures[trouble])]


async def test_g13_none_is_no_policy(world: Protected) -> None:
    world.policy = "version: STSv1\nmode: none\nmax_age: 86400\n"
    async with Receiver() as bare:
        result = await world.send(bare.port)
    assert (result.outcome, result.policy) == (D, "opportunistic")


# fetching


def answers(kind: str, world: Protected) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        if kind == "redirect":
            if request.path != "/.well-known/mta-sts.txt":
                return web.Response(text=policy_text())
            raise web.HTTPFound(f"https://mta-sts.{DOMAIN}:{world.web.port}/policy.txt")
        if kind == "large":
            return web.Response(text=policy_text() + "x: y\r\n" * (64 << 10))
        if kind == "html":
            return web.Response(text=policy_text(), content_type="text/html")
        if kind == "gzip":
            return web.Response(text=policy_text(), headers={"Content-Encoding": "gzip"})
        if kind == "slow":
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            await response.write(policy_text().encode())
            await asyncio.Event().wait()
        return web.Response(status=int(kind), text=policy_text())

    return answer


@pytest.mark.parametrize("kind", ["redirect", "large", "html", "gzip", "404", "500", "204", "203"])
async def test_g13_what_is_no_answer(world: Protected, kind: str) -> None:
    """As if there were no MTA-STS (RFC 8461 §3.3): mail goes, and the domain is told in its report."""
    world.web.answer = answers(kind, world)
    result, _ = await sent(world, issue("whatever.test"))
    assert (result.outcome, result.policy) == (D, "opportunistic")
    assert world.told() == [("opportunistic", "sts-policy-fetch-error")]
    assert len(world.web.requests) == 1


async def test_g13_a_slow_policy_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Protected.running(tmp_path, monkeypatch, fetch_timeout=0.3) as world:
        world.publishes()
        world.web.answer = answers("slow", world)
        result, _ = await sent(world)
        assert (result.outcome, world.told()) == (D, [("opportunistic", "sts-policy-fetch-error")])


@pytest.mark.parametrize("kind", ["self-signed", "expired", "other name", "common name only"])
async def test_g13_a_bad_certificate_of_the_policy_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    root = issue(authority=True)
    name = f"mta-sts.{DOMAIN}"
    own = {
        "self-signed": issue(name), "expired": issue(name, by=root, expired=True),
        "other name": issue(DOMAIN, by=root), "common name only": issue(by=root, common_name=name),
    }[kind]  # fmt: skip
    ca_file = root.write_ca(tmp_path)
    async with Protected.running(tmp_path, monkeypatch, certificate=own, ca_file=ca_file) as world:
        world.publishes()
        result, _ = await sent(world)
        assert (result.outcome, world.told()) == (D, [("opportunistic", "sts-webpki-invalid")])
        assert world.web.requests == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1"])
async def test_g13_a_policy_host_in_our_own_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    async with Protected.running(tmp_path, monkeypatch, private_web=False) as world:
        world.publishes()
        world.dns.add(f"mta-sts.{DOMAIN}", "A", address)
        result, _ = await sent(world)
        assert (result.outcome, world.told()) == (D, [("opportunistic", "sts-policy-fetch-error")])
        assert world.web.connections == 0


async def test_g13_an_expired_policy_is_not_used(world: Protected) -> None:
    world.policy = policy_text(max_age=3600)
    assert (await sent(world))[0].policy == "sts"
    world.clock.advance(3601)
    world.web.answer = answers("404", world)
    async with Receiver() as bare:
        result = await world.send(bare.port)
    assert (result.outcome, result.policy) == (D, "opportunistic")


@pytest.mark.parametrize(("pattern", "host", "fits"), [
    ("*.far.test", "mx.far.test", True), ("*.test", "mx.far.test", False), ("*.mx.far.test", "mx.far.test", False),
    ("far.test", "mx.far.test", False), ("*.far.test", "far.test", False), ("MX.FAR.TEST", "mx.far.test", True),
])  # fmt: skip
async def test_g13_a_star_is_one_label(world: Protected, pattern: str, host: str, fits: bool) -> None:
    world.policy = policy_text(mx=pattern)
    world.dns.add(DOMAIN, "MX", f"10 {host}.")
    world.dns.add(DOMAIN, "A", "127.0.0.1")
    result, _ = await sent(world, issue(host, by=world.root))
    assert (result.outcome is D) is fits


async def test_g13_two_records_are_none(world: Protected) -> None:
    world.dns.add(f"_mta-sts.{DOMAIN}", "TXT", '"v=STSv1; id=1;"', '"v=STSv1; id=2;"')
    assert (await sent(world, issue("whatever.test")))[0].outcome is D
    assert world.web.requests == []


async def test_g13_a_policy_may_be_delegated(world: Protected) -> None:
    """RFC 8461 §8.2: by CNAMEs, with a certificate for the domain's own policy host."""
    world.dns.add(f"_mta-sts.{DOMAIN}", "TXT")
    world.dns.add(f"_mta-sts.{DOMAIN}", "CNAME", "_mta-sts.provider.test.")
    world.dns.add("_mta-sts.provider.test", "TXT", '"v=STSv1; id=1;"')
    assert (await sent(world))[0].policy == "sts"


async def test_g13_nothing_of_a_policy_host_reaches_the_log_or_a_terminal(world: Protected) -> None:
    world.policy = "version: STSv1\r\nmode: \x1b[2Jcanary-7f\r\n"
    with capture_logs() as logs:
        assert (await sent(world))[0].outcome is D
    assert "canary-7f" not in str(logs)
    assert [line["event"] for line in logs if line["event"].startswith("mta_sts")] == ["mta_sts.fetch_failed"]
