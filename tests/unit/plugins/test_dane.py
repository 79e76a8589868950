"""Which TLSA records count for a host (RFC 7672 §2.2), with a resolver that says what a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mailserver.hooks.contexts import TlsLevel, TlsPolicy, TlsPolicyContext
from mailserver.hooks.registry import Registry
from mailserver.model.dns import Answer, Tlsa
from mailserver.plugins.dane import DaneSettings, plugin
from tests.helpers.names import FakeResolver
from tests.helpers.plugins import make_host

HOST, DOMAIN = "mx.far.test", "far.test"
EE, TA = Tlsa(3, 1, 1, bytes(32)), Tlsa(2, 0, 1, b"a" * 32)
PKIX = Tlsa(1, 1, 1, bytes(32))


@pytest.fixture
def dns() -> FakeResolver:
    """A signed domain with one signed host."""
    resolver = FakeResolver()
    resolver.has("addresses", HOST, "192.0.2.1", authentic=True)
    return resolver


@asynccontextmanager
async def dane(dns: FakeResolver, **settings: Any) -> AsyncIterator[Any]:
    registry = Registry()
    async with plugin.setup(registry, DaneSettings(**settings), make_host(resolver=dns)):
        (hook,) = registry.hooks["tls_policy"]
        yield hook


async def policy(
    dns: FakeResolver, host: str = HOST, *, port: int = 25, mx_authentic: bool = True, **settings: Any
) -> TlsPolicy | None:
    async with dane(dns, **settings) as hook:
        ctx = TlsPolicyContext(domain=DOMAIN, host=host, port=port, mx_authentic=mx_authentic)
        answer = hook(ctx)
        found: TlsPolicy | None = None if answer is None else await answer
        return found


def asked(dns: FakeResolver, kind: str) -> list[str]:
    return [name for asked_kind, name in dns.asked if asked_kind == kind]


async def test_records_that_dnssec_proves(dns: FakeResolver) -> None:
    dns.has("tlsa", "_25._tcp.mx.far.test", EE, authentic=True)
    assert await policy(dns) == TlsPolicy(
        level=TlsLevel.DANE, source="dane", names=(HOST,), tlsa=(EE,), text=(f"3 1 1 {'00' * 32}",)
    )
    assert asked(dns, "mx") == []


async def test_the_port_is_part_of_the_name(dns: FakeResolver) -> None:
    dns.has("tlsa", "_2525._tcp.mx.far.test", EE, authentic=True)
    assert await policy(dns) is None
    assert (await policy(dns, port=2525)) is not None


async def test_without_records_dane_does_not_apply(dns: FakeResolver) -> None:
    assert await policy(dns) is None
    dns.has("tlsa", "_25._tcp.mx.far.test", authentic=True)
    assert await policy(dns) is None


async def test_without_a_proven_mx_nothing_is_asked(dns: FakeResolver) -> None:
    dns.has("tlsa", "_25._tcp.mx.far.test", EE, authentic=True)
    assert await policy(dns, mx_authentic=False) is None
    assert dns.asked == []


@pytest.mark.parametrize("host", ["[192.0.2.1]", "[IPv6:2001:db8::1]", "192.0.2.1", "2001:db8::1"])
async def test_addresses_have_no_records(dns: FakeResolver, host: str) -> None:
    assert await policy(dns, host) is None
    assert dns.asked == []


async def test_an_unsigned_host_is_not_asked_for_tlsa(dns: FakeResolver) -> None:
    """RFC 7672 §2.2.2: some DNS servers of unsigned zones do not answer such questions."""
    dns.has("addresses", HOST, "192.0.2.1")
    dns.fails("tlsa", "_25._tcp.mx.far.test")
    assert await policy(dns) is None
    assert asked(dns, "tlsa") == []


async def test_unproven_records_count_for_nothing(dns: FakeResolver) -> None:
    dns.has("tlsa", "_25._tcp.mx.far.test", EE, authentic=False)
    assert await policy(dns) is None


@pytest.mark.parametrize("kind", ["addresses", "tlsa"])
@pytest.mark.parametrize("bogus", [False, True])
async def test_no_answer_is_not_a_no(dns: FakeResolver, kind: str, bogus: bool) -> None:
    """RFC 7672 §2.1.2: the host is not used."""
    dns.fails(kind, HOST if kind == "addresses" else "_25._tcp.mx.far.test", "SERVFAIL from ::1", bogus=bogus)
    found = await policy(dns)
    assert found is not None and found.demand == 3
    assert "SERVFAIL from ::1" in found.refused
    assert (found.failure, found.source) == ("dnssec-invalid", "dane")


# CNAMEs (RFC 7672 §2.2.2, §2.2.3)


async def test_a_secure_alias_is_asked_for_at_its_end_first(dns: FakeResolver) -> None:
    dns.has("addresses", HOST, "192.0.2.1", authentic=True, leads_to="real.test")
    dns.has("tlsa", "_25._tcp.real.test", EE, authentic=True)
    dns.has("tlsa", "_25._tcp.mx.far.test", TA, authentic=True)
    found = await policy(dns)
    assert found is not None and (found.names, found.tlsa) == (("real.test",), (EE,))
    assert asked(dns, "tlsa") == ["_25._tcp.real.test"]


@pytest.mark.parametrize("there", [None, False])
async def test_then_at_its_beginning(dns: FakeResolver, there: bool | None) -> None:
    """There may be no records at the end, or some that nobody proved."""
    dns.has("addresses", HOST, "192.0.2.1", authentic=True, leads_to="real.test")
    if there is not None:
        dns.has("tlsa", "_25._tcp.real.test", TA, authentic=there)
    dns.has("tlsa", "_25._tcp.mx.far.test", EE, authentic=True)
    found = await policy(dns)
    assert found is not None and (found.names, found.tlsa) == ((HOST,), (EE,))


async def test_no_answer_at_the_end_is_not_a_reason_for_the_beginning(dns: FakeResolver) -> None:
    dns.has("addresses", HOST, "192.0.2.1", authentic=True, leads_to="real.test")
    dns.fails("tlsa", "_25._tcp.real.test")
    dns.has("tlsa", "_25._tcp.mx.far.test", EE, authentic=True)
    found = await policy(dns)
    assert found is not None and found.refused


async def test_a_secure_alias_out_of_secure_zones_keeps_its_own_name(dns: FakeResolver) -> None:
    answer = Answer(records=("192.0.2.1",), name="cloud.test", authentic=False, secure_owner=True)
    dns._known["addresses", HOST] = answer
    dns.has("tlsa", "_25._tcp.mx.far.test", EE, authentic=True)
    dns.has("tlsa", "_25._tcp.cloud.test", TA, authentic=True)
    found = await policy(dns)
    assert found is not None and (found.names, found.tlsa) == ((HOST,), (EE,))
    assert asked(dns, "tlsa") == ["_25._tcp.mx.far.test"]


# usable and not (RFC 7672 §2.2, §3.1.3)


async def test_records_that_are_all_unusable_demand_tls(dns: FakeResolver) -> None:
    dns.has("tlsa", "_25._tcp.mx.far.test", PKIX, Tlsa(3, 1, 1, b"short"), authentic=True)
    found = await policy(dns)
    assert found is not None
    assert (found.level, found.minimum, found.demand, found.tlsa) == (TlsLevel.ENCRYPTED, True, 1, ())
    assert (found.failure, len(found.text)) == ("tlsa-invalid", 2)


async def test_one_that_is_usable_decides(dns: FakeResolver) -> None:
    dns.has("tlsa", "_25._tcp.mx.far.test", PKIX, EE, authentic=True)
    found = await policy(dns)
    assert found is not None and (found.level, found.tlsa) == (TlsLevel.DANE, (EE,))


# names for the certificate (RFC 7672 §3.2.2)


async def test_an_authority_in_dns_gives_certificates_for_the_domain_too(dns: FakeResolver) -> None:
    dns.has("tlsa", "_25._tcp.mx.far.test", TA, authentic=True)
    dns.has("mx", DOMAIN, authentic=True, leads_to="expanded.test")
    found = await policy(dns)
    assert found is not None and found.names == (HOST, DOMAIN, "expanded.test")
    dns.has("mx", DOMAIN, authentic=False, leads_to="expanded.test")
    found = await policy(dns)
    assert found is not None and found.names == (HOST, DOMAIN)


# mandatory DANE (RFC 7672 §6)


async def test_a_domain_that_promised_dane(dns: FakeResolver) -> None:
    found = await policy(dns, required=["Far.Test"])
    assert found is not None and found.demand == 3
    assert (found.failure, "plugins.dane.required" in found.refused) == ("dane-required", True)
    assert (await policy(dns, mx_authentic=False, required=[DOMAIN])) is not None
    assert await policy(dns, required=["other.test"]) is None
    dns.has("tlsa", "_25._tcp.mx.far.test", EE, authentic=True)
    found = await policy(dns, required=[DOMAIN])
    assert found is not None and not found.refused
