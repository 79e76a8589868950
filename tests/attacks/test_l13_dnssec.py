"""ATTACKS L13: DNSSEC, told by somebody whose word is worth nothing, and what it costs to read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from mailserver.net.dns.resolver import DnsResolver
from mailserver.net.dns.servers import Servers
from mailserver.net.settings import DnsSettings
from tests.helpers.clock import FakeClock
from tests.helpers.dns import Asked, DnsServer

NAME = "trap.test"
DAY = "20300101000000 20200101000000"


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


async def test_l13_the_ad_bit_counts_only_from_whom_it_is_believed(fake_clock: FakeClock) -> None:
    # Docker's resolver hands on what another machine said.
    for address, trusted, believed in (
        ("127.0.0.11", [], False), ("127.0.0.11", ["192.0.2.0/24"], False), ("127.0.0.11", ["127.0.0.11"], True),
        ("127.0.0.1", [], True),
    ):  # fmt: skip
        with DnsServer(address) as dns:
            dns.add(NAME, "TXT", '"v=spf1 -all"', authentic=True)
            settings = DnsSettings(servers=[dns.endpoint], trust_ad=trusted)
            resolver = DnsResolver(Servers(settings, fake_clock), fake_clock)
            answer = await resolver.txt(NAME)
            await resolver.close()
        assert answer.records == (b"v=spf1 -all",)
        assert answer.authentic == answer.secure_owner == believed


async def test_l13_keytrap_many_keys_and_signatures_of_one_tag_are_passed_over(
    dns: DnsServer, fake_clock: FakeClock
) -> None:
    def trap(asked: Asked) -> list[bytes]:
        answer = asked.answer('"v=spf1 -all"')
        keys = [f"257 3 8 {number:04d}" for number in range(300)]
        signatures = [f"TXT 8 2 300 {DAY} 4711 {NAME}. {number:04d}" for number in range(300)]
        answer.answer += asked.answer(*keys, kind="DNSKEY").answer + asked.answer(*signatures, kind="RRSIG").answer
        return [answer.to_wire(max_size=65535)] if asked.tcp else [_truncated(asked)]

    dns.script(NAME, "TXT", trap)
    resolver = DnsResolver(Servers(DnsSettings(servers=[dns.endpoint], trust_ad=[]), fake_clock), fake_clock)
    answer = await resolver.txt(NAME)
    await resolver.close()
    assert answer.records == (b"v=spf1 -all",)
    assert not answer.authentic


def _truncated(asked: Asked) -> bytes:
    octets = bytearray(asked.answer().to_wire())
    octets[2] |= 0x02
    return bytes(octets)


def test_l13_the_resolver_has_nothing_to_validate_with() -> None:
    """Whether a signature is good is the name server's business: no cost of it is ever ours."""
    code = "import sys, mailserver.net.dns.resolver; print(*({'cryptography', 'dns'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
