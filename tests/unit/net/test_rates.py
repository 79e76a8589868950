"""Counting per network and name."""

from __future__ import annotations

import asyncio

import pytest

from mailserver.net.failures import LoginFailures
from mailserver.net.rates import SlidingCounter, network_keys
from mailserver.net.settings import LimitsSettings
from tests.helpers.clock import FakeClock


def test_networks_narrow_to_wide() -> None:
    assert len(set(network_keys("192.0.2.7"))) == 3
    assert network_keys("192.0.2.7") == network_keys("::ffff:192.0.2.7")
    assert network_keys("192.0.2.7")[1:] == network_keys("192.0.2.63")[1:]
    assert network_keys("192.0.2.7")[1] != network_keys("192.0.2.64")[1]
    assert network_keys("192.0.2.7")[2] == network_keys("192.0.7.255")[2]
    assert network_keys("2001:db8::1") == network_keys("2001:db8::ffff:1")
    assert network_keys("2001:db8:0:1::1")[1:] == network_keys("2001:db8::1")[1:]
    assert network_keys("fe80::1%eth0") == network_keys("fe80::1")
    for odd in ("", "unix", "300.1.1.1", "1.2.3", "٣.1.1.1"):
        assert network_keys(odd) == ()


def test_a_window_slides() -> None:
    clock = FakeClock(monotonic=0.0)
    counter = SlidingCounter(60.0, clock)
    clock.advance(59)
    counter.add("a", 10)
    assert counter.count("a") == 10
    clock.advance(2)
    # At the turn of the window nothing is forgiven.
    assert 9 < counter.count("a") < 10
    clock.advance(30)
    assert 4 < counter.count("a") < 6
    clock.advance(60)
    assert counter.count("a") == 0
    assert counter.count("b") == 0


def test_memory_is_bounded() -> None:
    counter = SlidingCounter(60.0, FakeClock(), max_keys=100)
    for number in range(10_000):
        counter.add(number)
        counter.add("kept")
    assert len(counter) == 100
    assert counter.count("kept") == 10_000


def limits(**fields: int) -> LimitsSettings:
    return LimitsSettings(**({"trusted": ["127.0.0.0/8"]} | fields))  # type: ignore[arg-type]


async def fail(failures: LoginFailures, peer: str, user: str) -> bool:
    attempt = await failures.begin(peer, user)
    if attempt is None:
        return False
    with attempt:
        attempt.fail()
    return True


async def test_failures_of_a_network_a_minute_and_a_day() -> None:
    clock = FakeClock()
    failures = LoginFailures(limits(), clock)
    assert sum([await fail(failures, "192.0.2.7", f"u{n}") for n in range(30)]) == 10
    assert failures.blocked("192.0.2.7")
    assert not failures.blocked("203.0.113.1")
    done = 10
    for _ in range(20):
        clock.advance(120)
        done += sum([await fail(failures, "192.0.2.7", f"u{n}") for n in range(30)])
    assert done == 50


async def test_an_account_is_guarded_against_many_networks_but_its_user_gets_in() -> None:
    failures = LoginFailures(limits(), FakeClock())
    attempt = await failures.begin("192.0.2.200", "anna")
    assert attempt is not None
    with attempt:
        attempt.succeed()
    done = sum([await fail(failures, f"10.{n // 200}.{n % 200}.1", "anna") for n in range(1000)])
    assert done == 100
    assert await failures.begin("198.51.100.1", "anna") is None
    assert await failures.begin("192.0.2.200", "anna") is not None
    assert await failures.begin("198.51.100.1", "bob") is not None


async def test_trusted_peers_are_never_counted() -> None:
    failures = LoginFailures(limits(), FakeClock())
    assert all([await fail(failures, "127.0.0.9", "anna") for _ in range(200)])
    assert not failures.blocked("127.0.0.9")
    assert await failures.begin("192.0.2.1", "anna") is not None


async def test_guesses_at_the_same_time_cannot_exceed_the_limit() -> None:
    failures = LoginFailures(limits(), FakeClock())
    checked = 0

    async def guess() -> None:
        nonlocal checked
        attempt = await failures.begin("192.0.2.7", "anna")
        if attempt is not None:
            with attempt:
                checked += 1
                await asyncio.sleep(0)
                attempt.fail()

    await asyncio.gather(*(guess() for _ in range(200)))
    assert checked == 10


async def test_honest_logins_at_the_same_time_wait_and_are_not_refused() -> None:
    failures = LoginFailures(limits(), FakeClock())
    most = running = done = 0

    async def login() -> None:
        nonlocal most, running, done
        attempt = await failures.begin("192.0.2.7", "anna")
        assert attempt is not None
        with attempt:
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            done += 1
            attempt.succeed()

    await asyncio.gather(*(login() for _ in range(100)))
    assert (most, done) == (10, 100)
    assert not failures._running
    assert not failures._waiters


async def test_one_who_waits_may_leave() -> None:
    failures = LoginFailures(limits(failed_logins_per_minute=1), FakeClock())
    first = await failures.begin("192.0.2.7", "anna")
    assert first is not None
    waiting = asyncio.create_task(failures.begin("192.0.2.7", "anna"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not failures._waiters
    with first:
        pass
    assert await failures.begin("192.0.2.7", "anna") is not None
