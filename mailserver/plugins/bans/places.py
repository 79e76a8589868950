"""From where our users come: who is logged in at this moment, and from where somebody was before."""

from __future__ import annotations

import ipaddress

from mailserver import api
from mailserver.plugins.bans.ledger import PLACE_LIFE, Ledger
from mailserver.plugins.bans.networks import Network, narrow

__all__ = ["Places"]


class Places:
    """Known places, which `limits.failed_logins_per_account` spares."""

    def __init__(self, host: api.Host, ledger: Ledger) -> None:
        self._ledger = ledger
        self._clock = host.clock
        self._logins = host.failed_logins
        self._last: dict[Network, float] = {}
        for (address, user), at in ledger.places.items():
            host.failed_logins.remember(address, user)
            network = narrow(address)
            if network is not None:
                self._last[network] = max(at, self._last.get(network, 0.0))

    def event(self, event: api.Event) -> None:
        """Follow logins."""
        if not isinstance(event, api.LoginSucceeded):
            return
        network = narrow(event.peer)
        if network is not None:
            self._last.pop(network, None)
            self._last[network] = self._clock.time()
            if len(self._last) > 2 * 20_000:
                del self._last[next(iter(self._last))]
            self._ledger.note_place((str(network.network_address), event.account))

    def live(self, peer: str) -> bool:
        """Is somebody logged in from there now?"""
        return self._logins.logged_in(peer)

    def known(self, network: Network) -> bool:
        """Has somebody logged in from there within two months?"""
        return self._clock.time() - self._last.get(network, float("-inf")) < PLACE_LIFE

    def any_within(self, network: Network) -> bool:
        """Has somebody logged in from a part of it within two months?"""
        inside = (one for one in self._last if one.version == network.version)
        return any(ipaddress.ip_network(one).subnet_of(network) for one in inside)  # type: ignore[arg-type]
