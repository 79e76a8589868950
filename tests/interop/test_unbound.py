"""What a real validating resolver says of real signatures, through our own resolver."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import pytest

from mailserver.model.delivery import Destination
from mailserver.model.dns import Answer, Tlsa
from mailserver.net.dns.resolver import DnsResolver
from mailserver.net.dns.servers import Servers
from mailserver.net.routes import Routes
from mailserver.net.settings import DnsSettings
from mailserver.outbound.exchangers import Exchangers
from mailserver.ports.resolver import LookupFailed
from tests.helpers.clock import FakeClock
from tests.helpers.dns import DnsServer
from tests.interop.unbound import Unbound, needs_unbound, sign

pytestmark = [pytest.mark.interop, needs_unbound]

ZONE = """
@ SOA ns hostmaster 1 7200 3600 1209600 60
@ NS ns
ns A 127.0.0.1
@ MX 10 mx
@ MX 20 out
mx A 1.0.0.1
mx AAAA 2a00::1
_25._tcp.mx TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
alias CNAME mx
out CNAME mx.plain.test.
text TXT "v=spf1 -all"
many TXT {many}
"""
PLAIN = """$ORIGIN plain.test.
$TTL 300
@ SOA ns hostmaster 1 7200 3600 1209600 60
@ NS ns
ns A 127.0.0.1
@ MX 10 mx.signed.test.
mx A 1.0.0.2
alias CNAME mx.signed.test.
"""
KINDS = [("mx", ""), ("txt", "text."), ("tlsa", "_25._tcp.mx.")]


def zones(broken: DnsServer) -> tuple[dict[str, str], list[str]]:
    text = ZONE.format(many=" ".join(f'"{"x" * 200}{number}"' for number in range(20)))
    found: dict[str, str] = {"plain.test": PLAIN, "broken.test": str(broken.port)}
    anchors = []
    for name in ("signed.test", "changed.test", "expired.test", "holes.test"):
        found[name], anchor = sign(name, text, expired=name == "expired.test")
        anchors.append(anchor)
    found["changed.test"] = found["changed.test"].replace(" -all", " +all")
    for address in ("1.0.0.1", "2a00::1"):
        found["changed.test"] = found["changed.test"].replace(address, f"{address}9")
    # Absence cannot be proved any more.
    found["holes.test"] = re.sub(r"(?m)^.* (?:RRSIG )?NSEC .*\n", "", found["holes.test"])
    return found, anchors


@pytest.fixture(scope="module", params=[True, False], ids=["explaining", "terse"])
def unbound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unbound]:
    with DnsServer() as broken:
        broken.fail("broken.test")
        broken.deny("denied.broken.test")
        broken.deny("between.broken.test", "RRSIG NSEC")
        known, anchors = zones(broken)
        with Unbound(tmp_path_factory.mktemp("unbound"), known, anchors, explain=request.param) as running:
            yield running


class Ipv6Routes(Routes):
    def ipv6(self) -> bool:
        return True


@pytest.fixture
async def resolver(unbound: Unbound) -> AsyncIterator[DnsResolver]:
    clock = FakeClock()
    made = DnsResolver(Servers(DnsSettings(servers=[unbound.endpoint]), clock), clock, routes=Ipv6Routes(clock))
    yield made
    await made.close()


async def ask(resolver: DnsResolver, method: str, name: str) -> Answer[object]:
    return await getattr(resolver, method)(name)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("method", "prefix"), KINDS)
async def test_good_signatures(resolver: DnsResolver, method: str, prefix: str) -> None:
    answer = await ask(resolver, method, f"{prefix}signed.test")
    assert answer.records
    assert answer.authentic
    assert answer.secure_owner


async def test_the_values_are_right(resolver: DnsResolver) -> None:
    assert {(each.preference, each.host) for each in (await resolver.mx("signed.test")).records} == {
        (10, "mx.signed.test"), (20, "out.signed.test"),
    }  # fmt: skip
    answer = await resolver.addresses("mx.signed.test")
    assert (answer.records, answer.authentic) == (("2a00::1", "1.0.0.1"), True)
    tlsa = (await resolver.tlsa("_25._tcp.mx.signed.test")).records
    assert tlsa == (Tlsa(3, 1, 1, bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")),)


async def test_absence_is_proved(resolver: DnsResolver) -> None:
    nothing = await resolver.tlsa("_25._tcp.ns.signed.test")
    assert (nothing.records, nothing.exists, nothing.authentic) == ((), False, True)
    other = await resolver.txt("mx.signed.test")
    assert (other.records, other.exists, other.authentic) == ((), True, True)


async def test_a_name_denied_without_an_error_does_not_exist(resolver: DnsResolver) -> None:
    assert not await resolver.exists("denied.broken.test")
    assert await resolver.exists("between.broken.test")
    # What is proved in the usual way.
    assert not await resolver.exists("nothing.signed.test")
    assert await resolver.exists("_tcp.mx.signed.test")
    assert await resolver.exists("out.signed.test")


async def test_aliases(resolver: DnsResolver) -> None:
    inside = await resolver.addresses("alias.signed.test")
    assert (inside.name, inside.authentic, inside.secure_owner) == ("mx.signed.test", True, True)
    out = await resolver.addresses("out.signed.test")
    assert (out.name, out.authentic, out.secure_owner) == ("mx.plain.test", False, True)
    into = await resolver.addresses("alias.plain.test")
    assert (into.name, into.authentic, into.secure_owner) == ("mx.signed.test", False, False)


async def test_without_signatures(resolver: DnsResolver) -> None:
    answer = await resolver.mx("plain.test")
    assert answer.records
    assert not answer.authentic
    assert not (await resolver.tlsa("_25._tcp.mx.plain.test")).authentic


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("addresses", "mx.changed.test"), ("txt", "text.changed.test"), ("mx", "expired.test"),
        ("addresses", "nothing.expired.test"), ("tlsa", "_25._tcp.ns.holes.test"), ("txt", "mx.holes.test"),
    ],
)  # fmt: skip
async def test_bad_signatures_are_a_failure_and_called_so(resolver: DnsResolver, method: str, name: str) -> None:
    with pytest.raises(LookupFailed, match="DNSSEC validation fails") as failed:
        await ask(resolver, method, name)
    assert failed.value.bogus


async def test_a_broken_zone_is_not_called_bogus(resolver: DnsResolver) -> None:
    with pytest.raises(LookupFailed, match="SERVFAIL") as failed:
        await resolver.mx("broken.test")
    assert not failed.value.bogus


async def test_an_answer_that_needs_tcp(resolver: DnsResolver) -> None:
    answer = await resolver.txt("many.signed.test")
    assert len(answer.records[0]) > 4000
    assert answer.authentic


async def test_another_machines_word_does_not_count(unbound: Unbound) -> None:
    clock = FakeClock()
    servers = Servers(DnsSettings(servers=[unbound.endpoint]), clock)
    servers._servers = tuple(type(each)(each.address, each.port, False) for each in servers._servers)
    resolver = DnsResolver(servers, clock)
    assert not (await resolver.mx("signed.test")).authentic
    await resolver.close()


async def test_the_way_of_mail(resolver: DnsResolver) -> None:
    search = Exchangers(resolver).search(Destination(name="signed.test"))
    found = [(each.name, each.addresses, each.mx_authentic) async for each in search]
    assert found == [("mx.signed.test", ("2a00::1", "1.0.0.1"), True), ("out.signed.test", ("1.0.0.2",), True)]
    search = Exchangers(resolver).search(Destination(name="expired.test"))
    assert [each async for each in search] == []
    assert search.error is not None
    assert (search.error.status, search.error.temporary) == ("4.4.3", True)
