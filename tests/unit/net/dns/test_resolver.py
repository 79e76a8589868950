"""The resolver over a name server that answers as each test wants it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mailserver.model.dns import MailExchanger, Tlsa
from mailserver.model.errors import InvalidInput
from mailserver.net.dns.asking import Asker
from mailserver.net.dns.resolver import DnsResolver
from mailserver.net.dns.servers import Servers
from mailserver.net.routes import Routes
from mailserver.net.settings import DnsSettings
from mailserver.ports.resolver import LookupFailed
from tests.helpers.clock import FakeClock
from tests.helpers.dns import Asked, DnsServer

NAME = "example.test"


class FixedRoutes(Routes):
    """IPv6 as the test wants it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.has_ipv6 = True

    def ipv6(self) -> bool:
        return self.has_ipv6


class World:
    def __init__(self, *servers: DnsServer, clock: FakeClock, settings: DnsSettings | None = None) -> None:
        self.clock = clock
        self.routes = FixedRoutes(clock)
        chosen = settings or DnsSettings(servers=[server.endpoint for server in servers])
        self.resolver = DnsResolver(
            Servers(chosen, clock), clock, asker=Asker(waits=(20.0,)), routes=self.routes
        )


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


@pytest.fixture
async def world(dns: DnsServer, fake_clock: FakeClock) -> AsyncIterator[World]:
    made = World(dns, clock=fake_clock)
    yield made
    await made.resolver.close()


async def test_mail_exchangers(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "MX", "10 MX1.Example.test.", "20 mx2.example.test.")
    answer = await world.resolver.mx("EXAMPLE.test.")
    assert set(answer.records) == {MailExchanger(10, "mx1.example.test"), MailExchanger(20, "mx2.example.test")}
    assert (answer.name, answer.exists, answer.authentic, answer.secure_owner) == (NAME, True, False, False)
    assert dns.queries == [(NAME, "MX")]


async def test_the_null_mx(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "MX", "0 .")
    assert (await world.resolver.mx(NAME)).records == (MailExchanger(0, ""),)


async def test_every_other_kind(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "TXT", '"v=spf1 " "-all"', '"\\255\\000"')
    dns.add(f"_25._tcp.{NAME}", "TLSA", "3 1 0 00ff")
    dns.add(NAME, "CAA", '0 issue "ca.test; x=\\"y"')
    dns.add(NAME, "TYPE65280", "\\# 3 010203")
    dns.add("4.3.2.1.in-addr.arpa", "PTR", "Host.Example.test.")
    dns.add(f"{'1.' + '0.' * 29}0.2.ip6.arpa", "PTR", "six.example.test.")
    resolver = world.resolver
    assert set((await resolver.txt(NAME)).records) == {b"v=spf1 -all", b"\xff\0"}
    assert (await resolver.tlsa(f"_25._tcp.{NAME}")).records == (Tlsa(3, 1, 0, b"\0\xff"),)
    assert (await resolver.query(NAME, "caa")).records == ('0 issue "ca.test; x=\\"y"',)
    assert (await resolver.query(NAME, "TYPE65280")).records == ("\\# 3 010203",)
    assert (await resolver.query("4.3.2.1.in-addr.arpa", "PTR")).records == ("host.example.test.",)
    assert (await resolver.ptr("1.2.3.4")).records == ("host.example.test",)
    assert (await resolver.ptr("2000::1")).records == ("six.example.test",)
    for wrong in (resolver.ptr("x"), resolver.query(NAME, "NOTYPE"), resolver.query(NAME, "TYPE70000")):
        with pytest.raises(InvalidInput):
            await wrong


async def test_a_name_that_does_not_exist(world: World) -> None:
    answer = await world.resolver.mx("nothing.test")
    assert (answer.records, answer.exists) == ((), False)


async def test_a_name_without_this_type(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "TXT", '"x"')
    answer = await world.resolver.mx(NAME)
    assert (answer.records, answer.exists) == ((), True)


async def test_is_there_such_a_name(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "TXT", '"x"')
    dns.add(f"a.{NAME}", "A", "192.0.2.1")
    dns.add(f"alias.{NAME}", "CNAME", f"gone.{NAME}.")
    dns.deny(f"denied.{NAME}")
    # Something is below it.
    dns.deny(f"between.{NAME}", "RRSIG NSEC")
    for name, there in (
        (NAME, True), (f"a.{NAME}", True), (f"gone.{NAME}", False), (f"alias.{NAME}", True), (f"denied.{NAME}", False),
        (f"Denied.{NAME}.", False), (f"between.{NAME}", True), ("localhost", True), ("x.invalid", False),
        ("a..test", False), ("x" * 64, False), ("ü" * 300, False),
    ):  # fmt: skip
        assert await world.resolver.exists(name) == there, name
    count = len(dns.queries)
    assert not await world.resolver.exists(f"denied.{NAME}") and len(dns.queries) == count
    # Without asking for the proofs nobody sees them, and other questions do not.
    assert (await world.resolver.query(f"denied.{NAME}", "A")).exists


async def test_a_name_that_cannot_be_looked_up_is_not_known_to_be_there(dns: DnsServer, world: World) -> None:
    dns.fail(NAME)
    with pytest.raises(LookupFailed):
        await world.resolver.exists(NAME)


@pytest.mark.parametrize("name", ["", "x" * 64, f"{'a.' * 130}test", "a..test", "a\\.b", "ü" * 300, "\udcff.test"])
async def test_a_name_that_cannot_be_does_not_exist(dns: DnsServer, world: World, name: str) -> None:
    if name:
        assert not (await world.resolver.txt(name)).exists
    assert dns.queries == []


async def test_names_in_other_scripts_are_asked_as_a_labels(dns: DnsServer, world: World) -> None:
    dns.add("xn--bcher-kva.example", "MX", "1 m.test.")
    assert (await world.resolver.mx("BÜCHER.example")).records
    assert (await world.resolver.mx("bücher。example.")).records
    assert dns.queries == [("xn--bcher-kva.example", "MX")]


async def test_special_names_are_not_asked_for(dns: DnsServer, world: World) -> None:
    assert (await world.resolver.addresses("localhost")).records == ("::1", "127.0.0.1")
    assert (await world.resolver.addresses("x.LocalHost")).records == ("::1", "127.0.0.1")
    assert (await world.resolver.mx("localhost")).exists
    assert not (await world.resolver.mx("some.invalid")).exists
    assert not (await world.resolver.mx("abc.onion")).exists
    assert dns.queries == []


async def test_both_families_take_turns(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "A", "192.0.2.1", "192.0.2.2")
    dns.add(NAME, "AAAA", "2001:db8::1")
    answer = await world.resolver.addresses(NAME)
    assert answer.records[0] == "2001:db8::1"
    assert set(answer.records[1:]) == {"192.0.2.1", "192.0.2.2"}


async def test_without_a_way_to_ipv6_it_is_not_asked_for(dns: DnsServer, world: World) -> None:
    world.routes.has_ipv6 = False
    dns.add(NAME, "A", "192.0.2.1")
    dns.add("six.test", "AAAA", "2001:db8::1")
    assert (await world.resolver.addresses(NAME)).records == ("192.0.2.1",)
    assert dns.queries == [(NAME, "A")]
    # But what has no other address is not taken for having none: tomorrow there may be a way.
    assert (await world.resolver.addresses("six.test")).records == ("2001:db8::1",)


async def test_one_family_may_fail(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "A", "192.0.2.1")
    dns.fail(NAME, "AAAA")
    assert (await world.resolver.addresses(NAME)).records == ("192.0.2.1",)


async def test_a_failure_beside_nothing_is_a_failure(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "TXT", '"x"')
    dns.fail(NAME, "A")
    with pytest.raises(LookupFailed, match=r"example\.test \(A\).*SERVFAIL"):
        await world.resolver.addresses(NAME)


async def test_aliases_are_followed(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "CNAME", "other.test.")
    dns.add("other.test", "CNAME", "third.test.")
    dns.add("third.test", "MX", "5 m.test.")
    answer = await world.resolver.mx(NAME)
    assert (answer.records, answer.name) == ((MailExchanger(5, "m.test"),), "third.test")
    assert (await world.resolver.mx("alias.test")).exists is False
    assert (await world.resolver.txt(NAME)).exists


async def test_an_alias_into_nothing_does_not_exist(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "CNAME", "gone.test.")
    answer = await world.resolver.mx(NAME)
    assert (answer.exists, answer.name, answer.records) == (False, "gone.test", ())


async def test_an_alias_without_its_target_is_followed_by_asking(dns: DnsServer, world: World) -> None:
    for number in range(8):
        target = f"n{number + 1}.test."
        dns.script(f"n{number}.test", "MX", lambda a, t=target: [a.answer(t, kind="CNAME").to_wire()])  # type: ignore[misc]
    dns.add("n8.test", "MX", "5 m.test.")
    assert (await world.resolver.mx("n0.test")).name == "n8.test"
    assert len(dns.queries) == 9


async def test_every_step_to_the_answer_must_be_proved(dns: DnsServer, world: World) -> None:
    dns.script("loose.test", "MX", lambda asked: [asked.answer("safe.test.", kind="CNAME").to_wire()])
    dns.add("safe.test", "MX", "5 m.test.", authentic=True)
    answer = await world.resolver.mx("loose.test")
    assert (answer.name, answer.authentic, answer.secure_owner) == ("safe.test", False, False)
    assert (await world.resolver.mx("safe.test")).authentic


async def test_an_alias_of_itself_is_told_as_such(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "CNAME", "other.test.")
    dns.add("other.test", "CNAME", f"{NAME}.")
    with pytest.raises(LookupFailed, match=rf"its CNAMEs lead back to {NAME}"):
        await world.resolver.mx(NAME)


async def test_nine_aliases_are_too_many(dns: DnsServer, world: World) -> None:
    for number in range(9):
        dns.add(f"n{number}.test", "CNAME", f"n{number + 1}.test.")
    dns.add("n9.test", "MX", "5 m.test.")
    with pytest.raises(LookupFailed, match="more than 8 CNAMEs"):
        await world.resolver.mx("n0.test")
    assert (await world.resolver.mx("n1.test")).records


async def test_an_answer_is_kept_for_its_time(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "CNAME", "other.test.", ttl=50)
    dns.add("other.test", "TXT", '"x"', ttl=300)
    await world.resolver.txt(NAME)
    world.clock.advance(49)
    await world.resolver.txt(NAME)
    assert len(dns.queries) == 1
    world.clock.advance(1)
    await world.resolver.txt(NAME)
    assert len(dns.queries) == 2
    assert world.resolver.counters.remembered == 1


async def test_absence_is_kept_as_long_as_the_zone_says(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "TXT", '"x"')
    for name in (NAME, "gone.test"):
        await world.resolver.mx(name)
    world.clock.advance(59)
    for name in (NAME, "gone.test"):
        await world.resolver.mx(name)
    assert len(dns.queries) == 2
    world.clock.advance(1)
    await world.resolver.mx(NAME)
    assert len(dns.queries) == 3


@pytest.mark.parametrize("ttl", [0, 0x80000000, 0xFFFFFFFF])
async def test_some_answers_are_not_kept(dns: DnsServer, world: World, ttl: int) -> None:
    def answer(asked: Asked) -> list[bytes]:
        wire = asked.answer("5 m.test.", ttl=1).to_wire()
        return [wire.replace(b"\0\x0f\0\1\0\0\0\1", b"\0\x0f\0\1" + ttl.to_bytes(4, "big"))]

    dns.script(NAME, "MX", answer)
    for _ in range(2):
        await world.resolver.mx(NAME)
    assert len(dns.queries) == 2


async def test_no_answer_is_kept_for_longer_than_a_day(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "MX", "5 m.test.", ttl=0x7FFFFFFF)
    dns.negative_ttl = 0x7FFFFFFF
    await world.resolver.mx(NAME)
    await world.resolver.txt(NAME)
    world.clock.advance(10_800)
    await world.resolver.mx(NAME)
    await world.resolver.txt(NAME)
    assert len(dns.queries) == 3
    world.clock.advance(86_400)
    await world.resolver.mx(NAME)
    assert len(dns.queries) == 4


async def test_absence_without_a_soa_is_not_kept(dns: DnsServer, world: World) -> None:
    dns.script(NAME, "MX", lambda asked: [asked.answer().to_wire()])
    for _ in range(2):
        assert (await world.resolver.mx(NAME)).exists
    assert len(dns.queries) == 2


async def test_a_failure_is_kept_for_a_moment(dns: DnsServer, world: World) -> None:
    dns.fail(NAME, rcode="REFUSED")
    for _ in range(3):
        with pytest.raises(LookupFailed, match="REFUSED"):
            await world.resolver.mx(NAME)
    assert len(dns.queries) == 1
    world.clock.advance(10)
    with pytest.raises(LookupFailed):
        await world.resolver.mx(NAME)
    assert len(dns.queries) == 2


async def test_equal_questions_are_asked_once(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "MX", "5 m.test.")
    answers = await asyncio.gather(*(world.resolver.mx(NAME) for _ in range(50)))
    assert len(set(map(id, answers))) == 1
    assert len(dns.queries) == 1


async def test_one_who_gives_up_does_not_take_the_answer_from_others(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "MX", "5 m.test.")
    first = asyncio.create_task(world.resolver.mx(NAME))
    second = asyncio.create_task(world.resolver.mx(NAME))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).records
    assert first.cancelled()


async def test_dnssec_counts_on_the_word_of_this_machine(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "MX", "5 m.test.", authentic=True)
    dns.add(NAME, "A", "192.0.2.1", authentic=True)
    for answer in (await world.resolver.mx(NAME), await world.resolver.txt(NAME), await world.resolver.addresses(NAME)):
        assert answer.authentic
        assert answer.secure_owner


async def test_a_secure_alias_may_lead_out_of_secure_zones(dns: DnsServer, world: World) -> None:
    dns.add(NAME, "CNAME", "plain.test.", authentic=True)
    dns.add("plain.test", "A", "192.0.2.1")
    dns.add("loose.test", "CNAME", "plain.test.")
    answer = await world.resolver.addresses(NAME)
    assert (answer.name, answer.authentic, answer.secure_owner) == ("plain.test", False, True)
    answer = await world.resolver.addresses("loose.test")
    assert (answer.authentic, answer.secure_owner) == (False, False)


async def test_what_dnssec_refuses_is_told_from_what_is_broken(dns: DnsServer, world: World) -> None:
    dns.add("wrong.test", "MX", "5 m.test.")
    dns.bogus("wrong.test")
    dns.fail("broken.test")
    with pytest.raises(LookupFailed, match="DNSSEC") as failed:
        await world.resolver.mx("wrong.test")
    assert failed.value.bogus
    with pytest.raises(LookupFailed, match="SERVFAIL") as failed:
        await world.resolver.mx("broken.test")
    assert not failed.value.bogus
    assert failed.value.temporary
    assert failed.value.status == "4.4.3"


@pytest.mark.parametrize(("code", "bogus"), [(9, True), (6, True), (22, False)])
async def test_the_servers_own_explanation_is_taken(dns: DnsServer, world: World, code: int, bogus: bool) -> None:
    import dns.edns as edns
    import dns.rcode as rcodes

    def answer(asked: Asked) -> list[bytes]:
        made = asked.answer()
        made.set_rcode(rcodes.SERVFAIL)
        made.use_edns(0, options=[edns.EDEOption(edns.EDECode(code), "no DNSKEY\r\n250 OK")])
        return [made.to_wire()]

    dns.script(NAME, "MX", answer)
    with pytest.raises(LookupFailed) as failed:
        await world.resolver.mx(NAME)
    assert failed.value.bogus is bogus
    assert f"no DNSKEY??250 OK (EDE {code})" in failed.value.detail
    assert len(dns.queries) == 1


async def test_a_file_of_the_system_is_read_again_and_old_answers_are_dropped(
    tmp_path: Path, fake_clock: FakeClock
) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.53\noptions trust-ad\n")
    servers = Servers(DnsSettings(), fake_clock, path)
    assert [(each.address, each.trusted) for each in servers.current()] == [("192.0.2.53", True)]
    path.write_text("# now\nnameserver 127.0.0.1 # x\nnameserver ::1\nnameserver nonsense\nnameserver 192.0.2.54\n")
    assert servers.current()[0].address == "192.0.2.53"
    fake_clock.advance(5)
    assert [(str(each), each.trusted) for each in servers.current()] == [
        ("127.0.0.1", True), ("[::1]", True), ("192.0.2.54", False),
    ]  # fmt: skip
    assert servers.changed == 3
    path.write_text("")
    fake_clock.advance(5)
    assert len(servers.current()) == 3


async def test_without_the_file_this_machine_is_asked(tmp_path: Path, fake_clock: FakeClock) -> None:
    assert [str(each) for each in Servers(DnsSettings(), fake_clock, tmp_path / "none").current()] == ["127.0.0.1"]


def test_trust_is_for_those_that_are_listed(fake_clock: FakeClock) -> None:
    servers = ["192.0.2.1:5353", "192.0.3.1", "[::1]:54", "fe80::1%lo", "127.0.0.11"]
    settings = DnsSettings(servers=servers, trust_ad=["192.0.2.0/24"])
    found = Servers(settings, fake_clock).current()
    assert [each.trusted for each in found] == [True, False, True, False, False]
    assert [each.endpoint[:2] for each in found[:4]] == [
        ("192.0.2.1", 5353), ("192.0.3.1", 53), ("::1", 54), ("fe80::1", 53),
    ]  # fmt: skip
    assert found[3].endpoint == ("fe80::1", 53, 0, 1)


async def test_the_cache_has_a_bound(dns: DnsServer, fake_clock: FakeClock) -> None:
    servers = Servers(DnsSettings(servers=[dns.endpoint]), fake_clock)
    resolver = DnsResolver(servers, fake_clock, cache=6000)
    for number in range(30):
        dns.add(f"n{number}.test", "MX", "5 m.test.")
        await resolver.mx(f"n{number}.test")
    assert len(resolver._cache) == 10
    await resolver.mx("n29.test")
    assert len(dns.queries) == 30
    dns.add("big.test", "MX", *(f"{number} m{number}.test." for number in range(20)))
    for _ in range(2):
        await resolver.mx("big.test")
    assert len(dns.queries) == 32
    assert len(resolver._cache) == 10
    await resolver.mx("n0.test")
    assert len(dns.queries) == 33


async def test_other_servers_mean_other_answers(dns: DnsServer, tmp_path: Path, fake_clock: FakeClock) -> None:
    dns.add(NAME, "MX", "5 m.test.", authentic=True)
    world = World(dns, clock=fake_clock)
    servers = world.resolver.servers
    assert (await world.resolver.mx(NAME)).authentic
    with DnsServer() as other:
        other.add(NAME, "MX", "5 other.test.")
        servers.update(DnsSettings(servers=[other.endpoint]))
        assert (await world.resolver.mx(NAME)).records == (MailExchanger(5, "other.test"),)
    await world.resolver.close()
