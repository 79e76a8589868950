"""What `check` says of name servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailserver.net.dns.asking import Asker
from mailserver.net.dns.probing import resolver_warnings
from mailserver.net.dns.servers import Servers
from mailserver.net.settings import DnsSettings
from tests.helpers.clock import FakeClock
from tests.helpers.dns import DnsServer


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


async def warnings(*endpoints: str, waits: float = 20.0) -> list[str]:
    servers = Servers(DnsSettings(servers=list(endpoints)), FakeClock())
    return await resolver_warnings(servers, Asker(waits=(waits,)))


async def test_a_validating_one_on_this_machine_is_good(dns: DnsServer) -> None:
    dns.add("", "SOA", "a. b. 1 2 3 4 5", authentic=True)
    assert await warnings(dns.endpoint) == []


async def test_one_that_does_not_validate(dns: DnsServer) -> None:
    [words] = await warnings(dns.endpoint)
    assert words.startswith("[dns] servers: no name server here can be believed about DNSSEC")


async def test_one_that_is_silent_beside_a_good_one(dns: DnsServer) -> None:
    with DnsServer() as other:
        dns.add("", "SOA", "a. b. 1 2 3 4 5", authentic=True)
        other.fail("", rcode="REFUSED")
        assert await warnings(dns.endpoint, other.endpoint) == [
            f"[dns] servers: the name server {other.endpoint} is of no use: it says REFUSED"
        ]


async def test_none_that_answers(dns: DnsServer) -> None:
    dns.silent("")
    assert await warnings(dns.endpoint, waits=0.05) == [
        f"[dns] servers: the name server {dns.endpoint} is of no use: no answer in 0.05 s",
        "[dns] servers: no name server answers, so mail for other servers will wait",
    ]
