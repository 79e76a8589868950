"""Connecting to one of several addresses, on a scripted network and on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from mailserver.net import dial as dialling
from mailserver.net.dial import DialFailed, dial
from mailserver.net.routes import Routes, is_local, source_for
from tests.helpers.clock import FakeClock

NEVER = 1000.0
A, B, C = "2a00::1", "1.1.1.1", "2a00::2"


class Network:
    """Addresses answer when the test says so; every socket that was made is remembered."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, asyncio.Future[str]] = {}
        self.sockets: dict[str, socket.socket] = {}
        self.cancelled: list[str] = []

    def will(self, address: str, words: str) -> None:
        """The address refuses with these words; without words it connects."""
        future = self.answers.setdefault(address, asyncio.get_running_loop().create_future())
        if not future.done():
            future.set_result(words)

    async def connect(self, address: str, _port: int, _source: tuple[str, ...], _timeout: float) -> socket.socket:
        self.asked.append(address)
        future = self.answers.setdefault(address, asyncio.get_running_loop().create_future())
        try:
            words = await future
        except asyncio.CancelledError:
            self.cancelled.append(address)
            raise
        if words:
            raise dialling._Attempt(words)
        made = self.sockets[address] = socket.socket()
        return made

    async def asks(self, addresses: list[str]) -> None:
        """Wait until these, in this order, are being connected to."""
        async with asyncio.timeout(60):
            while self.asked != addresses:  # noqa: ASYNC110
                await asyncio.sleep(0)

    def close(self) -> None:
        for made in self.sockets.values():
            made.close()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    made = Network()
    monkeypatch.setattr(dialling, "connect", made.connect)
    yield made
    made.close()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_first_that_answers_in_time_is_alone(network: Network) -> None:
    network.will(A, "")
    dialled = await dial([A, B], 25, stagger=NEVER)
    assert (dialled.address, dialled.left) == (A, (B,))
    assert network.asked == [A]


async def test_a_failure_brings_the_next_at_once(network: Network) -> None:
    network.will(A, "connection refused")
    network.will(B, "")
    dialled = await dial([A, B, C], 25, stagger=NEVER)
    assert (dialled.address, dialled.left) == (B, (C,))


async def test_a_slow_one_does_not_hold_up_the_others(network: Network) -> None:
    network.will(B, "")
    dialled = await dial([A, B, C], 25, stagger=0)
    await settle()
    assert dialled.address == B
    assert network.cancelled == [A] or A not in network.asked


async def test_of_two_that_connect_together_one_is_closed(network: Network) -> None:
    dialling_task = asyncio.create_task(dial([A, B], 25, stagger=0))
    await network.asks([A, B])
    network.will(A, "")
    network.will(B, "")
    dialled = await dialling_task
    await settle()
    other = B if dialled.address == A else A
    assert dialled.socket.fileno() >= 0
    assert other in network.cancelled or network.sockets[other].fileno() == -1


async def test_all_failures_are_in_one_line(network: Network) -> None:
    network.will(A, "no route to host")
    network.will(B, "connection refused")
    with pytest.raises(DialFailed) as failed:
        await dial([A, "10.0.0.1", B], 25, stagger=NEVER)
    text = failed.value.text
    assert "2a00::1: no route to host" in text
    assert "1.1.1.1: connection refused" in text
    assert "10.0.0.1: a private address, which is not connected to" in text
    assert "\n" not in text
    assert not failed.value.refused
    assert failed.value.temporary


async def test_private_addresses_are_not_even_tried(network: Network) -> None:
    with pytest.raises(DialFailed) as failed:
        await dial(["127.0.0.1", "::ffff:127.0.0.1", "localhost", "fe80::1%eth0"], 25, stagger=0)
    assert failed.value.refused
    assert network.asked == []


async def test_no_address_at_all(network: Network) -> None:
    with pytest.raises(DialFailed, match="no address") as failed:
        await dial([], 25)
    assert not failed.value.refused


async def test_being_cancelled_ends_every_attempt(network: Network) -> None:
    task = asyncio.create_task(dial([A, B], 25, stagger=0))
    await network.asks([A, B])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await settle()
    assert sorted(network.cancelled) == sorted([A, B])


@pytest.fixture
def listening() -> Iterator[Callable[[str], int]]:
    made: list[socket.socket] = []

    def listen(address: str) -> int:
        server = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        made.append(server)
        return int(server.getsockname()[1])

    yield listen
    for server in made:
        server.close()


async def test_a_real_connection(listening: Callable[[str], int]) -> None:
    port = listening("127.0.0.1")
    dialled = await dial(["::1", "127.0.0.1"], port, allow_private=True, source=["127.0.0.3", "::1"])
    with dialled.socket as made:
        assert dialled.address == "127.0.0.1"
        assert made.getsockname()[0] == "127.0.0.3"
        assert made.getpeername() == ("127.0.0.1", port)
        assert not made.getblocking()


async def test_a_real_refusal(listening: Callable[[str], int]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(DialFailed, match=r"127\.0\.0\.1: connection refused"):
            await dial(["127.0.0.1"], unused.getsockname()[1], allow_private=True)


async def test_only_families_that_have_a_source_are_used(listening: Callable[[str], int]) -> None:
    port = listening("127.0.0.1")
    with pytest.raises(DialFailed, match="no source address of its family"):
        await dial(["127.0.0.1"], port, allow_private=True, source=["::1"])


async def test_a_source_that_is_not_ours_is_named(listening: Callable[[str], int]) -> None:
    port = listening("127.0.0.1")
    with pytest.raises(DialFailed, match=r"cannot send from 198\.51\.100\.7"):
        await dial(["127.0.0.1"], port, allow_private=True, source=["198.51.100.7"])


async def test_nobody_answers_in_time() -> None:
    # A listener whose backlog is full does not answer on Linux.
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        with pytest.raises(DialFailed, match=r"no answer within 0\.05 s"):
            await dial(["127.0.0.1"], server.getsockname()[1], allow_private=True, timeout=0.05)


def test_our_own_addresses_are_known() -> None:
    assert is_local("127.0.0.1")
    assert is_local("127.3.2.1")
    assert is_local("0.0.0.0")
    assert is_local("::1")
    assert not is_local("1.1.1.1")
    assert not is_local("localhost")
    ours = source_for("1.1.1.1")
    assert not ours or is_local(ours)


def test_routes_are_looked_at_once_a_minute(monkeypatch: pytest.MonkeyPatch, fake_clock: FakeClock) -> None:
    answers = ["", "2a00::5"]
    monkeypatch.setattr("mailserver.net.routes.source_for", lambda _address: answers.pop(0))
    routes = Routes(fake_clock)
    assert not routes.ipv6()
    fake_clock.advance(59)
    assert not routes.ipv6()
    fake_clock.advance(1)
    assert routes.ipv6()
