"""ATTACKS G09 to G12: what DNS of a stranger's domain can do to mail that is sent there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass

import dns.message
import pytest

from mailserver.model.delivery import Destination
from mailserver.net import dial as dialling
from mailserver.net.dial import DialFailed, dial
from mailserver.net.dns import asking
from mailserver.net.dns.asking import Asker
from mailserver.net.dns.resolver import DnsResolver
from mailserver.net.dns.servers import Servers
from mailserver.net.routes import Routes
from mailserver.net.settings import DnsSettings
from mailserver.outbound.exchangers import MAX_ADDRESSES, MAX_HOSTS, Exchanger, Exchangers
from tests.helpers.clock import FakeClock
from tests.helpers.dns import Asked, DnsServer

DOMAIN = "example.test"
MX = "mx.example.test"
PUBLIC = "1.0.0.1"
OURS = "9.9.9.9"


class Ipv6Routes(Routes):
    def ipv6(self) -> bool:
        return True


@dataclass
class World:
    """The resolver and the search for hosts, over a name server of the test."""

    dns: DnsServer
    resolver: DnsResolver

    async def search(
        self, name: str = DOMAIN, *, allow_private: bool = False, port: int = 25
    ) -> tuple[list[Exchanger], str, bool]:
        """The hosts; or the status of the failure, and whether it is temporary."""
        exchangers = Exchangers(
            self.resolver, port=port, allow_private=allow_private, own_names=["mail.ours.test"],
            own=lambda address, _port: address == OURS,
        )  # fmt: skip
        search = exchangers.search(Destination(name=name))
        found = [exchanger async for exchanger in search]
        if search.error is None:
            assert found
            return found, "", False
        assert not found
        return [], search.error.status, search.error.temporary


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


async def over(server: DnsServer, clock: FakeClock, *waits: float) -> AsyncIterator[World]:
    servers = Servers(DnsSettings(servers=[server.endpoint]), clock)
    resolver = DnsResolver(servers, clock, asker=Asker(waits=waits, tcp_timeout=10), routes=Ipv6Routes(clock))
    yield World(server, resolver)
    await resolver.close()


@pytest.fixture
async def world(dns_server: DnsServer, fake_clock: FakeClock) -> AsyncIterator[World]:
    async for made in over(dns_server, fake_clock, 20.0):
        yield made


@pytest.fixture
async def hasty(dns_server: DnsServer, fake_clock: FakeClock) -> AsyncIterator[World]:
    """Where the answer that counts never comes."""
    async for made in over(dns_server, fake_clock, 0.1, 0.1):
        yield made


def good(asked: Asked) -> bytes:
    return asked.answer(f"10 {MX}.").to_wire()


def wrong_id(asked: Asked) -> Iterable[bytes]:
    wire = good(asked)
    return [bytes([wire[0] ^ 1]) + wire[1:]]


def junk_first(asked: Asked) -> Iterable[bytes]:
    return [b"", b"junk" * 50, asked.message.id.to_bytes(2, "big") + b"\xff" * 100, good(asked)]


def other_question(asked: Asked) -> Iterable[bytes]:
    return [dns.message.make_response(dns.message.make_query("x.test.", "MX", id=asked.message.id)).to_wire()]


def pointer_loop(asked: Asked) -> Iterable[bytes]:
    wire = bytearray(asked.answer().to_wire())
    wire[7] = 1
    at = len(wire) - 11 if asked.message.edns >= 0 else len(wire)
    name = at + 12
    record = b"\xc0\x0c\0\x0f\0\1\0\0\1\0\0\4\0\5" + (0xC000 | name + 2).to_bytes(2, "big")
    return [bytes(wire[:at]) + record + bytes(wire[at:])]


TEMPORARY = ("4.4.3", True)
SCRIPTS: dict[str, tuple[Callable[[Asked], Iterable[bytes]], tuple[str, bool] | None]] = {
    "timeout": (lambda _: [], TEMPORARY),
    "only a wrong id": (wrong_id, TEMPORARY),
    "a wrong id first": (lambda asked: [*wrong_id(asked), good(asked)], None),
    "junk first": (junk_first, None),
    "only junk": (lambda _: [b"junk" * 10], TEMPORARY),
    "pointer loop": (pointer_loop, TEMPORARY),
    "half an answer": (lambda asked: [good(asked)[:-5]], TEMPORARY),
    "an answer to another question": (other_question, TEMPORARY),
}  # fmt: skip


@pytest.mark.parametrize("what", SCRIPTS)
async def test_g09_bad_answers(what: str, world: World, hasty: World) -> None:
    handler, expected = SCRIPTS[what]
    world = hasty if expected else world
    world.dns.script(DOMAIN, "MX", handler)
    world.dns.add(MX, "A", PUBLIC)
    found, *failure = await world.search()
    if expected is None:
        assert [(each.name, each.addresses) for each in found] == [(MX, (PUBLIC,))]
    else:
        assert tuple(failure) == expected


@pytest.mark.parametrize(
    ("rcode", "status", "temporary"),
    [("SERVFAIL", "4.4.3", True), ("REFUSED", "4.4.3", True), ("NOTIMP", "4.4.3", True), ("NXDOMAIN", "5.1.2", False)],
)
@pytest.mark.parametrize("kind", ["MX", "A"])
async def test_g09_failures(world: World, rcode: str, status: str, temporary: bool, kind: str) -> None:
    """Only a name that does not exist is final."""
    world.dns.fail(DOMAIN if kind == "MX" else MX, rcode=rcode)
    world.dns.add(DOMAIN, "MX", f"10 {MX}.")
    expected = "5.4.4" if (kind, rcode) == ("A", "NXDOMAIN") else status
    assert await world.search() == ([], expected, temporary)


async def test_g09_a_question_has_an_end(world: World) -> None:
    """MX, then addresses, each perhaps cut and asked again over TCP, and once more without DNSSEC: within a minute."""
    one = min(sum(asking.WAITS), asking.MAX_TIME) + asking.TCP_TIMEOUT
    without_dnssec = asking.WAITS[0] + asking.TCP_TIMEOUT
    assert 2 * (one + without_dnssec) <= 60


async def test_g09_truncation(world: World) -> None:
    world.dns.add(DOMAIN, "MX", *(f"{number} host-with-a-long-name-{number}.test." for number in range(200)))
    world.dns.add("host-with-a-long-name-0.test", "A", PUBLIC)
    found, *_ = await world.search()
    assert found[0].name == "host-with-a-long-name-0.test"
    assert world.dns.asked[1].tcp


async def test_g09_truncation_over_tcp_too(world: World) -> None:
    def cut(asked: Asked) -> Iterable[bytes]:
        made = bytearray(asked.answer().to_wire())
        made[2] |= 2
        made[7] = 9
        return [bytes(made)]

    world.dns.script(DOMAIN, "MX", cut)
    assert await world.search() == ([], *TEMPORARY)


@pytest.mark.parametrize("targets", [[DOMAIN], ["a.test", DOMAIN], ["a.test", "b.test", "a.test"]])
async def test_g09_cname_loop(world: World, targets: list[str]) -> None:
    for name, target in zip([DOMAIN, *targets], targets, strict=False):
        world.dns.add(name, "CNAME", f"{target}.")
    assert await world.search() == ([], *TEMPORARY)


async def test_g09_cname_loop_over_several_answers(world: World) -> None:
    for name, target in ((DOMAIN, "a.test."), ("a.test", f"{DOMAIN}.")):
        world.dns.script(name, "MX", lambda asked, t=target: [asked.answer(t, kind="CNAME").to_wire()])  # type: ignore[misc]
    assert await world.search() == ([], *TEMPORARY)
    assert len(world.dns.queries) <= 10


async def test_g09_an_mx_that_is_an_alias_is_taken_as_others_take_it(world: World) -> None:
    world.dns.add(DOMAIN, "MX", "10 alias.test.")
    world.dns.add("alias.test", "CNAME", f"{MX}.")
    world.dns.add(MX, "A", PUBLIC)
    found, *_ = await world.search()
    assert [(each.name, each.addresses) for each in found] == [("alias.test", (PUBLIC,))]


async def test_g09_more_mx_than_anybody_needs(world: World) -> None:
    hosts = [f"{number} h{number}.test." for number in range(3000)]
    world.dns.add(DOMAIN, "MX", *hosts)
    world.dns.script("*", "A", lambda asked: [asked.answer(PUBLIC).to_wire()])
    world.dns.script("*", "AAAA", lambda asked: [asked.answer().to_wire()])
    found, *_ = await world.search()
    assert len(found) == MAX_HOSTS
    assert len([kind for _, kind in world.dns.queries if kind != "MX"]) == 2 * MAX_HOSTS


async def test_g09_more_addresses_than_anybody_needs(world: World) -> None:
    world.dns.add(DOMAIN, "MX", f"10 {MX}.")
    world.dns.add(MX, "A", *(f"1.0.{number // 250}.{number % 250}" for number in range(1000)))
    found, *_ = await world.search()
    assert len(found[0].addresses) == MAX_ADDRESSES


async def test_g10_null_mx(world: World) -> None:
    world.dns.add(DOMAIN, "MX", "0 .")
    assert await world.search() == ([], "5.1.10", False)
    assert world.dns.queries == [(DOMAIN, "MX")]


async def test_g10_null_mx_and_others(world: World) -> None:
    world.dns.add(DOMAIN, "MX", "0 .", f"10 {MX}.")
    world.dns.add(MX, "A", PUBLIC)
    assert [each.name for each in (await world.search())[0]] == [MX]


async def test_g10_mx_localhost(world: World) -> None:
    world.dns.add(DOMAIN, "MX", "10 localhost.")
    assert await world.search() == ([], "5.4.4", False)
    world.dns.add("other.test", "MX", "10 localhost.", f"20 {MX}.")
    world.dns.add(MX, "A", PUBLIC)
    assert [each.name for each in (await world.search("other.test"))[0]] == [MX]


async def test_g10_no_mx_only_ipv6(world: World) -> None:
    world.dns.add(DOMAIN, "AAAA", "2a00::1")
    found, *_ = await world.search()
    assert [(each.name, each.addresses) for each in found] == [(DOMAIN, ("2a00::1",))]


PRIVATE = [
    "127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1",
    "169.254.169.254", "100.64.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1",
    "2002:a00:1::", "fe80::1", "fd00::1", "2001::1", "192.0.2.1",
]  # fmt: skip


@pytest.mark.parametrize("address", [*PRIVATE, "0.0.0.0", "::", "255.255.255.255", "224.0.0.1", "ff02::1"])
async def test_g11_private_addresses(world: World, address: str) -> None:
    world.dns.add(DOMAIN, "MX", f"10 {MX}.")
    world.dns.add(MX, "AAAA" if ":" in address else "A", address)
    assert await world.search() == ([], "5.4.4", False)
    with pytest.raises(DialFailed) as failed:
        await dial([address], 25)
    assert failed.value.refused
    found, status, _ = await world.search(allow_private=True)
    assert bool(found) is (address in PRIVATE and "::ffff:" not in address)
    assert status == ("" if found else "5.4.4")


async def test_g11_our_own_address(world: World) -> None:
    world.dns.add(DOMAIN, "MX", f"10 {MX}.")
    world.dns.add(MX, "A", OURS)
    assert await world.search() == ([], "5.4.6", False)
    world.dns.add("two.test", "MX", "10 better.test.", f"20 {MX}.", "30 worse.test.")
    world.dns.add("better.test", "A", PUBLIC)
    world.dns.add("worse.test", "A", PUBLIC)
    assert [each.name for each in (await world.search("two.test"))[0]] == ["better.test"]
    world.dns.add("name.test", "MX", "10 Mail.Ours.TEST.")
    assert await world.search("name.test") == ([], "5.4.6", False)


async def test_g12_the_address_that_was_checked_is_the_one_that_is_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS says a public address once, and our own machine from then on."""
    answers = iter([PUBLIC])
    world.dns.add(DOMAIN, "MX", f"10 {MX}.")
    world.dns.script(MX, "A", lambda asked: [asked.answer(next(answers, "127.0.0.1"), ttl=0).to_wire()])
    world.dns.script(MX, "AAAA", lambda asked: [asked.answer().to_wire()])
    found, *_ = await world.search()
    asked = len(world.dns.queries)
    connected: list[str] = []

    async def connect(address: str, *_: object) -> socket.socket:
        connected.append(address)
        return socket.socket()

    monkeypatch.setattr(dialling, "connect", connect)
    (await dial(found[0].addresses, 25)).socket.close()
    assert connected == [PUBLIC]
    assert len(world.dns.queries) == asked
    assert await world.search() == ([], "5.4.4", False)


async def test_g12_no_connection_is_made_to_what_was_refused(world: World) -> None:
    accepted = 0

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    world.dns.add(DOMAIN, "MX", f"10 {MX}.")
    world.dns.add(MX, "A", "127.0.0.1")
    assert (await world.search(port=port))[1] == "5.4.4"
    for spelling in ("127.0.0.1", "::ffff:127.0.0.1", "127.1", "0x7f.1", "2130706433", "localhost", "0.0.0.0"):
        with pytest.raises(DialFailed):
            await dial([spelling], port)
    (await dial(["127.0.0.1"], port, allow_private=True)).socket.close()
    server.close()
    await asyncio.sleep(0)
    assert accepted <= 1
