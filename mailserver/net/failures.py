"""Failed logins of all services, counted together: per network and per account (ATTACKS §1b, K01, K02).

The limits hold for guesses that run at the same time too: an attempt is reserved when it begins, and while the
reserved ones would reach the limit, the next has to wait for their results. Honest clients of one network that log in
all at once wait for a moment; they are not refused.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict

from mailserver.net.networks import NetworkSet
from mailserver.net.rates import SlidingCounter, network_keys
from mailserver.net.settings import LimitsSettings
from mailserver.ports.clock import Clock

__all__ = ["Attempt", "LoginFailures"]

_MINUTE, _DAY = 60.0, 86_400.0
#: A wider network may fail this many times as often as an address.
_FACTORS = (1, 3, 9)
_KNOWN_PLACES = 20_000


class Attempt:
    """One login that is being checked; a context manager. Counts as a failure only after `fail`."""

    __slots__ = ("_failures", "_networks", "_user")

    def __init__(self, failures: LoginFailures | None, networks: tuple[str, ...], user: str) -> None:
        self._failures = failures
        self._networks = networks
        self._user = user

    def fail(self) -> None:
        """The credentials were wrong."""
        if self._failures is not None:
            self._failures._count(self._networks, self._user)

    def succeed(self) -> None:
        """The credentials were right: from here this user may come even while others guess at the account."""
        if self._failures is not None and self._networks:
            self._failures._remember(self._networks[0], self._user)

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._failures is not None:
            self._failures._release(self._networks)


class LoginFailures:
    """The counters. Trusted peers are never counted and never blocked. Implements ports.passwords.FailedLogins."""

    def __init__(self, limits: LimitsSettings, clock: Clock) -> None:
        self._trusted = NetworkSet(limits.trusted)
        self._per_account = limits.failed_logins_per_account
        self._windows = (
            (SlidingCounter(_MINUTE, clock), limits.failed_logins_per_minute),
            (SlidingCounter(_DAY, clock), limits.failed_logins_per_day),
        )
        self._accounts = SlidingCounter(_DAY, clock)
        self._running: Counter[str] = Counter()
        #: How many sessions are logged in from each (narrowest) network.
        self._inside: Counter[str] = Counter()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._waiters: set[asyncio.Future[None]] = set()

    def update(self, limits: LimitsSettings) -> None:
        """Other limits; what was counted stays, and so does who is trusted."""
        (minute, _), (day, _) = self._windows
        self._windows = ((minute, limits.failed_logins_per_minute), (day, limits.failed_logins_per_day))
        self._per_account = limits.failed_logins_per_account

    def blocked(self, peer: str) -> bool:
        """True while the network of this IP address has failed too often."""
        return peer not in self._trusted and self._full(network_keys(peer), with_running=False)

    def enter(self, peer: str) -> None:
        """Somebody is logged in from there."""
        self._inside.update(network_keys(peer)[:1])

    def leave(self, peer: str) -> None:
        """And is not any more."""
        for network in network_keys(peer)[:1]:
            self._inside[network] -= 1
            if self._inside[network] <= 0:
                del self._inside[network]

    def logged_in(self, peer: str) -> bool:
        """Is somebody logged in from the network of this IP address now?"""
        return any(network in self._inside for network in network_keys(peer)[:1])

    def remember(self, peer: str, user: str) -> None:
        """`user` has logged in from the network of this address before the server was started."""
        networks = network_keys(peer)
        if networks:
            self._remember(networks[0], user)

    async def begin(self, peer: str, user: str) -> Attempt | None:
        """Reserve an attempt of `user` (a normalized name, or what was claimed) from `peer`; None when it is blocked.

        Waits while attempts that run already could use up what is left of the limit.
        """
        if peer in self._trusted:
            return Attempt(None, (), user)
        networks = network_keys(peer)
        while True:
            if self._full(networks, with_running=False) or self._account_blocked(networks, user):
                return None
            if not self._full(networks, with_running=True):
                break
            await self._wait()
        self._running.update(networks)
        return Attempt(self, networks, user)

    def _full(self, networks: tuple[str, ...], *, with_running: bool) -> bool:
        return any(
            counter.count(network) + (self._running[network] if with_running else 0) >= limit * factor
            for counter, limit in self._windows
            for network, factor in zip(networks, _FACTORS, strict=False)
        )

    def _account_blocked(self, networks: tuple[str, ...], user: str) -> bool:
        if self._accounts.count(user) < self._per_account:
            return False
        return not networks or (networks[0], user) not in self._known

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _count(self, networks: tuple[str, ...], user: str) -> None:
        for counter, _ in self._windows:
            for network in networks:
                counter.add(network)
        self._accounts.add(user)

    def _remember(self, network: str, user: str) -> None:
        self._known[network, user] = None
        self._known.move_to_end((network, user))
        if len(self._known) > _KNOWN_PLACES:
            self._known.popitem(last=False)

    def _release(self, networks: tuple[str, ...]) -> None:
        self._running.subtract(networks)
        for network in networks:
            if self._running[network] <= 0:
                del self._running[network]
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
