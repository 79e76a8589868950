"""What every `ports.resolver.Resolver` keeps to: the real one over a name server, and the one that tests use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mailserver.model.dns import MailExchanger, Tlsa
from mailserver.net.dns.resolver import DnsResolver
from mailserver.net.dns.servers import Servers
from mailserver.net.settings import DnsSettings
from mailserver.ports.resolver import LookupFailed, Resolver
from tests.helpers.clock import FakeClock
from tests.helpers.dns import DnsServer
from tests.helpers.names import FakeResolver


def real() -> tuple[Resolver, DnsServer]:
    server = DnsServer()
    server.add("has.test", "MX", "10 mx.test.", "20 other.test.", authentic=True)
    server.add("null.test", "MX", "0 .")
    server.add("mx.test", "A", "192.0.2.1", authentic=True)
    server.add("alias.test", "CNAME", "plain.test.")
    server.add("plain.test", "A", "192.0.2.2")
    server.add("_25._tcp.mx.test", "TLSA", "3 1 0 00ff", authentic=True)
    server.add("has.test", "TXT", '"v=spf1 " "-all"', authentic=True)
    server.add("1.2.0.192.in-addr.arpa", "PTR", "mx.test.")
    server.add("has.test", "CAA", '0 issue "ca.test"', authentic=True)
    server.bogus("bogus.test")
    server.fail("broken.test")
    clock = FakeClock()
    return DnsResolver(Servers(DnsSettings(servers=[server.endpoint]), clock), clock), server


def fake() -> Resolver:
    made = FakeResolver()
    made.has_mx("has.test", (10, "mx.test"), (20, "other.test"), authentic=True)
    made.has_mx("null.test", (0, ""))
    made.has("addresses", "mx.test", "192.0.2.1", authentic=True)
    made.has("addresses", "alias.test", "192.0.2.2", leads_to="plain.test")
    made.has("tlsa", "_25._tcp.mx.test", Tlsa(3, 1, 0, b"\0\xff"), authentic=True)
    made.has("txt", "has.test", b"v=spf1 -all", authentic=True)
    made.has("ptr", "192.0.2.1", "mx.test")
    made.has("CAA", "has.test", '0 issue "ca.test"', authentic=True)
    made.fails("mx", "bogus.test", bogus=True)
    made.fails("mx", "broken.test")
    return made


@pytest.fixture(params=["real", "fake"])
async def resolver(request: pytest.FixtureRequest) -> AsyncIterator[Resolver]:
    if request.param == "fake":
        yield fake()
        return
    made, server = real()
    with server:
        yield made
        assert isinstance(made, DnsResolver)
        await made.close()


async def test_mail_exchangers(resolver: Resolver) -> None:
    answer = await resolver.mx("has.test")
    assert set(answer.records) == {MailExchanger(10, "mx.test"), MailExchanger(20, "other.test")}
    assert (answer.name, answer.exists, answer.authentic, answer.secure_owner) == ("has.test", True, True, True)
    assert (await resolver.mx("null.test")).records == (MailExchanger(0, ""),)


async def test_names_may_be_written_in_any_case_and_script(resolver: Resolver) -> None:
    assert len((await resolver.mx("HAS.test")).records) == 2
    assert not (await resolver.mx("bücher.test")).exists


async def test_addresses_and_where_an_alias_leads(resolver: Resolver) -> None:
    assert (await resolver.addresses("mx.test")).records == ("192.0.2.1",)
    answer = await resolver.addresses("alias.test")
    assert (answer.records, answer.name, answer.authentic) == (("192.0.2.2",), "plain.test", False)


async def test_other_records(resolver: Resolver) -> None:
    assert (await resolver.tlsa("_25._tcp.mx.test")).records == (Tlsa(3, 1, 0, b"\0\xff"),)
    assert (await resolver.txt("has.test")).records == (b"v=spf1 -all",)
    assert (await resolver.ptr("192.0.2.1")).records == ("mx.test",)
    assert (await resolver.query("has.test", "CAA")).records == ('0 issue "ca.test"',)


async def test_what_is_not_there(resolver: Resolver) -> None:
    answer = await resolver.mx("nowhere.test")
    assert (answer.records, answer.exists, answer.authentic) == ((), False, False)
    answer_without = await resolver.mx("mx.test")
    assert (answer_without.records, answer_without.exists) == ((), True)


@pytest.mark.parametrize("bogus", [True, False])
async def test_not_knowing_is_temporary(resolver: Resolver, bogus: bool) -> None:
    with pytest.raises(LookupFailed) as failed:
        await resolver.mx("bogus.test" if bogus else "broken.test")
    assert failed.value.bogus is bogus
    assert failed.value.temporary
    assert failed.value.status == "4.4.3"
