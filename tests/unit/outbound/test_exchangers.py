"""Which hosts take a domain's mail, and in which order they are tried."""

from __future__ import annotations

import random

import pytest

from mailserver.model.delivery import Destination
from mailserver.outbound.exchangers import MAX_ADDRESSES, MAX_HOSTS, Exchanger, Exchangers, ExchangerSearch
from tests.helpers.names import FakeResolver

DOMAIN = "example.test"
OURS = "9.9.9.9"


def own(address: str, port: int) -> bool:
    return address in (OURS, "127.0.0.1") and port == 25


class World:
    """DNS, and a server mail.ours.test at 9.9.9.9 that asks it."""

    def __init__(self) -> None:
        self.dns = FakeResolver()

    def search(self, name: str = DOMAIN, *, hosts: tuple[tuple[str, int], ...] = (), **how: object) -> ExchangerSearch:
        settings: dict[str, object] = {"own_names": ["Mail.Ours.test."], "own": own, "shuffle": lambda _: None} | how
        return Exchangers(self.dns, **settings).search(Destination(name=name, hosts=hosts))  # type: ignore[arg-type]

    async def all(self, name: str = DOMAIN, **how: object) -> tuple[list[Exchanger], ExchangerSearch]:
        search = self.search(name, **how)  # type: ignore[arg-type]
        return [exchanger async for exchanger in search], search

    async def names(self, name: str = DOMAIN, **how: object) -> list[str]:
        return [exchanger.name for exchanger in (await self.all(name, **how))[0]]

    async def error(self, name: str = DOMAIN, **how: object) -> tuple[str, bool, str]:
        """Status, temporary, text."""
        exchangers, search = await self.all(name, **how)
        assert exchangers == []
        assert search.error is not None
        return search.error.status, search.error.temporary, search.error.text


@pytest.fixture
def world() -> World:
    return World()


async def test_the_lowest_preference_comes_first(world: World) -> None:
    world.dns.has_mx(DOMAIN, (20, "b.example"), (10, "a.example"), (30, "c.example"))
    for host, address in (("a", "1.0.0.1"), ("b", "1.0.0.2"), ("c", "1.0.0.3")):
        world.dns.has("addresses", f"{host}.example", address)
    found, search = await world.all()
    assert [(each.name, each.port, each.addresses) for each in found] == [
        ("a.example", 25, ("1.0.0.1",)), ("b.example", 25, ("1.0.0.2",)), ("c.example", 25, ("1.0.0.3",)),
    ]  # fmt: skip
    assert search.error is None
    assert not any(each.allow_private or each.mx_authentic for each in found)


async def test_equal_ones_come_in_any_order(world: World) -> None:
    world.dns.has_mx(DOMAIN, *((10, f"{n}.example") for n in range(4)), (5, "first.example"))
    for name in ("first", *range(4)):
        world.dns.has("addresses", f"{name}.example", "1.0.0.1")
    dice = random.Random(1)
    orders = {tuple(await world.names(shuffle=dice.shuffle)) for _ in range(40)}
    assert len(orders) > 10
    assert {order[0] for order in orders} == {"first.example"}


async def test_worse_preferences_are_not_looked_up_before_they_are_needed(world: World) -> None:
    world.dns.has_mx(DOMAIN, (10, "a.example"), (20, "b.example"))
    world.dns.has("addresses", "a.example", "1.0.0.1")
    search = world.search()
    assert (await anext(search)).name == "a.example"
    assert ("addresses", "b.example") not in world.dns.asked


async def test_a_null_mx_is_final(world: World) -> None:
    world.dns.has_mx(DOMAIN, (0, ""))
    status, temporary, text = await world.error()
    assert (status, temporary) == ("5.1.10", False)
    assert "null MX" in text


async def test_a_null_mx_beside_others_is_skipped(world: World) -> None:
    world.dns.has_mx(DOMAIN, (0, ""), (10, "a.example"))
    world.dns.has("addresses", "a.example", "1.0.0.1")
    assert await world.names() == ["a.example"]


async def test_a_domain_that_does_not_exist_is_final(world: World) -> None:
    status, temporary, text = await world.error("nowhere.test")
    assert (status, temporary) == ("5.1.2", False)
    assert "nowhere.test does not exist" in text


async def test_without_mx_the_domain_itself_takes_mail(world: World) -> None:
    world.dns.has("addresses", DOMAIN, "2a00::1")
    assert await world.names() == [DOMAIN]


async def test_without_mx_and_address_nothing_can_be_done(world: World) -> None:
    world.dns.has("txt", DOMAIN, b"v=spf1 -all")
    status, temporary, text = await world.error()
    assert (status, temporary) == ("5.4.4", False)
    assert f"{DOMAIN} has no address" in text


async def test_not_being_able_to_ask_is_never_final(world: World) -> None:
    world.dns.fails("mx", DOMAIN, "nobody answers")
    assert await world.error() == ("4.4.3", True, "nobody answers")


async def test_one_broken_name_leaves_the_others(world: World) -> None:
    world.dns.has_mx(DOMAIN, (10, "a.example"), (10, "b.example"), (20, "c.example"))
    world.dns.fails("addresses", "a.example", "SERVFAIL for a.example")
    world.dns.has("addresses", "b.example", "1.0.0.2")
    found, search = await world.all()
    assert [each.name for each in found] == ["b.example"]
    assert search.skipped == ["SERVFAIL for a.example", "c.example does not exist in DNS"]
    assert search.unknown


async def test_a_broken_name_beside_useless_ones_is_waited_for(world: World) -> None:
    world.dns.has_mx(DOMAIN, (10, "a.example"), (20, "b.example"), (30, "mail.ours.test"))
    world.dns.has("addresses", "a.example", "10.0.0.1")
    world.dns.fails("addresses", "b.example")
    status, temporary, _ = await world.error()
    assert (status, temporary) == ("4.4.3", True)


async def test_we_are_the_backup(world: World) -> None:
    world.dns.has_mx(DOMAIN, (10, "a.example"), (20, "mail.ours.test"), (20, "b.example"), (30, "c.example"))
    for name in ("a", "b", "c"):
        world.dns.has("addresses", f"{name}.example", "1.0.0.1")
    assert await world.names() == ["a.example"]


async def test_we_are_the_backup_under_another_name(world: World) -> None:
    world.dns.has_mx(DOMAIN, (10, "a.example"), (20, "b.example"), (20, "alias.test"), (30, "c.example"))
    world.dns.has("addresses", "alias.test", "1.0.0.9", OURS)
    for name in ("a", "b", "c"):
        world.dns.has("addresses", f"{name}.example", "1.0.0.1")
    assert await world.names() == ["a.example"]


@pytest.mark.parametrize("host", ["mail.ours.test", "alias.test"])
async def test_mail_that_leads_back_to_us_is_returned(world: World, host: str) -> None:
    world.dns.has_mx(DOMAIN, (10, host))
    world.dns.has("addresses", host, OURS)
    status, temporary, text = await world.error()
    assert (status, temporary) == ("5.4.6", False)
    assert "not a domain of ours" in text


async def test_our_address_with_another_port_is_somebody_else(world: World) -> None:
    world.dns.has_mx(DOMAIN, (10, "a.example"))
    world.dns.has("addresses", "a.example", "127.0.0.1")
    assert await world.names(port=2525, allow_private=True) == ["a.example"]
    assert (await world.error(allow_private=True))[0] == "5.4.6"


async def test_private_addresses_are_left_out(world: World) -> None:
    world.dns.has_mx(DOMAIN, (10, "a.example"))
    world.dns.has("addresses", "a.example", "10.0.0.1", "1.0.0.1", "fe80::1")
    found, search = await world.all()
    assert found[0].addresses == ("1.0.0.1",)
    assert search.skipped == [
        "a.example has 10.0.0.1, a private address, which is not connected to",
        "a.example has fe80::1, a link-local address, which is not connected to",
    ]


async def test_nothing_but_private_addresses_is_final(world: World) -> None:
    world.dns.has_mx(DOMAIN, (10, "localhost"))
    world.dns.has("addresses", "localhost", "127.0.0.1", "::1")
    status, temporary, text = await world.error()
    assert (status, temporary) == ("5.4.4", False)
    assert "localhost has 127.0.0.1, a loopback address" in text


async def test_hosts_and_addresses_have_a_bound(world: World) -> None:
    world.dns.has_mx(DOMAIN, *((n, f"{n}.example") for n in reversed(range(10_000))))
    for number in range(MAX_HOSTS + 1):
        world.dns.has("addresses", f"{number}.example", *(f"1.0.{n // 250}.{n % 250}" for n in range(1000)))
    found, _ = await world.all()
    assert [each.name for each in found] == [f"{number}.example" for number in range(MAX_HOSTS)]
    assert {len(each.addresses) for each in found} == {MAX_ADDRESSES}
    assert len(world.dns.asked) == 1 + MAX_HOSTS


@pytest.mark.parametrize("host", ["192.0.2.1", "a b.example", "a\\000.example", "-", "x" * 64, "[192.0.2.1]", "a..b"])
async def test_what_is_no_host_name_is_not_looked_up(world: World, host: str) -> None:
    world.dns.has_mx(DOMAIN, (10, host), (20, "a.example"))
    world.dns.has("addresses", "a.example", "1.0.0.1")
    found, search = await world.all()
    assert [each.name for each in found] == ["a.example"]
    assert "is not the name of a host" in search.skipped[0]
    assert len(world.dns.asked) == 2


async def test_one_host_that_is_named_twice_is_tried_once(world: World) -> None:
    world.dns.has_mx(DOMAIN, (20, "a.example"), (10, "a.example"))
    world.dns.has("addresses", "a.example", "1.0.0.1", "1.0.0.1")
    found, _ = await world.all()
    assert [each.addresses for each in found] == [("1.0.0.1",)]


@pytest.mark.parametrize(
    ("name", "address"), [("[1.0.0.1]", "1.0.0.1"), ("[IPv6:2a00::1]", "2a00::1"), ("[ipv6:2A00:0::1]", "2a00::1")]
)
async def test_an_address_literal_is_the_host(world: World, name: str, address: str) -> None:
    found, _ = await world.all(name)
    assert found[0].addresses == (address,)
    assert not found[0].mx_authentic
    assert world.dns.asked == []


async def test_an_address_literal_obeys_the_same_rules(world: World) -> None:
    assert (await world.error("[10.0.0.1]"))[:2] == ("5.4.4", False)
    assert (await world.error("[IPv6:::ffff:127.0.0.1]"))[:2] == ("5.4.4", False)
    assert (await world.error(f"[{OURS}]"))[:2] == ("5.4.6", False)


async def test_what_the_operator_names_is_used_as_it_is(world: World) -> None:
    world.dns.has("addresses", "relay.test", "10.0.0.1", OURS)
    hosts = (("relay.test", 587), ("127.0.0.1", 2525), ("::1", 26))
    found, _ = await world.all("relay.test:587", hosts=hosts)
    assert [(each.name, each.port, each.addresses) for each in found] == [
        ("relay.test", 587, ("10.0.0.1", OURS)), ("[127.0.0.1]", 2525, ("127.0.0.1",)), ("[IPv6:::1]", 26, ("::1",)),
    ]  # fmt: skip
    assert all(each.allow_private and each.mx_authentic for each in found)


async def test_a_relay_that_is_wrongly_named_returns_nobodys_mail(world: World) -> None:
    status, temporary, text = await world.error("relay.test:25", hosts=(("relay.test", 25),))
    assert (status, temporary) == ("4.3.5", True)
    assert "relay.test does not exist in DNS" in text
    world.dns.fails("addresses", "relay.test")
    assert await world.error("relay.test:25", hosts=(("relay.test", 25),)) == ("4.4.3", True, "nobody answers")


async def test_what_dnssec_proves_is_passed_on(world: World) -> None:
    world.dns.has_mx(DOMAIN, (10, "a.example"), authentic=True)
    world.dns.has("addresses", "a.example", "1.0.0.1")
    assert (await world.all())[0][0].mx_authentic
