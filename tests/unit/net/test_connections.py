from __future__ import annotations

import resource

import pytest

from mailserver.net.connections import ConnectionTable
from mailserver.net.networks import NetworkSet, parse_ip, public_domain
from mailserver.net.settings import LimitsSettings, check_address
from tests.helpers.clock import FakeClock


def _table(clock: FakeClock, **limits: object) -> ConnectionTable:
    return ConnectionTable(LimitsSettings(**{"trusted": [], **limits}), clock)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("peers", "cap"),
    [
        (["192.0.2.1"], 30),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.62"], 90),
        ([f"192.0.{n}.{m}" for n in range(8) for m in (1, 65)], 270),
        (["2001:db8::1", "2001:db8::ffff", "2001:db8:0:0:1::"], 30),
        ([f"2001:db8:0:{n:x}::1" for n in range(8)], 90),
        ([f"2001:db8:{n:x}::1" for n in range(16)], 270),
        (["::ffff:192.0.2.1", "192.0.2.1"], 30),
    ],
)
def test_caps_per_network(peers: list[str], cap: int, fake_clock: FakeClock) -> None:
    table = _table(fake_clock, connection_rate=[10_000, 10_000, 10_000])
    admitted = [peer for n in range(1000) if table.admit(peer := peers[n % len(peers)]) is None]
    assert len(admitted) == cap
    assert table.admit("198.51.100.1") is None
    table.release("198.51.100.1")
    for peer in admitted:
        table.release(peer)
    assert table.total == 0
    assert table.admit(peers[0]) is None


def test_rates_are_per_minute(fake_clock: FakeClock) -> None:
    table = _table(fake_clock)
    for _ in range(300):
        assert table.admit("192.0.2.1") is None
        table.release("192.0.2.1")
    assert table.admit("192.0.2.1") == "too many new connections from your network"
    assert table.admit("192.0.2.2") is None
    fake_clock.advance(61)
    assert table.admit("192.0.2.1") is None


def test_trusted_peers_are_not_capped(fake_clock: FakeClock) -> None:
    table = _table(fake_clock, trusted=["10.0.0.0/8"], connections_total=500)
    assert all(table.admit("10.1.2.3") is None for _ in range(500))
    assert table.admit("10.1.2.3") == "too many connections"
    assert table.trusted("10.1.2.3") and not table.trusted("192.0.2.1") and not table.trusted("nonsense")


def test_the_total_follows_the_open_files(fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (3000, 3000))
    table = _table(fake_clock, trusted=["10.0.0.0/8"])
    assert [table.admit("10.0.0.1") for _ in range(2401)] == [None] * 2400 + ["too many connections"]


def test_where_files_are_few_the_servers_own_count(fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    own, looked = 70, 0

    def names(path: str) -> list[str]:
        nonlocal looked
        looked += 1
        return ["x"] * (own + 1 + table.total)

    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, 100))
    monkeypatch.setattr("mailserver.net.connections.os.listdir", names)
    table = _table(fake_clock, trusted=["10.0.0.0/8"])
    assert [table.admit("10.0.0.1") for _ in range(21)] == [None] * 20 + ["too many connections"]
    assert looked == 1
    own = 40
    fake_clock.advance(1)
    assert [table.admit("10.0.0.1") for _ in range(21)] == [None] * 20 + ["too many connections"]
    monkeypatch.setattr("mailserver.net.connections.os.listdir", _no_file)
    for _ in range(2):
        fake_clock.advance(1)
        refused = table.admit("10.0.0.1")
    assert refused == "too many connections"
    assert table.admit("10.0.0.1") == "too many connections"


def _no_file(path: str) -> list[str]:
    raise OSError(24, "Too many open files")


def test_memory_is_bounded(fake_clock: FakeClock) -> None:
    table = _table(fake_clock)
    for n in range(60_000):
        peer = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
        table.admit(peer)
        table.release(peer)
        if n % 1000 == 0:
            fake_clock.advance(61)
    assert len(table._networks) <= 31_000


def test_networks() -> None:
    networks = NetworkSet(["127.0.0.0/8", "::1", "2001:db8::/32"])
    assert (
        "127.5.5.5" in networks and "::1" in networks and "2001:db8:1::" in networks and "::ffff:127.0.0.1" in networks
    )
    assert "128.0.0.1" not in networks and "" not in networks and "127.0.0.1%lo" in networks
    assert parse_ip("fe80::1%eth0") is not None and parse_ip("2130706433") is None and parse_ip("0177.0.0.1") is None


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("Far.Test", "far.test"), ("büro.test", "xn--bro-hoa.test"), ("localhost", ""), ("", ""), ("192.0.2.1", ""),
        ("2001:db8::1.2.3.4", ""), ("[192.0.2.1]", ""), ("far..test", ""), ("far .test", ""), ("a." * 200 + "test", ""),
    ],
)  # fmt: skip
def test_names_of_which_the_worlds_dns_may_know(text: str, domain: str) -> None:
    assert public_domain(text) == domain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:25", ("127.0.0.1", 25)), ("[::1]:25", ("::1", 25)), (":2525", ("", 2525)), ("*:25", ("*", 25)),
        ("mail.example.test:0", ("mail.example.test", 0)),
    ],
)  # fmt: skip
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert check_address(text) == expected


@pytest.mark.parametrize("text", ["127.0.0.1", "::1:25", "[::1]", "a:70000", "a:b", "", "a b:1", "١:25", "a:٢٥"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        check_address(text)
